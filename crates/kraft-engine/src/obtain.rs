//! An image, ready to be used: found here or pulled, one manifest chosen, and held.

use std::sync::Arc;

use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_oci::image::{Config, Manifest};
use kraft_oci::listing;
use kraft_oci::store::{self, Hold, Store};

use super::images::{self, Found};
use super::kraftkit;
use crate::context::Context;
use crate::failure::Failure;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// Whenever it is used
    Always,
    /// When it is not here
    #[default]
    Missing,
    /// Never
    Never,
}

/// A manifest of an image with its configuration.
#[derive(Debug)]
pub struct Obtained {
    /// The full name of the image.
    pub name: Reference,
    /// The manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Config,
    /// Keeps its blobs where they are.
    pub hold: Box<dyn Hold>,
}

/// Finds the image, or pulls it; chooses what fits the wish, and what this host likes best.
pub fn obtain(
    ctx: &Context,
    store: &Arc<dyn Store>,
    typed: &Reference,
    wish: &Wish,
    pull: Pull,
) -> Result<Obtained, Failure> {
    if pull != Pull::Always
        && let Some(found) = images::look_up(&**store, typed)?
    {
        let here = images::here(&**store, &found)?;
        let fits = here.iter().any(|candidate| wish.fits(&candidate.platform));
        if fits || pull == Pull::Never || ctx.settings.offline {
            return take(ctx, &**store, &found, wish);
        }
    }
    if pull == Pull::Never {
        return Err(images::not_here(ctx, &**store, typed)
            .hint("it is not fetched, because of `--pull never`"));
    }
    super::transfer::pull(ctx, store, typed, wish, super::transfer::Extent::Chosen)
        .map_err(|failure| kraftkit::advise(ctx, typed, failure))?;
    match images::look_up(&**store, typed)? {
        Some(found) => take(ctx, &**store, &found, wish),
        None => Err(images::not_here(ctx, &**store, typed)),
    }
}

/// Chooses among the manifests of an image that are here.
pub fn take(
    ctx: &Context,
    store: &dyn Store,
    found: &Found,
    wish: &Wish,
) -> Result<Obtained, Failure> {
    let name = &found.named.name;
    let here = images::here(store, found)?;
    let chosen = images::pick(ctx, name, &here, wish)?;
    let hold = store.hold()?;
    hold.keep(&[&chosen.descriptor.digest])?;
    let manifest = listing::manifest(store, &chosen.descriptor)?;
    let blobs: Vec<_> = manifest.blobs().map(|blob| &blob.digest).collect();
    hold.keep(&blobs)?;
    let config = store::config(store, &manifest.config)?;
    Ok(Obtained {
        name: name.clone(),
        manifest,
        config,
        hold,
    })
}
