//! An image, ready to be used: found here or pulled, one manifest chosen, and held.

use std::sync::Arc;

use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_oci::image::{Config, Manifest};
use kraft_oci::listing;
use kraft_oci::store::{self, Hold, Store};

use super::images::{self, Found};
use super::kraftkit;
use crate::app::App;
use crate::failure::Failure;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
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
pub(crate) struct Obtained {
    /// The full name of the image.
    pub(crate) name: Reference,
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// Its configuration.
    pub(crate) config: Config,
    /// Keeps its blobs where they are.
    pub(crate) _hold: Box<dyn Hold>,
}

/// Finds the image, or pulls it; chooses what fits the wish, and what this host likes best.
pub(crate) fn obtain(
    app: &App,
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
        if fits || pull == Pull::Never || app.offline() {
            return take(app, &**store, &found, wish);
        }
    }
    if pull == Pull::Never {
        return Err(images::not_here(app, &**store, typed)
            .hint("it is not fetched, because of `--pull never`"));
    }
    super::transfer::pull(app, store, typed, wish, super::transfer::Extent::Chosen)
        .map_err(|failure| kraftkit::advise(app, typed, failure))?;
    match images::look_up(&**store, typed)? {
        Some(found) => take(app, &**store, &found, wish),
        None => Err(images::not_here(app, &**store, typed)),
    }
}

/// Chooses among the manifests of an image that are here.
pub(crate) fn take(
    app: &App,
    store: &dyn Store,
    found: &Found,
    wish: &Wish,
) -> Result<Obtained, Failure> {
    let name = &found.named.name;
    let here = images::here(store, found)?;
    let chosen = images::pick(app, name, &here, wish)?;
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
        _hold: hold,
    })
}
