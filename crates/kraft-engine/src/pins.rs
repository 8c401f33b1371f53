//! The images in kraft.lock: which one a project runs on exactly.
//!
//! `kraft build` and `kraft update` write the pin; `build`, `run` and `pkg` keep to it. Where this
//! computer has another image of that name, made here since, it is taken, and that is told.

use std::sync::Arc;

use kraft_core::lock::Lock;
use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::Wish;
use kraft_oci::pull;
use kraft_oci::store::Store;

use super::components;
use super::images;
use super::network::Network;
use super::obtain::{self, Pull};
use super::project::Project;
use super::workplace::Workplace;
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// Returns the image that a name stands for in a project: the pinned one, if there is a pin.
pub fn pinned(
    ctx: &Context,
    store: &dyn Store,
    project: &Project,
    name: &Reference,
) -> Result<Reference, Failure> {
    let workplace = Workplace::find(ctx, project)?;
    let lock = components::read_lock(&workplace.lock_file())?.unwrap_or_default();
    let Some(digest) = pin_of(&lock, name) else {
        return Ok(name.clone());
    };
    let exact = name.with_digest(&digest);
    if images::look_up(store, &exact)?.is_some() {
        return Ok(exact);
    }
    match images::look_up(store, name)? {
        Some(found) if found.named.target.digest != digest => {
            ctx.warn(&format!(
                "kraft.lock has `{name}` at {}, and here it is at {}: taking that; `kraft update` \
                 moves the pin",
                digest.short(),
                found.named.target.digest.short()
            ));
            Ok(name.clone())
        }
        _ => Ok(exact),
    }
}

/// Returns the pin of an image, if its name leaves open which one is meant.
fn pin_of(lock: &Lock, name: &Reference) -> Option<Digest> {
    if name.digest().is_some() {
        return None;
    }
    lock.images.get(&name.qualified().to_string())?.parse().ok()
}

/// Gets the image that a project runs on, and pins it; with `locked`, insists on the pin.
pub fn obtain(
    ctx: &Context,
    project: &Project,
    name: &Reference,
    wish: &Wish,
    locked: bool,
) -> Result<Reference, Failure> {
    let store: Arc<dyn Store> = images::open(ctx)?;
    let workplace = Workplace::open(ctx, project)?;
    let mut lock = components::read_lock(&workplace.lock_file())?.unwrap_or_default();
    let pin = pin_of(&lock, name);
    if locked && pin.is_none() && name.digest().is_none() {
        return Err(Failure::new(
            Kind::Failed,
            format!("kraft.lock does not fit the Kraftfile: it does not know the image `{name}`"),
        )
        .hint("build without `--locked` once and commit kraft.lock"));
    }
    let wanted = if locked {
        pin.as_ref()
            .map_or_else(|| name.clone(), |pin| name.with_digest(pin))
    } else {
        pinned(ctx, &*store, project, name)?
    };
    let image = obtain::obtain(ctx, &store, &wanted, wish, Pull::Missing)?;
    if pin.is_none()
        && name.digest().is_none()
        && let Some(found) = images::look_up(&*store, name)?
    {
        let digest = found.named.target.digest.to_string();
        lock.images.insert(name.qualified().to_string(), digest);
        components::write_lock(ctx, &workplace, &lock)?;
    }
    Ok(image.name)
}

/// A pin of an image that would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The image.
    pub name: Reference,
    /// Where it is pinned; `None` if it is not.
    pub from: Option<Digest>,
    /// Where it is now.
    pub to: Digest,
}

/// Asks the registry where the image of a project is now; with `write`, the pin moves there.
pub fn update(
    ctx: &Context,
    project: &Project,
    name: &Reference,
    write: bool,
) -> Result<Option<Moved>, Failure> {
    if name.digest().is_some() {
        return Ok(None);
    }
    let full = name.qualified();
    let network = Network::open(ctx)?;
    let remote = network.run(pull::look(&network.registry, &full))?;
    let to = remote.target.digest.clone();
    let workplace = Workplace::open(ctx, project)?;
    let mut lock = components::read_lock(&workplace.lock_file())?.unwrap_or_default();
    let from = pin_of(&lock, name);
    if from.as_ref() == Some(&to) {
        return Ok(None);
    }
    if write {
        lock.images.insert(full.to_string(), to.to_string());
        components::write_lock(ctx, &workplace, &lock)?;
    }
    Ok(Some(Moved {
        name: full,
        from,
        to,
    }))
}
