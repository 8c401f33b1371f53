//! The images in kraft.lock: which digest the runtime image of a project is pinned to.
//!
//! `kraft build` and `kraft update` write the pin; `build`, `run` and `pkg` use it. If the store has
//! another image of that name, which was made locally since, that one is used, with a warning.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::{images, pins, project};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! # context.dirs.data = dir.path().join("data");
//! let text = "spec: v0.6\nname: web\nruntime: unikraft.org/base:latest\n";
//! std::fs::write(dir.path().join("Kraftfile"), text)?;
//! let digest = format!("sha256:{}", "0a".repeat(32));
//! let images = format!(r#"{{"unikraft.org/base:latest": "{digest}"}}"#);
//! let lock = format!(r#"{{"version": 1, "components": {{}}, "images": {images}}}"#);
//! std::fs::write(dir.path().join("kraft.lock"), lock)?;
//!
//! let project = project::open(&context, Some(dir.path()), None)?;
//! let store = images::open(&context)?;
//! let name = "unikraft.org/base:latest".parse()?;
//! let pinned = pins::pinned(&context, &*store, &project, &name)?;
//! assert_eq!(pinned.digest().map(|digest| digest.as_str()), Some(digest.as_str()));
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use kraft_core::lock::Lock;
use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::PlatformFilter;
use kraft_oci::pull::{self, PullError};
use kraft_oci::store::Store;

use super::builtin;
use super::components;
use super::images;
use super::network::{self, Network};
use super::obtain::{self, Pull};
use super::project::Project;
use super::workplace::{self, Workplace};
use crate::context::Context;

/// Why the image of a project is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// With `--locked`, kraft.lock must have the image.
    #[error("kraft.lock does not fit the Kraftfile: it does not have the image `{0}`")]
    NotLocked(String),
    /// The image cannot be looked up.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The image cannot be obtained.
    #[error(transparent)]
    Obtain(#[from] obtain::Error),
    /// The registry client cannot be made.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The registry cannot be asked.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// kraft.lock cannot be read or written.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The project's directory cannot be created.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
}

/// Which image a project runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    /// The image by its name: nothing is pinned.
    Unpinned,
    /// The pinned image, in the store or not.
    Pinned,
    /// The image of that name in the store, which is not the pinned one.
    Moved(Digest),
}

/// Decides which image is used: `pin` is in kraft.lock, the store has the name at `local`, and the
/// pinned image if `has_pinned`.
fn choose(pin: Option<&Digest>, local: Option<&Digest>, has_pinned: bool) -> Choice {
    match (pin, local) {
        (None, _) => Choice::Unpinned,
        (Some(pin), Some(local)) if !has_pinned && local != pin => Choice::Moved(local.clone()),
        (Some(_), _) => Choice::Pinned,
    }
}

/// Returns the image that a name means in a project: the pinned one, if there is a pin.
///
/// # Errors
///
/// If kraft.lock or the store cannot be read.
pub fn pinned(
    ctx: &Context,
    store: &dyn Store,
    project: &Project,
    name: &Reference,
) -> Result<Reference, Error> {
    let workplace = Workplace::find(ctx, project)?;
    let lock = read_lock(&workplace)?;
    let name = locked_version(&lock, name);
    provide(store, &name)?;
    exact(ctx, store, &name, pin_of(&lock, &name).as_ref())
}

/// Puts the built-in runtime in the store, if that is named.
fn provide(store: &dyn Store, name: &Reference) -> Result<(), Error> {
    if builtin::is_builtin(name) {
        builtin::provide(store, name).map_err(obtain::Error::from)?;
    }
    Ok(())
}

/// Returns the version of the built-in runtime that a project is pinned to, if `name` is that of
/// this program; else the name itself.
fn locked_version(lock: &Lock, name: &Reference) -> Reference {
    let is_own = builtin::is_builtin(name) && name.tag() == Some(builtin::VERSION);
    if !is_own || pin_of(lock, name).is_some() {
        return name.clone();
    }
    let mut locked = lock.images.keys().filter_map(|key| key.parse().ok());
    locked
        .find(builtin::is_builtin)
        .unwrap_or_else(|| name.clone())
}

fn read_lock(workplace: &Workplace) -> Result<Lock, Error> {
    let lock = components::read_lock(&workplace.lock_file())?;
    Ok(lock.unwrap_or_default())
}

