//! Images over the network: pulled, pushed, asked for.

use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_oci::store::Store;

use crate::app::App;
use crate::failure::{Failure, Kind};

/// How much of an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The one manifest that fits best.
    Chosen,
    /// Every manifest that fits.
    All,
    /// What is here or was: to make it whole again.
    Here,
}

/// Pulls an image into the store.
pub(crate) fn pull(
    app: &App,
    store: &dyn Store,
    typed: &Reference,
    wish: &Wish,
    extent: Extent,
) -> Result<(), Failure> {
    let _ = (app, store, wish, extent);
    Err(Failure::new(Kind::Network, format!("cannot pull {typed} yet")))
}

/// Pushes an image of the store to its registry.
pub(crate) fn push(app: &App, store: &dyn Store, name: &Reference) -> Result<(), Failure> {
    let _ = (app, store);
    Err(Failure::new(Kind::Network, format!("cannot push {name} yet")))
}
