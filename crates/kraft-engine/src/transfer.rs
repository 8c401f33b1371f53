//! Pulls images into the store and pushes them to registries.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::{images, transfer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! let store = images::open(&context)?;
//! let name = "registry.example/hello:v1".parse()?;
//! // Fails before it connects: there is no such image.
//! let pushed = transfer::push(&context, &store, &name);
//! assert!(matches!(pushed, Err(transfer::Error::Images(_))));
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::{Candidate, PlatformFilter};
use kraft_oci::image::Descriptor;
use kraft_oci::pull::PullError;
use kraft_oci::push::PushError;
use kraft_oci::store::{self, Store};
use kraft_oci::{listing, push};

use super::images::{self, NoMatch};
use super::interrupt::{Interrupt, Interrupted};
use super::network::{self, Network};
use crate::context::Context;

/// Why an image was not pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry client cannot be made.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The pull failed.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The push failed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The image to push is not in the store, or no manifest can be chosen.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The user interrupted the push.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// How much of an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// The one manifest that fits best.
    Chosen,
    /// Every manifest that fits.
    All,
    /// The manifests that are in the store, and these that were: to restore the image.
    Restore(&'a [Digest]),
}

/// Pulls an image into the store.
///
/// # Errors
///
/// If the registry cannot be reached, or the image has nothing that fits.
pub fn pull(
    ctx: &Context,
    store: &Arc<dyn Store>,
    typed: &Reference,
    filter: &PlatformFilter,
    extent: Extent<'_>,
) -> Result<(), Error> {
    let name = typed.qualified();
    let _span = tracing::debug_span!("pull", image = %name).entered();
    let network = Network::open(ctx)?;
    let registry = &network.registry;
    ctx.info(&format!("pulling {name}"));
    let (remote, all) = network.run(async {
        let remote = kraft_oci::pull::look(registry, &name).await?;
        let candidates = remote.candidates(registry, &name).await?;
        Ok::<_, PullError>((remote, candidates))
    })?;
    let chosen: Vec<Descriptor> = match extent {
        Extent::Chosen => vec![images::choose_manifest(ctx, &name, &all, filter)?.descriptor],
        Extent::All => fitting(&all, filter),
        Extent::Restore(lost) => {
            let mut restored = all.clone();
            restored.retain(|candidate| was_stored(&**store, &name, candidate, lost));
            fitting(&restored, filter)
        }
    };
    if chosen.is_empty() {
        let platforms: Vec<_> = all.into_iter().map(|one| one.platform).collect();
        return Err(images::Error::from(NoMatch::new(&name, filter, &platforms)).into());
    }
    let progress = ctx.progress();
    let work = kraft_oci::pull::pull(
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

fn fitting(candidates: &[Candidate], filter: &PlatformFilter) -> Vec<Descriptor> {
    candidates
        .iter()
        .filter(|candidate| filter.fits(&candidate.platform))
        .map(|candidate| candidate.descriptor.clone())
        .collect()
}

/// Returns whether a manifest is in the store, or was; `true` if that is not known.
fn was_stored(store: &dyn Store, name: &Reference, candidate: &Candidate, lost: &[Digest]) -> bool {
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

/// Pushes an image of the store to its registry.
///
/// # Errors
///
/// If the image is not in the store, or the registry refuses it.
pub fn push(ctx: &Context, store: &Arc<dyn Store>, name: &Reference) -> Result<(), Error> {
    push_by(ctx, &Network::open(ctx)?, store, name, None)
}

/// Pushes an image as [`push()`] does, with this client, until the user interrupts.
///
/// # Errors
///
/// As [`push()`], and [`Error::Interrupted`].
pub fn push_by(
    ctx: &Context,
    network: &Network,
    store: &Arc<dyn Store>,
    name: &Reference,
    interrupt: Option<&Interrupt>,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("push", image = %name).entered();
    let Some(named) = store.find(name)? else {
        return Err(images::Error::from(images::not_found(ctx, &**store, name)).into());
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