/// Applies a pin to a name, and warns if the store has another image of that name.
fn exact(
    ctx: &Context,
    store: &dyn Store,
    name: &Reference,
    pin: Option<&Digest>,
) -> Result<Reference, Error> {
    let Some(pin) = pin else {
        return Ok(name.clone());
    };
    let exact = name.with_digest(pin);
    let has_pinned = images::look_up(store, &exact)?.is_some();
    let local = if has_pinned {
        None
    } else {
        images::look_up(store, name)?.map(|found| found.named.target.digest)
    };
    Ok(match choose(Some(pin), local.as_ref(), has_pinned) {
        Choice::Moved(local) => {
            ctx.warn(&format!(
                "kraft.lock has `{name}` at {}, and the local store has it at {}: using the local \
                 one; `kraft update` moves the pin",
                pin.short(),
                local.short()
            ));
            name.clone()
        }
        Choice::Pinned => exact,
        Choice::Unpinned => name.clone(),
    })
}

/// Returns the pin of an image; `None` for a name with a digest, which needs none.
fn pin_of(lock: &Lock, name: &Reference) -> Option<Digest> {
    if name.digest().is_some() {
        return None;
    }
    lock.images.get(&name.qualified().to_string())?.parse().ok()
}

/// Obtains the image that a project runs on, and pins it. With `locked`, there must be a pin, and
/// it is used even if the store has another image of that name.
///
/// # Errors
///
/// If there is no pin with `locked`, or the image cannot be obtained.
pub fn obtain(
    ctx: &Context,
    project: &Project,
    name: &Reference,
    filter: &PlatformFilter,
    locked: bool,
) -> Result<Reference, Error> {
    let store: Arc<dyn Store> = images::open(ctx)?;
    let workplace = Workplace::open(ctx, project)?;
    let mut lock = read_lock(&workplace)?;
    let name = &locked_version(&lock, name);
    provide(&*store, name)?;
    let pin = pin_of(&lock, name);
    let pinnable = pin.is_none() && name.digest().is_none();
    let wanted = match (&pin, locked) {
        (Some(pin), true) => name.with_digest(pin),
        (None, true) if pinnable => return Err(Error::NotLocked(name.to_string())),
        (None, true) => name.clone(),
        (pin, false) => exact(ctx, &*store, name, pin.as_ref())?,
    };
    let image = obtain::obtain(ctx, &store, &wanted, filter, Pull::Missing)?;
    if pinnable && let Some(found) = images::look_up(&*store, name)? {
        let digest = found.named.target.digest.to_string();
        lock.images.insert(name.qualified().to_string(), digest);
        tracing::debug!(%name, "pinning the image in kraft.lock");
        components::write_lock(ctx, &workplace, &lock)?;
    }
    Ok(image.name)
}

/// A pin that differs from what the registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The image.
    pub name: Reference,
    /// The digest in kraft.lock; `None` if the image is not pinned.
    pub from: Option<Digest>,
    /// The digest in the registry.
    pub to: Digest,
}

/// Asks the registry for the digest of the image of a project; with `write`, pins that.
///
/// # Errors
///
/// If the registry cannot be asked, or kraft.lock cannot be written.
pub fn update(
    ctx: &Context,
    project: &Project,
    name: &Reference,
    write: bool,
) -> Result<Option<Moved>, Error> {
    if name.digest().is_some() {
        return Ok(None);
    }
    let full = name.qualified();
    let to = newest(ctx, &full)?;
    let workplace = Workplace::open(ctx, project)?;
    let mut lock = read_lock(&workplace)?;
    let from = pin_of(&lock, name);
    if from.as_ref() == Some(&to) {
        return Ok(None);
    }
    if write {
        if builtin::is_builtin(&full) {
            let is_other = |key: &str| key.parse().is_ok_and(|key| builtin::is_builtin(&key));
            lock.images.retain(|key, _| !is_other(key));
        }
        lock.images.insert(full.to_string(), to.to_string());
        components::write_lock(ctx, &workplace, &lock)?;
    }
    Ok(Some(Moved {
        name: full,
        from,
        to,
    }))
}

