//! Builds root filesystems from Dockerfiles and images, and caches them.
//!
//! ```text
//! Dockerfile ─ request ─ cache? ─ builders (which one) ─┬─ daemon   a BuildKit
//!                                                       ├─ program  buildah, podman
//!                                                       └─ own      kraft-rootfs
//! image ────── request ─ cache? ─ bases ─ layers
//! ```
//!
//! Each builder writes an archive into the cache and returns the run configuration of the image.

mod attempt;
mod bases;
mod builders;
mod cache;
mod daemon;
mod diagnostics;
mod error;
mod names;
mod options;
mod own;
mod program;
mod progress;
mod request;

use std::path::PathBuf;

use kraft_core::reference::Reference;
use kraft_rootfs::dockerfile::Settings;
use kraft_sys::lock::Lock;

pub use builders::{Attempted, Builder, BuilderState, states};
pub(crate) use cache::digest_of;
pub use cache::remove_unused;
pub use error::Error;
pub use names::docker_full_name;
pub use options::{BuildOptions, CacheError, OptionError, SecretError};
pub use request::BuildRequest;

use crate::context::Context;

/// What a builder returns besides the files of an image.
#[derive(Debug)]
struct Image {
    /// Its run configuration.
    settings: Settings,
    /// Paths and patterns that were read from the context, if the builder reports them.
    taken: Option<Vec<String>>,
}

impl From<Settings> for Image {
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            taken: None,
        }
    }
}

/// A root filesystem that was built from a Dockerfile or an image.
#[derive(Debug)]
pub struct BuildOutput {
    /// The archive, in the cache.
    pub archive: PathBuf,
    /// Run configuration of the image.
    pub settings: Settings,
    /// Keeps the archive from being removed.
    _lock: Lock,
}

/// Builds the root filesystem of a Dockerfile, unless the cached one is up to date.
///
/// ```no_run
/// # fn example(ctx: &kraft_engine::context::Context) -> Result<(), kraft_engine::dockerfile::Error> {
/// use std::path::Path;
///
/// use kraft_engine::dockerfile::{BuildOptions, BuildRequest, of_dockerfile};
///
/// let options = BuildOptions::default();
/// let (file, dir) = (Path::new("app/Dockerfile"), Path::new("app"));
/// let request = BuildRequest::new(ctx, file, dir, "x86_64", &options)?;
/// let output = of_dockerfile(ctx, &request)?;
/// println!("{}", output.archive.display());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the Dockerfile has errors, a step fails, or no builder can build it.
pub fn of_dockerfile(ctx: &Context, request: &BuildRequest<'_>) -> Result<BuildOutput, Error> {
    let slot = cache::Slot::of_request(ctx, request)?;
    let inputs = cache::Inputs::of_request(ctx, request)?;
    if !request.options.fresh
        && !request.options.no_cache
        && let Some(settings) = slot.settings(&inputs)?
    {
        ctx.info(&format!(
            "the root filesystem of `{}` is up to date",
            request.file.display()
        ));
        return Ok(slot.output(settings));
    }
    let image = builders::build(ctx, request, &slot.pending.0)?;
    // The inputs from before the build: files may have been written during it.
    slot.keep(ctx, &inputs, &image)?;
    Ok(slot.output(image.settings))
}

/// Builds the root filesystem of an image, unless it is cached. `arch` is as KraftKit names it.
///
/// # Errors
///
/// If the image cannot be pulled, has no manifest for Linux on the architecture, or its layers are
/// invalid.
pub fn of_image(ctx: &Context, name: &Reference, arch: &str) -> Result<BuildOutput, Error> {
    let arch = request::oci_arch(arch)?;
    let base = bases::obtain(ctx, name, arch)?;
    let slot = cache::Slot::of_image(ctx, base.digest(), arch)?;
    let inputs = cache::Inputs::of_image(base.digest());
    if let Some(settings) = slot.settings(&inputs)? {
        return Ok(slot.output(settings));
    }
    let image = Image::from(own::flatten(ctx, &base, &slot.pending.0)?);
    slot.keep(ctx, &inputs, &image)?;
    Ok(slot.output(image.settings))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use kraft_config::env::Environment;
    use kraft_config::{Config, Flags};
    use kraft_core::event::Silent;

    use super::*;
    use crate::context::NoPrompt;

    /// Returns a context whose files are below `dir`.
    pub(super) fn context<const N: usize>(dir: &Path, variables: [(&str, &str); N]) -> Context {
        let config = Config::without_file(&Flags::default(), Environment::from(variables));
        let mut ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
        ctx.settings.runtime_dir = dir.join("run");
        ctx
    }

    #[test]
    fn a_dockerfile_is_built_once_until_something_it_uses_changes() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = context(dir.path(), []);
        let put = |name: &str, text: &str| {
            kraft_sys::fs::replace_file(&dir.path().join(name), text.as_bytes()).unwrap();
        };
        let options = BuildOptions {
            builder: Builder::Kraft,
            ..BuildOptions::default()
        };
        let build = || {
            let file = dir.path().join("Dockerfile");
            let request = BuildRequest::new(&ctx, &file, dir.path(), "x86_64", &options)?;
            let output = of_dockerfile(&ctx, &request)?;
            Ok::<_, Error>((std::fs::read(&output.archive).unwrap(), output.settings))
        };
        put("Dockerfile", "FROM scratch\nCOPY a /a\nCMD [\"/a\"]\n");
        put("a", "one");
        let (first, settings) = build().unwrap();
        assert_eq!(settings.cmd, ["/a"]);
        put("other", "not copied");
        assert_eq!(build().unwrap().0, first);
        put("a", "two");
        assert_ne!(build().unwrap().0, first);
        put("Dockerfile", "FROM scratch\nCOPY lost /a\n");
        assert!(matches!(build(), Err(Error::Step { .. })));
    }
}
