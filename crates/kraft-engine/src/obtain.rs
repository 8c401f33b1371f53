//! An image that is ready to use: found in the store or pulled, one manifest chosen, its blobs leased.

use std::sync::Arc;

use kraft_core::reference::Reference;
use kraft_oci::choose::PlatformFilter;
use kraft_oci::image::{Config, Manifest};
use kraft_oci::listing;
use kraft_oci::store::{self, Lease, Store};

use super::builtin;
use super::images::{self, Match, NotFound};
use super::kraftkit;
use super::transfer::{self, Extent};
use crate::context::Context;

/// Why an image cannot be obtained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is ambiguous, or has nothing that fits.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// A document of the image cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The built-in runtime cannot be used.
    #[error(transparent)]
    Builtin(#[from] builtin::Error),
    /// The image is not in the store, and is not to be pulled.
    #[error(transparent)]
    PullNever(NotFound),
    /// The image cannot be pulled.
    #[error("cannot pull the image `{name}`")]
    Pull {
        /// The full name.
        name: String,
        /// Whether KraftKit has the image.
        in_kraftkit: bool,
        /// Why not.
        source: Box<transfer::Error>,
    },
}

impl Error {
    /// Returns whether an image has nothing for the platform and architecture.
    pub(crate) fn is_no_match(&self) -> bool {
        let is_no_match = |error: &images::Error| matches!(error, images::Error::NoMatch(_));
        match self {
            Self::Images(error) => is_no_match(error),
            Self::Pull { source, .. } => match &**source {
                transfer::Error::Images(error) => is_no_match(error),
                _ => false,
            },
            Self::Store(_) | Self::Builtin(_) | Self::PullNever(_) => false,
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// Whenever it is used
    Always,
    /// When it is not in the local store
    #[default]
    Missing,
    /// Never
    Never,
}

/// A manifest of an image in the store, with its configuration.
#[derive(Debug)]
pub struct Obtained {
    /// The full name of the image.
    pub name: Reference,
    /// The manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Config,
    /// The lease on its blobs.
    pub lease: Box<dyn Lease>,
}

/// Finds an image, or pulls it, and chooses the manifest that fits and suits this host best.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use kraft_config::env::Environment;
/// # use kraft_config::{Config, Flags};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::obtain::{self, Pull};
/// use kraft_engine::images;
/// use kraft_oci::choose::PlatformFilter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let store = images::open(&context)?;
/// let name = "unikraft.org/nginx:latest".parse()?;
/// let image = obtain::obtain(&context, &store, &name, &PlatformFilter::default(), Pull::Missing)?;
/// println!("{} for {}", image.name, image.config.platform.pair());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the image is missing and cannot be pulled, or has nothing that fits.
pub fn obtain(
    ctx: &Context,
    store: &Arc<dyn Store>,
    typed: &Reference,
    filter: &PlatformFilter,
    when: Pull,
) -> Result<Obtained, Error> {
    if builtin::is_builtin(typed) {
        builtin::provide(&**store, typed)?;
        return match images::look_up(&**store, typed)? {
            Some(found) => select(ctx, &**store, &found, filter),
            None => Err(images::Error::from(images::not_found(ctx, &**store, typed)).into()),
        };
    }
    if when != Pull::Always
        && let Some(found) = images::look_up(&**store, typed)?
    {
        let local = images::local_manifests(&**store, &found)?;
        let fits = local.iter().any(|manifest| filter.fits(&manifest.platform));
        if fits || when == Pull::Never || ctx.settings.offline {
            tracing::debug!(image = %typed, "using the image of the store");
            return select(ctx, &**store, &found, filter);
        }
    }
    let not_found = || images::not_found(ctx, &**store, typed);
    if when == Pull::Never {
        return Err(Error::PullNever(not_found()));
    }
    tracing::debug!(image = %typed, ?when, "pulling the image");
    transfer::pull(ctx, store, typed, filter, Extent::Chosen).map_err(|source| Error::Pull {
        name: typed.qualified().to_string(),
        in_kraftkit: kraftkit::has(ctx, typed),
        source: Box::new(source),
    })?;
    match images::look_up(&**store, typed)? {
        Some(found) => select(ctx, &**store, &found, filter),
        None => Err(images::Error::from(not_found()).into()),
    }
}

/// Chooses among the manifests of an image that are in the store.
///
/// # Errors
///
/// If none fits, or a document cannot be read.
pub fn select(
    ctx: &Context,
    store: &dyn Store,
    found: &Match,
    filter: &PlatformFilter,
) -> Result<Obtained, Error> {
    let name = &found.named.name;
    let local = images::local_manifests(store, found)?;
    let chosen = images::choose_manifest(ctx, name, &local, filter)?;
    let lease = store.lease()?;
    lease.keep(&[&chosen.descriptor.digest])?;
    let manifest = listing::manifest(store, &chosen.descriptor)?;
    let blobs: Vec<_> = manifest.blobs().map(|blob| &blob.digest).collect();
    lease.keep(&blobs)?;
    let config = store::config(store, &manifest.config)?;
    Ok(Obtained {
        name: name.clone(),
        manifest,
        config,
        lease,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context, image};

    #[test]
    fn what_is_in_the_store_is_pulled_only_if_that_is_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = context(home.path(), &Script::silent());
        ctx.settings.offline = true;
        let store = images::open(&ctx).unwrap();
        image(
            &ctx,
            &*store,
            "a.example/app:1",
            &["qemu/x86_64", "fc/arm64"],
        );

        // Offline, so that every pull fails.
        for (name, os, when, expected) in [
            ("a.example/app:1", None, Pull::Missing, "qemu"),
            ("a.example/app:1", None, Pull::Never, "qemu"),
            ("a.example/app:1", None, Pull::Always, "not pulled"),
            ("a.example/app:1", Some("fc"), Pull::Never, "fc"),
            ("a.example/app:1", Some("xen"), Pull::Never, "no match"),
            ("a.example/app:1", Some("xen"), Pull::Missing, "no match"),
            ("a.example/app:2", None, Pull::Missing, "not pulled"),
            ("a.example/app:2", None, Pull::Never, "not found"),
        ] {
            let filter = PlatformFilter {
                os: os.map(str::to_owned),
                ..PlatformFilter::default()
            };
            let obtained = obtain(&ctx, &store, &name.parse().unwrap(), &filter, when);
            let outcome = match &obtained {
                Ok(image) => image.config.platform.os.as_str(),
                Err(Error::Pull { .. }) => "not pulled",
                Err(Error::PullNever(_)) => "not found",
                Err(Error::Images(images::Error::NoMatch(_))) => "no match",
                Err(error) => panic!("{error}"),
            };
            assert_eq!(outcome, expected, "{name} {os:?} {when:?}");
        }
    }
}
