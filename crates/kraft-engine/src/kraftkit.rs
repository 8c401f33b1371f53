//! Imports the images that KraftKit keeps in the same runtime directory.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::kraftkit::{Error, import};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! // KraftKit never ran with this runtime directory.
//! assert!(matches!(import(&context, false), Err(Error::NoImages(_))));
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;

use kraft_core::error::chain;
use kraft_core::reference::Reference;
use kraft_oci::copy::CopyError;
use kraft_oci::kraftkit::{self, Imported};
use kraft_oci::store::{self, Store};
use kraft_sys::fs;

use super::images;
use crate::context::Context;

/// Beside the names of images: marks that KraftKit's images were imported.
const IMPORTED: &str = "imported-from-kraftkit";

/// Why KraftKit's images were not imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// KraftKit has no images in this directory.
    #[error("KraftKit has no images in `{}`", .0.display())]
    NoImages(PathBuf),
    /// An image cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The mark cannot be written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Returns the directory where KraftKit keeps its images.
fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("oci")
}

/// Returns the file that marks that KraftKit's images were imported.
fn mark(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("images").join(IMPORTED)
}

/// Imports KraftKit's images if that was not done before.
pub(super) fn import_once(ctx: &Context, store: &dyn Store) -> Result<(), Error> {
    if mark(ctx).exists() || !kraftkit::is_there(&dir(ctx)) {
        return Ok(());
    }
    import_into(ctx, store, false).map(drop)
}

/// Imports KraftKit's images that the store does not have; with `replace`, all of them.
///
/// # Errors
///
/// If KraftKit has no images, or the store cannot be written.
pub fn import(ctx: &Context, replace: bool) -> Result<Imported, Error> {
    import_into(ctx, &*images::open_as_it_is(ctx)?, replace)
}

/// Imports images, warns of those that cannot be imported, and leaves the mark.
fn import_into(ctx: &Context, store: &dyn Store, replace: bool) -> Result<Imported, Error> {
    let dir = dir(ctx);
    if !kraftkit::is_there(&dir) {
        return Err(Error::NoImages(dir));
    }
    let _span = tracing::debug_span!("import", dir = %dir.display()).entered();
    let what = format!("importing the images of KraftKit from {}", dir.display());
    let imported = ctx.progress().run(what, None, |task| {
        kraftkit::import(&dir, store, replace, &|done, total| {
            if done == 0 {
                task.sized(total as u64);
            }
            task.advanced(done as u64);
        })
    })?;
    for (place, error) in &imported.left {
        ctx.warn(&format!("`{place}` was left behind: {}", chain(error)));
    }
    images::warn_misstated(ctx, &imported.misstated);
    ctx.info(&format!(
        "images of KraftKit: {} imported, {} already stored, {} left behind",
        imported.images.len(),
        imported.known,
        imported.left.len()
    ));
    if !images::in_containerd(ctx) {
        fs::create_dir_all(&ctx.settings.runtime_dir.join("images"), 0o700)?;
        fs::replace_file(&mark(ctx), b"")?;
    }
    Ok(imported)
}

/// Returns whether KraftKit has an image.
pub(super) fn has(ctx: &Context, typed: &Reference) -> bool {
    kraftkit::has(&dir(ctx), &typed.qualified())
}
