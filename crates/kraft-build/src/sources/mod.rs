//! Component sources: resolves, downloads and installs components.
//!
//! ```text
//! Wanted ─ resolve ─► Origin (saved in lock files) ─ obtain ─► cache ─ materialise ─► .unikraft/…
//!
//! CACHE/git/NAME-PRINT.git       a bare mirror per URL
//!       archives/SHA256          downloads by checksum
//!       trees/PRINT/             one tree per commit or archive, never changed
//!       remembered/PRINT.json    the last known state of a URL, and its `ETag`
//! ```
//!
//! The cache is addressed by content, so concurrent `kraft` processes share it without
//! coordination. An existing tree is complete: it was renamed to its path.
//!
//! ```
//! use kraft_build::sources::{Http, Origin, Put, Sources, Wanted};
//! use kraft_core::component::Kind;
//! use kraft_core::event::Silent;
//! use kraft_http::Policy;
//!
//! let dir = tempfile::tempdir()?;
//! let lwip = dir.path().join("lib-lwip");
//! std::fs::create_dir(&lwip)?;
//! let sources = Sources {
//!     cache: dir.path().join("cache"),
//!     offline: true,
//!     prefer_git: false,
//!     depth: None,
//!     github_api: "https://api.github.com".to_owned(),
//!     catalog: Vec::new(),
//!     http: Http::new(Policy::new("example"), Vec::new()),
//! };
//! let wanted = Wanted {
//!     kind: Kind::Lib,
//!     name: "lwip".to_owned(),
//!     source: Some("https://example.com/lib-lwip.git".to_owned()),
//!     version: None,
//! };
//! let resolved = sources.resolve(&[wanted], &Silent).remove(0);
//! assert!(resolved.is_err(), "offline, and not in the cache");
//!
//! // A directory is used where it is.
//! let origin = Origin::Directory(lwip);
//! let to = dir.path().join("project/libs/lwip");
//! assert_eq!(sources.materialise("lib/lwip", &origin, &to)?, Put::Placed);
//! assert!(to.is_dir());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod error;
mod git;
mod http;
mod tree;
mod tree_check;
mod validators;

use std::path::{Path, PathBuf};

use kraft_core::catalog::Entry;
use kraft_core::component::{self, Kind};
use kraft_core::event::{Event, Reporter};
use kraft_core::lock::{Pin, is_sha256};
use kraft_sys::parallel;

pub use error::{ArchiveError, CatalogError, DownloadError, Error, GitSort};
pub use http::{Credential, Http};
pub use kraft_http::ClientError;
pub(crate) use tree::stub_repository;
pub use tree::{Put, is_in_place, is_ours, release};

/// Maximum number of concurrent downloads.
const SIDE_BY_SIDE: usize = 8;

/// Settings of component sources.
#[derive(Debug)]
pub struct Sources {
    /// The content cache.
    pub cache: PathBuf,
    /// Whether network connections are forbidden.
    pub offline: bool,
    /// Whether to prefer Git over archives.
    pub prefer_git: bool,
    /// Depth of the fetched history: 0 is the whole history, `None` a single commit.
    pub depth: Option<u32>,
    /// The URL of GitHub's API: `https://api.github.com`.
    pub github_api: String,
    /// The cached catalog.
    pub catalog: Vec<Entry>,
    /// The HTTP client.
    pub http: Http,
}

/// A component requested by a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its source, if the project specifies one.
    pub source: Option<String>,
    /// Its version, if the project specifies one.
    pub version: Option<String>,
}

impl Wanted {
    /// Returns its name in messages and lock files: `lib/lwip`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// The exact origin of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory that is used in place.
    Directory(PathBuf),
    /// A pinned source.
    Pinned(Pin),
}

impl Sources {
    /// Resolves the origins of components concurrently; may use the network.
    ///
    /// Archives without a known checksum are downloaded.
    pub fn resolve(
        &self,
        wanted: &[Wanted],
        reporter: &dyn Reporter,
    ) -> Vec<Result<Origin, Error>> {
        side_by_side(wanted, |wanted, task| {
            let told = TaskProgress::start(reporter, task, format!("finding {}", wanted.key()));
            told.end(self.origin(wanted, &told))
        })
    }

