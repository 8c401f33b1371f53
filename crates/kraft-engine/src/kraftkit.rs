//! Images that KraftKit keeps in the same runtime directory.

use std::path::PathBuf;

use kraft_core::event::{Event, Reporter};
use kraft_core::reference::Reference;
use kraft_oci::kraftkit::{self, Imported};
use kraft_oci::store::Store;
use kraft_sys::fs;

use super::images;
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};

/// Beside our names: says that the images of KraftKit were imported.
const IMPORTED: &str = "imported-from-kraftkit";

/// Returns where KraftKit keeps its images.
fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("oci")
}

/// Returns the file that says that the images of KraftKit were imported.
fn mark(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("images").join(IMPORTED)
}

/// Imports what KraftKit left, the first time the store is opened.
pub(super) fn import_once(ctx: &Context, store: &dyn Store) -> Result<(), Failure> {
    if mark(ctx).exists() || !kraftkit::is_there(&dir(ctx)) {
        return Ok(());
    }
    import_into(ctx, store, false).map(drop)
}

/// Imports what KraftKit has and is not here yet.
pub fn import(ctx: &Context, replace: bool) -> Result<Imported, Failure> {
    import_into(ctx, &*images::open_as_it_is(ctx)?, replace)
}

/// Imports what KraftKit has, warns of what is left behind, and remembers that it was done.
fn import_into(ctx: &Context, store: &dyn Store, replace: bool) -> Result<Imported, Failure> {
    let dir = dir(ctx);
    if !kraftkit::is_there(&dir) {
        return Err(Failure::new(
            Kind::NotFound,
            format!("KraftKit has no images in `{}`", dir.display()),
        )
        .hint("name the directory that KraftKit uses with `--runtime-dir`"));
    }
    let progress = ctx.progress();
    let task = 1;
    progress.report(Event::Started {
        task,
        what: format!("importing the images of KraftKit from {}", dir.display()),
        total: None,
    });
    let imported = kraftkit::import(&dir, store, replace, &|done, total| {
        if done == 0 {
            let total = total as u64;
            progress.report(Event::Sized { task, total });
        }
        let done = done as u64;
        progress.report(Event::Advanced { task, done });
    });
    progress.report(match imported {
        Ok(_) => Event::Finished { task },
        Err(_) => Event::Failed { task },
    });
    let imported = imported?;
    for (place, error) in &imported.left {
        ctx.warn(&format!("`{place}` was left behind: {}", chain(error)));
    }
    images::warn_misstated(ctx, &imported.misstated);
    ctx.info(&format!(
        "images of KraftKit: {} imported, {} here already, {} left behind",
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

/// Returns whether KraftKit has an image that is not here.
pub(super) fn has(ctx: &Context, typed: &Reference) -> bool {
    kraftkit::has(&dir(ctx), &typed.qualified())
}

/// Adds a hint to a failure to find an image, if KraftKit has it.
pub(super) fn advise(ctx: &Context, typed: &Reference, failure: Failure) -> Failure {
    if has(ctx, typed) {
        return failure.hint(format!(
            "KraftKit has an image `{}`: `kraft store import-kraftkit` imports it",
            typed.qualified()
        ));
    }
    failure
}