/// Returns the digest that the registry has of an image; that of this program for the built-in
/// runtime.
fn newest(ctx: &Context, full: &Reference) -> Result<Digest, Error> {
    if builtin::is_builtin(full) {
        let store = images::open(ctx)?;
        provide(&*store, full)?;
        return match images::look_up(&*store, full)? {
            Some(found) => Ok(found.named.target.digest),
            None => Err(images::Error::from(images::not_found(ctx, &*store, full)).into()),
        };
    }
    tracing::debug!(image = %full, "looking up the digest of the image in its registry");
    let network = Network::open(ctx)?;
    let remote = network.run(pull::look(&network.registry, full))?;
    Ok(remote.target.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context, image};

    fn digest(digit: char) -> Digest {
        let hex: String = std::iter::repeat_n(digit, 64).collect();
        format!("sha256:{hex}").parse().unwrap()
    }

    #[test]
    fn the_pinned_image_is_used_unless_the_store_has_another_one_of_that_name() {
        let (pin, other) = (&digest('a'), &digest('b'));
        for (pin, local, has_pinned, expected) in [
            (None, None, false, Choice::Unpinned),
            (None, Some(other), false, Choice::Unpinned),
            (Some(pin), None, false, Choice::Pinned),
            (Some(pin), None, true, Choice::Pinned),
            (Some(pin), Some(pin), false, Choice::Pinned),
            (Some(pin), Some(other), true, Choice::Pinned),
            (Some(pin), Some(other), false, Choice::Moved(other.clone())),
        ] {
            let case = format!("{pin:?} {local:?} {has_pinned}");
            assert_eq!(choose(pin, local, has_pinned), expected, "{case}");
        }
    }

    #[test]
    fn a_pin_is_found_by_the_full_name_and_a_digest_needs_none() {
        let mut lock = Lock::default();
        let pin = digest('a');
        lock.images
            .insert("unikraft.org/nginx:1.25".to_owned(), pin.to_string());
        lock.images
            .insert("unikraft.org/redis:7".to_owned(), "nonsense".to_owned());
        for (name, expected) in [
            ("unikraft.org/nginx:1.25", Some(&pin)),
            ("nginx:1.25", Some(&pin)),
            ("nginx:1.26", None),
            ("a.example/nginx:1.25", None),
            ("redis:7", None),
        ] {
            let found = pin_of(&lock, &name.parse().unwrap());
            assert_eq!(found.as_ref(), expected, "{name}");
        }
        let exact = format!("nginx@{}", digest('b')).parse().unwrap();
        assert_eq!(pin_of(&lock, &exact), None);
    }

    #[test]
    fn a_project_stays_on_the_version_of_the_built_in_runtime_that_is_locked() {
        let own = builtin::reference(builtin::ALIAS).unwrap();
        let locked = "kraft.local/runtime:0.0.1";
        for (keys, name, expected) in [
            (&[][..], &*own.to_string(), &*own.to_string()),
            (&[locked], &own.to_string(), locked),
            (
                &[&*own.to_string(), locked],
                &own.to_string(),
                &own.to_string(),
            ),
            (
                &[locked],
                "kraft.local/runtime:0.0.2",
                "kraft.local/runtime:0.0.2",
            ),
            (&[locked], "unikraft.org/base:1", "unikraft.org/base:1"),
            (&["unikraft.org/base:1"], &own.to_string(), &own.to_string()),
        ] {
            let mut lock = Lock::default();
            for key in keys {
                let digest = digest('a').to_string();
                lock.images.insert((*key).to_owned(), digest);
            }
            let found = locked_version(&lock, &name.parse().unwrap());
            assert_eq!(found.to_string(), expected, "{keys:?} {name}");
        }
    }

    #[test]
    fn the_use_of_another_image_than_the_pinned_one_is_a_warning() {
        let home = tempfile::tempdir().unwrap();
        let script = Script::silent();
        let ctx = context(home.path(), &script);
        let store = images::open(&ctx).unwrap();
        let name: Reference = "a.example/app:1".parse().unwrap();
        let stored = image(&ctx, &*store, "a.example/app:1", &["qemu/x86_64"]).digest;
        let before = script.reported().len();

        let used = exact(&ctx, &*store, &name, Some(&stored)).unwrap();
        assert_eq!(used, name.with_digest(&stored));
        assert_eq!(script.reported().len(), before);

        let used = exact(&ctx, &*store, &name, Some(&digest('a'))).unwrap();
        assert_eq!(used, name);
        let warning = script.reported().pop().unwrap();
        assert!(warning.contains("kraft update"), "{warning}");
    }
}
