//! What can go wrong with components, in words that say what to do.

use std::path::PathBuf;

use kraft_core::catalog::{Entry, ReleaseError};
use kraft_core::nearest::nearest;
use kraft_sys::fs;
use kraft_sys::tool::ToolError;

use super::Wanted;

/// A component could not be found, fetched or put to its place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog has no such component.
    #[error("the catalog has no {name}{}", meant(nearest.as_ref()))]
    Unknown {
        /// What was asked for: `lib/lwip`.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// Whether the catalog is empty.
        empty: bool,
    },
    /// The component has no such version.
    #[error("cannot take {name}")]
    ReleaseError {
        /// The component.
        name: String,
        /// Why.
        source: ReleaseError,
    },
    /// The catalog does not say where the version is.
    #[error("the catalog does not say where {name} {version} is to be had")]
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
        /// What was asked for.
        version: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// Git failed.
    #[error("cannot fetch `{url}` with git: {why}")]
    Git {
        /// The repository.
        url: String,
        /// What git said, in one line.
        why: String,
        /// Of what sort it is.
        sort: GitSort,
    },
    /// Git is missing, or cannot be run.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Something is not here, and may not be fetched.
    #[error("{what} is not on this computer, and kraft is offline")]
    Offline {
        /// What is missing.
        what: String,
    },
    /// A server has no such thing.
    #[error("`{url}` is not there: the server says {status}")]
    NotThere {
        /// What was asked for.
        url: String,
        /// What the server said.
        status: u16,
    },
    /// A server wants credentials.
    #[error("the server of `{url}` wants credentials, or others: it says {status}")]
    Denied {
        /// What was asked for.
        url: String,
        /// What the server said.
        status: u16,
    },
    /// A server could not be reached, or broke off, or answers nonsense.
    #[error("cannot download `{url}`: {why}")]
    Network {
        /// What was asked for.
        url: String,
        /// What happened, in one line.
        why: String,
    },
    /// What came is not what was promised.
    #[error(
        "the checksum of {name} does not match: `{url}` has {found}, and {wanted} was expected"
    )]
    Checksum {
        /// The component.
        name: String,
        /// Where it came from.
        url: String,
        /// What was expected.
        wanted: String,
        /// What came.
        found: String,
    },
    /// An archive is damaged, hostile or of a kind that is not read.
    #[error("cannot unpack {name} from `{url}`: {why}")]
    Archive {
        /// The component.
        name: String,
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that is not ours is where a component belongs.
    #[error("`{}` is in the way: it is neither a directory nor a link", path.display())]
    InTheWay {
        /// Where it is.
        path: PathBuf,
    },
    /// A catalog is not one.
    #[error("`{place}` is no catalog of components: {why}")]
    NoCatalog {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Of what sort a failure of Git is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitSort {
    /// The host cannot be reached.
    Network,
    /// It wants credentials, or others.
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
