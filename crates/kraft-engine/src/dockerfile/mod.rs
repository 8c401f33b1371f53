//! Root filesystems out of Dockerfiles and images, made once.
//!
//! ```text
//! Dockerfile ─ job ─ cache? ─ builders (who can) ─┬─ daemon   BuildKit, wherever it is
//!                                                 ├─ program  buildah, podman
//!                                                 └─ own      kraft-rootfs executes it
//! image ───── job ─ cache? ─ bases ─ layers
//! ```
//!
//! All of them end as an archive in the cache and the settings of the image.

mod bases;
mod builders;
mod cache;
mod daemon;
mod fault;
mod job;
mod names;
mod own;
mod program;
mod told;
mod trouble;

use std::path::PathBuf;

use kraft_core::reference::Reference;
use kraft_rootfs::dockerfile::Settings;
use kraft_sys::lock::Lock;

pub use builders::{Builder, states};
pub use cache::sweep;
pub use job::{Job, Wish};

use crate::context::Context;
use crate::failure::Failure;

/// What a builder returns besides the files of an image.
#[derive(Debug)]
struct Image {
    /// Its run configuration.
    settings: Settings,
    /// Paths and patterns that were taken from the context, if the builder reports them.
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

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The archive, in the cache.
    pub archive: PathBuf,
    /// How the image wants to be run.
    pub settings: Settings,
    /// Keeps the archive while it is used.
    _hold: Lock,
}

/// Makes the root filesystem of a Dockerfile, unless it is there already.
pub fn of_dockerfile(ctx: &Context, job: &Job<'_>) -> Result<Made, Failure> {
    let slot = cache::Slot::of_job(ctx, job)?;
    let now = cache::Inputs::of_job(ctx, job)?;
    if !job.wish.fresh
        && !job.wish.no_cache
        && let Some(settings) = slot.settings(&now)?
    {
        ctx.info(&format!(
            "the root filesystem of `{}` is as it was",
            job.file.display()
        ));
        return Ok(slot.made(settings));
    }
    let image = builders::build(ctx, job, &slot.next.0)?;
    // What it was made from is what was there before, not what somebody wrote meanwhile.
    slot.keep(ctx, &now, &image)?;
    Ok(slot.made(image.settings))
}

/// Makes the root filesystem of an image, unless it is there already.
pub fn of_image(ctx: &Context, name: &Reference, arch: &str) -> Result<Made, Failure> {
    let arch = job::oci_arch(arch)?;
    let base = bases::obtain(ctx, name, arch)?;
    let slot = cache::Slot::of_image(ctx, base.digest(), arch)?;
    let now = cache::Inputs::of_image(base.digest());
    if let Some(settings) = slot.settings(&now)? {
        return Ok(slot.made(settings));
    }
    let image = Image::from(own::flatten(ctx, &base, &slot.next.0)?);
    slot.keep(ctx, &now, &image)?;
    Ok(slot.made(image.settings))
}