    /// Downloads everything that is not in the cache, concurrently.
    pub fn obtain(
        &self,
        pins: &[(String, Pin)],
        reporter: &dyn Reporter,
    ) -> Vec<Result<(), Error>> {
        side_by_side(pins, |(name, pin), task| {
            if tree::is_cached(&self.cache, pin) {
                return Ok(());
            }
            let told = TaskProgress::start(reporter, task, format!("fetching {name}"));
            told.end(self.cached(name, pin, &told).map(drop))
        })
    }

    /// Installs a cached component, or links a directory, in a project.
    pub fn materialise(&self, name: &str, origin: &Origin, to: &Path) -> Result<Put, Error> {
        match origin {
            Origin::Directory(path) => tree::link(path, to),
            Origin::Pinned(pin) => tree::put(&self.cache, name, pin, to),
        }
    }

    /// Lists the references of a repository with their commits.
    pub(crate) fn references(&self, url: &str) -> Result<Vec<(String, String)>, Error> {
        let url = git::normal(url);
        git::Mirror::new(&self.cache, &url, &url).refs(None, self)
    }

    /// Returns the current commits or checksums of versions without large downloads; `None` if they
    /// are unknown, or offline.
    pub fn latest(&self, wanted: &[Wanted]) -> Vec<Option<Pin>> {
        let moving = |wanted: &Wanted| {
            let archive = wanted.source.as_deref().is_some_and(archive::is_archive);
            let commit = wanted.version.as_deref().is_some_and(git::may_be_commit);
            !(self.offline || archive || commit)
        };
        let found = side_by_side(wanted, |wanted, _| {
            if moving(wanted) {
                self.origin(wanted, &TaskProgress::silent()).map(Some)
            } else {
                Ok(None)
            }
        });
        found
            .into_iter()
            .map(|found| match found {
                Ok(Some(Origin::Pinned(pin @ Pin::Git { .. }))) => Some(pin),
                Ok(_) | Err(_) => None,
            })
            .collect()
    }

    fn origin(&self, wanted: &Wanted, told: &TaskProgress<'_>) -> Result<Origin, Error> {
        let Some(source) = &wanted.source else {
            return self.by_catalog(wanted, told);
        };
        let (bare, in_url) = without_query(source);
        let version = wanted.version.as_deref().or(in_url);
        if archive::is_archive(bare) {
            return self.archive(&wanted.key(), bare, None, told);
        }
        self.git(&wanted.key(), bare, version)
    }

    fn git(&self, name: &str, url: &str, version: Option<&str>) -> Result<Origin, Error> {
        let url = git::normal(url);
        let commit = git::Mirror::new(&self.cache, &url, name).resolve(version, self)?;
        Ok(Origin::Pinned(Pin::Git { git: url, commit }))
    }

    fn archive(
        &self,
        name: &str,
        url: &str,
        sha256: Option<&str>,
        told: &TaskProgress<'_>,
    ) -> Result<Origin, Error> {
        let sha256 = match sha256 {
            Some(sum) if !is_sha256(sum) => {
                return Err(Error::catalog(url, CatalogError::Checksum(sum.to_owned())));
            }
            Some(sum) => sum.to_lowercase(),
            None => archive::latest(self, name, url, told)?,
        };
        Ok(Origin::Pinned(Pin::Archive {
            archive: url.to_owned(),
            sha256,
        }))
    }

