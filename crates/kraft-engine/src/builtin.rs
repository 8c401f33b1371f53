//! The built-in runtime: kernels that are part of the program, and that run Linux programs.
//!
//! They are embedded by the cargo feature `builtin-runtime`. The store has them under a name that no
//! registry has (`kraft.local/runtime:VERSION`), from the moment when they are first used: so an
//! image of the built-in runtime is listed, verified, packaged and pushed as any other.
//!
//! ```
//! use kraft_engine::builtin;
//!
//! let name = builtin::reference("builtin")?;
//! assert_eq!(name.to_string(), format!("kraft.local/runtime:{}", builtin::VERSION));
//! assert_eq!(builtin::reference("nginx:1.27")?.to_string(), "nginx:1.27");
//! # Ok::<(), kraft_core::reference::ReferenceError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};

use jiff::Timestamp;
use kraft_core::reference::{Reference, ReferenceError};
use kraft_oci::image::{Platform, RunConfig};
use kraft_oci::layer::{self, LayerError, Role};
use kraft_oci::listing;
use kraft_oci::package::{Cover, Packed};
use kraft_oci::store::{self, Expect, Lease, Store};
use liblzma::read::XzDecoder;

use super::images;

/// The name that users type: `--runtime builtin`.
pub const ALIAS: &str = "builtin";
/// The version of the kernels, which is the tag of the image.
pub const VERSION: &str = env!("KRAFT_RUNTIME_VERSION");
/// The name of the image without its tag. `.local` is no domain of the Internet, so no registry
/// has it.
const REGISTRY: &str = "kraft.local";
const REPOSITORY: &str = "runtime";
/// The label that has the version.
const VERSION_LABEL: &str = "dev.kraft.runtime.version";
/// The label that differs between builds of the same version.
const BUILD_LABEL: &str = "dev.kraft.runtime.build";
/// The limit of an unpacked kernel, in bytes.
const LARGEST_KERNEL: u64 = 64 << 20;

/// The compressed kernels by their architecture.
static KERNELS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Why the built-in runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program was built without it.
    #[error("this kraft was built without the built-in runtime")]
    NotEmbedded,
    /// The program has another version.
    #[error("this kraft has the built-in runtime {VERSION}, not `{0}`")]
    OtherVersion(String),
    /// An embedded kernel is damaged.
    #[error("the built-in runtime for {arch} is damaged")]
    Damaged {
        /// Its architecture.
        arch: &'static str,
        /// Why it cannot be unpacked.
        source: io::Error,
    },
    /// A kernel cannot be packed into the store.
    #[error("cannot store the built-in runtime")]
    Layer(#[from] Box<LayerError>),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The store cannot be searched.
    #[error(transparent)]
    Images(#[from] Box<images::Error>),
}

/// Returns the image that a name of a runtime means: `builtin` or `builtin:VERSION`, else the name
/// itself.
///
/// # Errors
///
/// If the name is not valid.
pub fn reference(text: &str) -> Result<Reference, ReferenceError> {
    let name: Reference = text.parse()?;
    let is_alias = name.registry().is_none() && name.repository() == ALIAS;
    let digest = name.digest().map(ToString::to_string);
    match (is_alias || is_builtin(&name), name.tag(), digest) {
        (false, ..) => Ok(name),
        (true, None, Some(digest)) => format!("{REGISTRY}/{REPOSITORY}@{digest}").parse(),
        (true, tag, _) => versioned(tag.unwrap_or(VERSION)),
    }
}

/// Returns the name of a version.
pub(crate) fn versioned(version: &str) -> Result<Reference, ReferenceError> {
    format!("{REGISTRY}/{REPOSITORY}:{version}").parse()
}

/// Returns whether a name is that of the built-in runtime, in any version.
#[must_use]
pub fn is_builtin(name: &Reference) -> bool {
    name.registry() == Some(REGISTRY) && name.repository() == REPOSITORY
}

/// Returns the architectures that this program has the runtime for.
#[must_use]
pub fn architectures() -> Vec<&'static str> {
    KERNELS.iter().map(|&(arch, _)| arch).collect()
}

/// Puts the built-in runtime in the store, if it is missing there. `name` is what is asked for.
///
/// # Errors
///
/// If the program does not have what is asked for, and neither does the store.
pub fn provide(store: &dyn Store, name: &Reference) -> Result<(), Error> {
    let is_stored = || match images::look_up(store, name) {
        Ok(found) => Ok(found.is_some()),
        Err(error) => Err(Error::Images(Box::new(error))),
    };
    let is_own = name.tag().is_none_or(|tag| tag == VERSION);
    if !is_own || KERNELS.is_empty() {
        return match is_stored()? {
            true => Ok(()),
            false if KERNELS.is_empty() => Err(Error::NotEmbedded),
            false => Err(Error::OtherVersion(name.to_string())),
        };
    }
    let Ok(own) = versioned(VERSION) else {
        return Err(Error::OtherVersion(name.to_string()));
    };
    if !is_current(store, &own)? {
        tracing::debug!(name = %own, "putting the built-in runtime in the store");
        pack(store, &own)?;
    }
    if is_stored()? {
        Ok(())
    } else {
        Err(Error::OtherVersion(name.to_string()))
    }
}

