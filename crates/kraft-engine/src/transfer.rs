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
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// How much of an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// The one manifest that fits best.
    Chosen,
    /// Every manifest that fits.
    All,
    /// What is here, and these manifests that were: to make it whole again.
    Here(&'a [Digest]),
}

/// Pulls an image into the store.
pub fn pull(
    ctx: &Context,
    store: &Arc<dyn Store>,
    typed: &Reference,
    wish: &Wish,
    extent: Extent<'_>,
) -> Result<(), Failure> {
    let name = typed.qualified();
    let network = Network::open(ctx)?;
    let registry = &network.registry;
    ctx.info(&format!("pulling {name}"));
    let (remote, all) = network.run(async {
        let remote = pull::look(registry, &name).await?;
        let candidates = remote.candidates(registry, &name).await?;
        Ok::<_, pull::PullError>((remote, candidates))
    })?;
    let chosen: Vec<Descriptor> = match extent {
        Extent::Chosen => vec![images::pick(ctx, &name, &all, wish)?.descriptor],
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
    let progress = ctx.progress();
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
        ctx.info(&format!("{name} is up to date"));
    } else {
        progress.close(&format!("pulled {name}"));
    }
    if pulled.misstated > 0 {
        images::warn_misstated(ctx, [&name]);
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
pub fn push(ctx: &Context, store: &Arc<dyn Store>, name: &Reference) -> Result<(), Failure> {
    push_by(ctx, &Network::open(ctx)?, store, name, None)
}

/// Pushes an image as [`push()`] does, by a client that is there; an interrupt ends it.
pub fn push_by(
    ctx: &Context,
    network: &Network,
    store: &Arc<dyn Store>,
    name: &Reference,
    interrupt: Option<&Interrupt>,
) -> Result<(), Failure> {
    let Some(named) = store.find(name)? else {
        return Err(images::not_here(ctx, &**store, name));
    };
    ctx.info(&format!("pushing {name}"));
    let progress = ctx.progress();
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
        ctx.info(&format!("{name} is up to date"));
    } else {
        progress.close(&format!("pushed {name}"));
    }
    Ok(())
}