    fn by_catalog(&self, wanted: &Wanted, told: &TaskProgress<'_>) -> Result<Origin, Error> {
        let key = wanted.key();
        let entry = self
            .catalog
            .iter()
            .find(|entry| entry.kind == wanted.kind && entry.name == wanted.name)
            .ok_or_else(|| Error::unknown(wanted, &self.catalog))?;
        let version = wanted.version.as_deref();
        let git = entry
            .origin
            .as_deref()
            .filter(|origin| git::is_remote(origin));
        let release = match (entry.release(version), git) {
            (Ok(release), _) => release,
            // The catalog does not list every commit.
            (Err(_), Some(git)) if version.is_some_and(git::may_be_commit) => {
                return self.git(&key, git, version);
            }
            (Err(source), _) => return Err(Error::NoRelease { name: key, source }),
        };
        let Some(resource) = release.resource else {
            let Some(git) = git else {
                return Err(Error::NoResource {
                    name: key,
                    version: release.version.to_owned(),
                });
            };
            return self.git(&key, git, Some(release.version));
        };
        if archive::is_archive(resource) {
            if let Some(git) = git
                && (self.prefer_git || git::is_redirected(&git::normal(git)))
            {
                return self.git(&key, git, Some(release.version));
            }
            return match (self.archive(&key, resource, release.sha256, told), git) {
                // A forge's archive of a name may be missing although the commit exists.
                (Err(Error::NotThere { .. }), Some(git)) => {
                    self.git(&key, git, Some(release.version))
                }
                (found, _) => found,
            };
        }
        let path = Path::new(resource);
        if entry.provider.as_deref().is_none_or(is_directory) && path.is_dir() {
            return Ok(Origin::Directory(path.to_owned()));
        }
        let (url, tag) = without_query(resource);
        self.git(&key, url, Some(tag.unwrap_or(release.version)))
    }

    fn cached(&self, name: &str, pin: &Pin, told: &TaskProgress<'_>) -> Result<PathBuf, Error> {
        match pin {
            Pin::Git { git, commit } => {
                let mirror = git::Mirror::new(&self.cache, git, name);
                mirror.has(commit, self)?;
                tree::from_git(&self.cache, &mirror, commit, self)
            }
            Pin::Archive { archive, sha256 } => {
                archive::download(self, name, archive, Some(sha256), told)?;
                tree::from_archive(&self.cache, name, archive, sha256)
            }
        }
    }
}

/// Runs a task for several items concurrently, and reports each.
pub(crate) fn each<T: Sync, R: Send>(
    things: &[T],
    reporter: &dyn Reporter,
    what: impl Fn(&T) -> String + Sync,
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Vec<Result<R, Error>> {
    side_by_side(things, |thing, task| {
        let told = TaskProgress::start(reporter, task, what(thing));
        told.end(work(thing))
    })
}

/// Runs a task for several items concurrently; results are in order. The task is called with its
/// number for the reporter.
fn side_by_side<T: Sync, R: Send>(things: &[T], work: impl Fn(&T, u64) -> R + Sync) -> Vec<R> {
    parallel::in_order(things, SIDE_BY_SIDE, |at, thing| work(thing, at as u64 + 1))
}

/// A task of the reporter.
pub(crate) struct TaskProgress<'a> {
    reporter: Option<&'a dyn Reporter>,
    task: u64,
}

impl<'a> TaskProgress<'a> {
    fn start(reporter: &'a dyn Reporter, task: u64, what: String) -> Self {
        reporter.report(Event::Started {
            task,
            what,
            total: None,
        });
        Self {
            reporter: Some(reporter),
            task,
        }
    }

    pub(crate) fn silent() -> Self {
        Self {
            reporter: None,
            task: 0,
        }
    }

    pub(crate) fn advanced(&self, done: u64) {
        if let Some(reporter) = self.reporter {
            reporter.report(Event::Advanced {
                task: self.task,
                done,
            });
        }
    }

    fn end<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Some(reporter) = self.reporter {
            let task = self.task;
            reporter.report(match result {
                Ok(_) => Event::Finished { task },
                Err(_) => Event::Failed { task },
            });
        }
        result
    }
}

/// Returns whether a catalog provider is a directory.
fn is_directory(provider: &str) -> bool {
    matches!(provider, "dir" | "directory")
}

/// Splits the version from a URL: `?branch=`, `?tag=` or `?version=`.
pub(crate) fn without_query(source: &str) -> (&str, Option<&str>) {
    let Some((bare, query)) = source.split_once('?') else {
        return (source, None);
    };
    let version = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| matches!(*key, "branch" | "tag" | "version"))
        .map(|(_, value)| value);
    if version.is_some() {
        (bare, version)
    } else {
        (source, None)
    }
}

/// Returns the name of a component by its source.
pub fn name_of(source: &str) -> &str {
    component::of_source(source).1
}