/// Identifies what is embedded: the end of an xz file has the checksum of its block and the sizes
/// (the .xz file format, sections 2.1.2 and 4).
fn build_id() -> String {
    let ids = KERNELS.iter().map(|(arch, bytes)| {
        let end = bytes.last_chunk::<32>().copied().unwrap_or_default();
        end.iter().fold(format!("{arch}:"), |mut id, byte| {
            // Writing to a string cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    });
    ids.collect::<Vec<_>>().join(" ")
}

/// Returns whether the store has the image, made from what is embedded.
fn is_current(store: &dyn Store, own: &Reference) -> Result<bool, Error> {
    let Some(named) = store.find(own)? else {
        return Ok(false);
    };
    // An image that cannot be read is made again.
    let Ok(candidates) = listing::candidates_of(store, &named.target) else {
        return Ok(false);
    };
    let id = build_id();
    let is_own = |descriptor| {
        let manifest = listing::manifest(store, descriptor).ok()?;
        let config = store::config(store, &manifest.config).ok()?;
        let complete = manifest
            .layers
            .iter()
            .all(|layer| matches!(store.size(&layer.digest), Ok(Some(_))));
        Some(complete && config.config.labels.get(BUILD_LABEL) == Some(&id))
    };
    Ok(candidates.len() == KERNELS.len()
        && candidates
            .iter()
            .all(|candidate| is_own(&candidate.descriptor) == Some(true)))
}

/// Makes the image. The same kernels give the same digest.
fn pack(store: &dyn Store, own: &Reference) -> Result<(), Error> {
    let cover = Cover {
        name: own.clone(),
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        created: Timestamp::UNIX_EPOCH,
    };
    let lease = store.lease()?;
    let mut entries = Vec::new();
    for &(arch, bytes) in KERNELS {
        let packed = pack_kernel(&*lease, &cover, arch, bytes)?;
        for document in [&packed.config, &packed.manifest] {
            let descriptor = &document.descriptor;
            store::put(&*lease, &descriptor.media_type, &document.bytes, Some(own))?;
        }
        entries.push(serde_json::to_value(&packed.manifest.descriptor).unwrap_or_default());
    }
    let index = cover.index(&entries);
    store::put(
        &*lease,
        &index.descriptor.media_type,
        &index.bytes,
        Some(own),
    )?;
    store.tag(own, &index.descriptor, &Expect::Anything)?;
    Ok(())
}

fn pack_kernel(
    lease: &dyn Lease,
    cover: &Cover,
    arch: &'static str,
    bytes: &[u8],
) -> Result<Packed, Error> {
    let mut kernel = Vec::new();
    XzDecoder::new(bytes)
        .take(LARGEST_KERNEL)
        .read_to_end(&mut kernel)
        .map_err(|source| Error::Damaged { arch, source })?;
    let size = kernel.len() as u64;
    let layer = layer::pack(
        lease,
        Role::Kernel,
        true,
        &mut kernel.as_slice(),
        size,
        &mut |_| {},
    )
    .map_err(Box::new)?;
    let platform = Platform {
        os: kraft_core::platform::Platform::Qemu.name().to_owned(),
        architecture: arch.to_owned(),
        ..Platform::default()
    };
    let labels = BTreeMap::from([
        (VERSION_LABEL.to_owned(), VERSION.to_owned()),
        (BUILD_LABEL.to_owned(), build_id()),
    ]);
    let run = RunConfig {
        labels,
        ..RunConfig::default()
    };
    Ok(cover.pack(platform, run, vec![layer]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obtain::{self, Pull};
    use crate::testing::{Script, context};
    use kraft_oci::choose::PlatformFilter;

    #[test]
    fn names_of_the_built_in_runtime_mean_its_image() {
        let own = format!("kraft.local/runtime:{VERSION}");
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("builtin", own.clone()),
            ("builtin:0.0.1", "kraft.local/runtime:0.0.1".to_owned()),
            ("kraft.local/runtime", own.clone()),
            (
                "kraft.local/runtime:0.0.1",
                "kraft.local/runtime:0.0.1".to_owned(),
            ),
            (
                &*format!("builtin@{digest}"),
                format!("kraft.local/runtime@{digest}"),
            ),
            ("base", "base".to_owned()),
            ("a.example/builtin:1", "a.example/builtin:1".to_owned()),
            ("kraft.local/other", "kraft.local/other".to_owned()),
        ] {
            assert_eq!(reference(text).unwrap().to_string(), expected, "{text}");
        }
        assert!(reference("Builtin").is_err());
    }

    #[test]
    fn the_image_is_in_the_store_once_it_is_used_or_the_error_says_what_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = context(home.path(), &Script::silent());
        ctx.settings.offline = true;
        let store = images::open(&ctx).unwrap();
        let name = reference(ALIAS).unwrap();
        let obtained = || {
            obtain::obtain(
                &ctx,
                &store,
                &name,
                &PlatformFilter::default(),
                Pull::Missing,
            )
        };
        if KERNELS.is_empty() {
            let error = obtained().unwrap_err();
            assert!(
                matches!(error, obtain::Error::Builtin(Error::NotEmbedded)),
                "{error}"
            );
            return;
        }
        let first = obtained().unwrap();
        assert_eq!(first.name, name);
        assert!(is_current(&*store, &name).unwrap());
        let digest = || store.find(&name).unwrap().unwrap().target.digest;
        let before = digest();
        // After its removal it is made again, with the same digest.
        store.untag(&name).unwrap();
        obtained().unwrap();
        assert_eq!(digest(), before);
        let other = versioned("0.0.0").unwrap();
        let error = provide(&*store, &other).unwrap_err();
        assert!(matches!(error, Error::OtherVersion(_)), "{error}");
    }
}
