//! Errors of component sources.

use std::path::PathBuf;

use kraft_core::catalog::{Entry, ReleaseError};
use kraft_core::nearest::nearest;
use kraft_sys::fs;
use kraft_sys::tool::ToolError;

use super::Wanted;

/// Why a component could not be found, fetched or installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog has no such component.
    #[error("the catalog has no {name}{}", meant(nearest.as_ref()))]
    Unknown {
        /// The requested component: `lib/lwip`.
        name: String,
        /// The most similar component.
        nearest: Option<String>,
        /// Whether the catalog is empty.
        empty: bool,
    },
    /// The component does not have the requested version.
    #[error("cannot use {name}")]
    NoRelease {
        /// The component.
        name: String,
        /// The reason.
        source: ReleaseError,
    },
    /// The catalog has no location for the version.
    #[error("the catalog has no location for {name} {version}")]
    NoResource {
        /// The component.
        name: String,
        /// Its version.
        version: String,
    },
    /// A repository has no such branch, tag or commit.
    #[error("`{url}` has no branch, tag or commit `{version}`{}", meant(nearest.as_ref()))]
    NoVersion {
        /// The repository.
        url: String,
        /// The requested version.
        version: String,
        /// The most similar version.
        nearest: Option<String>,
    },
    /// Git failed.
    #[error("cannot fetch `{url}` with git: {why}")]
    Git {
        /// The repository.
        url: String,
        /// git's message, on one line.
        why: String,
        /// The kind of failure.
        sort: GitSort,
    },
    /// Git is missing, or cannot be run.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Something is not in the cache, and cannot be fetched offline.
    #[error("{what} is not cached, and kraft is offline")]
    Offline {
        /// The missing object.
        what: String,
    },
    /// The server returned 404 or a similar status.
    #[error("`{url}` does not exist: the server returned {status}")]
    NotThere {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server requires other credentials.
    #[error("access to `{url}` was denied: the server returned {status}")]
    Denied {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A server is unreachable, the connection was interrupted, or the response is invalid.
    #[error("cannot download `{url}`: {why}")]
    Network {
        /// The URL.
        url: String,
        /// The reason, on one line.
        why: String,
    },
    /// A checksum does not match.
    #[error("the checksum of {name} does not match: `{url}` has {found}, expected {wanted}")]
    Checksum {
        /// The component.
        name: String,
        /// Where it was downloaded from.
        url: String,
        /// The expected checksum.
        wanted: String,
        /// The actual checksum.
        found: String,
    },
    /// An archive is damaged, malicious or of an unsupported format.
    #[error("cannot unpack {name} from `{url}`: {why}")]
    Archive {
        /// The component.
        name: String,
        /// Where it was downloaded from.
        url: String,
        /// The reason.
        why: String,
    },
    /// A file not managed by kraft occupies the path of a component.
    #[error("`{}` is in the way: it is neither a directory nor a link", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// A catalog is invalid.
    #[error("`{place}` is not a catalog of components: {why}")]
    NoCatalog {
        /// Its path or URL.
        place: String,
        /// The reason.
        why: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// The kind of a Git failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitSort {
    /// The host cannot be reached.
    Network,
    /// It requires other credentials.
    Denied,
    /// There is no such repository.
    NotThere,
    /// Anything else.
    Other,
}

fn meant(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

impl Error {
    pub(super) fn unknown(wanted: &Wanted, catalog: &[Entry]) -> Self {
        let names = catalog
            .iter()
            .filter(|entry| entry.kind == wanted.kind)
            .map(|entry| entry.name.as_str());
        Self::Unknown {
            name: wanted.key(),
            nearest: nearest(&wanted.name, names).map(ToOwned::to_owned),
            empty: catalog.is_empty(),
        }
    }
}
