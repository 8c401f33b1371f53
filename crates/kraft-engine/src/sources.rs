//! The sources of components: where they are fetched from and cached, by the configuration.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::sources::{Fetching, open, places};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.dirs.data = dir.path().to_owned();
//! context.settings.manifests_dir = dir.path().join("manifests");
//! context.settings.manifests = vec![
//!     "https://example.com/index.yaml".to_owned(),
//!     "registry.example".to_owned(),
//! ];
//! assert_eq!(places(&context), ["https://example.com/index.yaml"]);
//! // Connects to nothing; the catalog was not fetched yet.
//! let sources = open(&context, &Fetching::default())?;
//! assert!(sources.catalog.is_empty());
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;

use kraft_build::catalog::{self, Updated};
use kraft_build::sources::{Credential, Error as FetchError, Http, Sources};
use kraft_core::error::chain;
use kraft_sys::command_line::redacted;

use super::network;
use crate::context::Context;

/// Why the catalog cannot be read or updated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No source of the catalog can be read; this is the last one.
    #[error("cannot read the catalog `{place}`")]
    Catalog {
        /// The source: a URL without credentials, or a path.
        place: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// The catalog on this host cannot be read or written.
    #[error(transparent)]
    Local(#[from] FetchError),
}

/// How components are fetched.
#[derive(Clone, Debug, Default)]
pub struct Fetching {
    /// Whether to fail if the lock file does not fit the Kraftfile.
    pub locked: bool,
    /// Whether to install components again that are in place.
    pub again: bool,
    /// Whether to update the catalog first.
    pub fresh_catalog: bool,
    /// Whether to never update the catalog.
    pub old_catalog: bool,
    /// Whether to fetch with Git where there is an archive, too.
    pub git: bool,
    /// The number of commits of history to fetch.
    pub depth: Option<u32>,
}

/// Reads the catalog, and sets up how components are fetched; connects to nothing.
///
/// # Errors
///
/// If the catalog cannot be read.
pub fn open(ctx: &Context, fetching: &Fetching) -> Result<Sources, Error> {
    let mut sources = Sources {
        cache: cache(ctx),
        offline: ctx.settings.offline,
        prefer_git: fetching.git,
        depth: fetching.depth,
        github_api: ctx
            .env
            .text("GITHUB_API_URL")
            .unwrap_or_else(|| "https://api.github.com".to_owned()),
        catalog: Vec::new(),
        http: Http::new(network::policy(ctx), credentials(ctx)),
    };
    tracing::debug!(
        dir = %manifests(ctx).display(),
        cache = %sources.cache.display(),
        offline = sources.offline,
        "reading the catalog"
    );
    sources.catalog = catalog::load(&manifests(ctx))?;
    Ok(sources)
}

/// Returns the directory that fetched components are cached in.
pub fn cache(ctx: &Context) -> PathBuf {
    ctx.settings.sources_dir.clone()
}

/// Returns the directory of the catalog.
pub fn manifests(ctx: &Context) -> PathBuf {
    ctx.settings.manifests_dir.clone()
}

/// Returns the configured sources that are catalogs and not registries.
pub fn places(ctx: &Context) -> Vec<String> {
    catalogs(&ctx.settings.manifests)
}

/// Returns those of some sources that are catalogs and not registries.
pub fn catalogs(sources: &[String]) -> Vec<String> {
    sources
        .iter()
        .filter(|place| network::registry_host(place).is_none())
        .cloned()
        .collect()
}

/// Updates the catalog from every configured source. Warns of a source that fails.
///
/// # Errors
///
/// If every source fails, or the catalog cannot be written.
pub fn update(ctx: &Context, sources: &mut Sources) -> Result<(), Error> {
    let places = places(ctx);
    if places.is_empty() {
        forget_others(ctx, &places)?;
        sources.catalog = catalog::load(&manifests(ctx))?;
        return Ok(());
    }
    for place in &places {
        tracing::debug!(place = redacted(place), "updating the catalog");
    }
    let progress = ctx.progress();
    let Updated { entries, failed } =
        catalog::update(sources, &manifests(ctx), &places, &progress)?;
    drop(progress);
    sources.catalog = entries;
    let all = failed.len() == places.len();
    let mut last = None;
    for (place, error) in failed {
        if all {
            last = Some((place, error));
        } else {
            let place = redacted(&place);
            ctx.warn(&format!("`{place}` is not up to date: {}", chain(&error)));
        }
    }
    match last {
        Some((place, source)) => Err(Error::Catalog {
            place: redacted(&place),
            source: Box::new(source),
        }),
        None => Ok(()),
    }
}

/// Removes the entries of sources that are no longer configured; returns `false` if that takes an
/// update of the catalog.
///
/// # Errors
///
/// If the catalog cannot be read or written.
pub fn forget_others(ctx: &Context, places: &[String]) -> Result<bool, Error> {
    Ok(catalog::forget_others(&manifests(ctx), places)?)
}

fn credentials(ctx: &Context) -> Vec<(String, Credential)> {
    network::own_credentials(ctx)
        .into_iter()
        .map(|(host, (user, token))| (host, Credential { user, token }))
        .collect()
}
