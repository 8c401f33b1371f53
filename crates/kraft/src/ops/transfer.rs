//! Images over the network: pulled and pushed.

use std::sync::Arc;

use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::{Candidate, Wish};
use kraft_oci::image::Descriptor;
use kraft_oci::store::Store;
use kraft_oci::{listing, pull, push};

use super::images;
use super::interrupt::Interrupt;
use super::network::Network;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// How much of an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent<'a> {
    /// The one manifest that fits best.
    Chosen,
    /// Every manifest that fits.
    All,
    /// What is here, and these manifests that were: to make it whole again.
    Here(&'a [Digest]),
}

/// Pulls an image into the store.
pub(crate) fn pull(
    app: &App,
    store: &Arc<dyn Store>,
    typed: &Reference,
    wish: &Wish,
    extent: Extent<'_>,
) -> Result<(), Failure> {
    let name = typed.qualified();
    let network = Network::open(app)?;
    let registry = &network.registry;
    app.ui.info(&format!("pulling {name}"));
    let (remote, all) = network.run(async {
        let remote = pull::look(registry, &name).await?;
        let candidates = remote.candidates(registry, &name).await?;
        Ok::<_, pull::PullError>((remote, candidates))
    })?;
    let chosen: Vec<Descriptor> = match extent {
        Extent::Chosen => vec![images::pick(app, &name, &all, wish)?.descriptor],
        Extent::All => fitting(all, wish),
        Extent::Here(lost) => fitting(
            all.into_iter()
                .filter(|candidate| was_here(&**store, &name, candidate, lost))
                .collect(),
            wish,
        ),
    };
    if chosen.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            format!("the image `{name}` has nothing for {}", wish.shown()),
        ));
    }
    let progress = app.ui.progress();
    let work = pull::pull(
        registry,
        Arc::clone(store),
        &name,
        &remote,
        &chosen,
        &progress,
    );
    let pulled = network.run(work)?;
    if progress.moved() == 0 {
        app.ui.info(&format!("{name} is up to date"));
    } else {
        progress.close(&format!("pulled {name}"));
    }
    if pulled.misstated > 0 {
        images::warn_misstated(app, [&name]);
    }
    Ok(())
}

fn fitting(candidates: Vec<Candidate>, wish: &Wish) -> Vec<Descriptor> {
    candidates
        .into_iter()
        .filter(|candidate| wish.fits(&candidate.platform))
        .map(|candidate| candidate.descriptor)
        .collect()
}

/// Returns whether a manifest is here, or was; all are where that cannot be told.
fn was_here(store: &dyn Store, name: &Reference, candidate: &Candidate, lost: &[Digest]) -> bool {
    if lost.contains(&candidate.descriptor.digest) {
        return true;
    }
    let listed = store
        .find(name)
        .ok()
        .flatten()
        .and_then(|named| listing::candidates_of(store, &named.target).ok());
    match listed {
        Some(_) => store
            .size(&candidate.descriptor.digest)
            .is_ok_and(|size| size.is_some()),
        None => true,
    }
}

/// Pushes an image of the store to its registry, and returns nothing but success.
pub(crate) fn push(app: &App, store: &Arc<dyn Store>, name: &Reference) -> Result<(), Failure> {
    push_by(app, &Network::open(app)?, store, name, None)
}

/// Pushes an image as [`push()`] does, by a client that is there; an interrupt ends it.
pub(crate) fn push_by(
    app: &App,
    network: &Network,
    store: &Arc<dyn Store>,
    name: &Reference,
    interrupt: Option<&Interrupt>,
) -> Result<(), Failure> {
    let Some(named) = store.find(name)? else {
        return Err(images::not_here(app, &**store, name));
    };
    app.ui.info(&format!("pushing {name}"));
    let progress = app.ui.progress();
    let work = push::push(
        &network.registry,
        Arc::clone(store),
        name,
        &named.target,
        &progress,
    );
    match interrupt {
        Some(interrupt) => network.run(interrupt.unless(work))??,
        None => network.run(work)?,
    };
    if progress.moved() == 0 {
        app.ui.info(&format!("{name} is up to date"));
    } else {
        progress.close(&format!("pushed {name}"));
    }
    Ok(())
}
