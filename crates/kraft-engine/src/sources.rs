//! The door to components: where they are fetched from and kept, by the configuration.

use std::path::PathBuf;

use kraft_build::catalog::{self, Updated};
use kraft_build::sources::{Credential, Error, Http, Sources};
use kraft_core::connection;

use super::network;
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};

/// How components are fetched.
#[derive(Clone, Debug, Default)]
pub struct Fetching {
    /// Whether the lock file must fit as it is.
    pub locked: bool,
    /// Whether to put components to their places again even if they are there.
    pub again: bool,
    /// Whether the catalog is read anew.
    pub fresh_catalog: bool,
    /// Whether the catalog is never read anew.
    pub old_catalog: bool,
    /// Whether to fetch with Git where there is a choice.
    pub git: bool,
    /// How many commits of history are fetched.
    pub depth: Option<u32>,
}

/// Opens the door; no connection is made.
pub fn open(ctx: &Context, fetching: &Fetching) -> Result<Sources, Failure> {
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
    sources.catalog = catalog::load(&manifests(ctx))?;
    Ok(sources)
}

/// Returns where what was fetched is kept.
pub fn cache(ctx: &Context) -> PathBuf {
    ctx.settings.sources_dir.clone()
}

/// Returns where the catalog is kept.
pub fn manifests(ctx: &Context) -> PathBuf {
    ctx.settings.manifests_dir.clone()
}

/// Returns the configured sources that are catalogs, and not registries.
pub fn places(ctx: &Context) -> Vec<String> {
    catalogs(&ctx.settings.manifests)
}

/// Returns those of some sources that are catalogs, and not registries.
pub fn catalogs(sources: &[String]) -> Vec<String> {
    sources
        .iter()
        .filter(|place| network::registry_host(place).is_none())
        .cloned()
        .collect()
}

/// Asks every source of the catalog what it has now. One that does not answer is told; the whole
/// fails only if all do.
pub fn update(ctx: &Context, sources: &mut Sources) -> Result<(), Failure> {
    let places = places(ctx);
    if places.is_empty() {
        forget_others(ctx, &places)?;
        sources.catalog = catalog::load(&manifests(ctx))?;
        return Ok(());
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
            ctx.warn(&format!("`{place}` is not up to date: {}", chain(&error)));
        }
    }
    match last {
        Some((place, error)) => {
            Err(Failure::from(error).about(&format!("cannot read the catalog `{place}`")))
        }
        None => Ok(()),
    }
}

/// Forgets what came from sources that are not configured any more; returns whether that could be
/// told without asking anybody.
pub fn forget_others(ctx: &Context, places: &[String]) -> Result<bool, Failure> {
    Ok(catalog::forget_others(&manifests(ctx), places)?)
}

fn credentials(ctx: &Context) -> Vec<(String, Credential)> {
    network::own_credentials(ctx)
        .into_iter()
        .map(|(host, (user, token))| (host, Credential { user, token }))
        .collect()
}

const NO_NETWORK: &str = "check the network, and `HTTPS_PROXY` behind a proxy; `source:` in the Kraftfile may \
                          name a directory or a mirror";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use kraft_build::sources::GitSort;

        let (kind, hint) = match &error {
            Error::Unknown { empty: true, .. } => (
                Kind::NotFound,
                Some(
                    "the catalog is empty: `kraft pkg update` reads it, `kraft pkg source` adds to it",
                ),
            ),
            Error::Unknown { .. } => (
                Kind::NotFound,
                Some(
                    "`kraft pkg ls --all` lists what there is; `source:` in the Kraftfile names a place of its own",
                ),
            ),
            Error::ReleaseError { .. } | Error::NoResource { .. } => {
                (Kind::NotFound, Some("`version:` in the Kraftfile names it"))
            }
            Error::NoVersion { .. } => (
                Kind::NotFound,
                Some("`version:` in the Kraftfile, or kraft.lock, names it"),
            ),
            Error::Git { sort, why, .. } => match sort {
                GitSort::Network => (Kind::Network, connection::hint(why).or(Some(NO_NETWORK))),
                GitSort::Denied => (
                    Kind::Authentication,
                    Some(
                        "kraft uses the credentials of your git: see whether `git ls-remote URL` works",
                    ),
                ),
                GitSort::NotThere => (Kind::NotFound, Some("`source:` in the Kraftfile names it")),
                GitSort::Other => (Kind::Failed, None),
            },
            Error::Tool(_) => (Kind::Host, None),
            Error::Offline { .. } => (
                Kind::Network,
                Some(
                    "run the same without `--offline` once, or `kraft fetch` while there is a network",
                ),
            ),
            Error::NotThere { .. } => (Kind::NotFound, None),
            Error::Denied { .. } => (
                Kind::Authentication,
                Some("`kraft login HOST` keeps credentials for it"),
            ),
            Error::Network { why, .. } => {
                (Kind::Network, connection::hint(why).or(Some(NO_NETWORK)))
            }
            Error::Checksum { .. } => (
                Kind::Failed,
                Some(
                    "nothing of it was kept; if the change is wanted, `kraft update NAME` accepts it",
                ),
            ),
            Error::InTheWay { .. } => (Kind::Failed, Some("move it away")),
            Error::Archive { .. } | Error::NoCatalog { .. } | Error::File(_) => {
                (Kind::Failed, None)
            }
        };
        let failure = match error {
            Error::File(error) => Self::from(error),
            error => Self::new(kind, error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
