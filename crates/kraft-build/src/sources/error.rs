//! Errors of component sources.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kraft_core::catalog::{Entry, ReleaseError};
use kraft_core::nearest::nearest;
use kraft_http::redirect::RedirectError;
use kraft_http::text::sanitized;
use kraft_http::{ClientError, TransferError, UrlError};
use kraft_sys::command_line::redacted;
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
    #[error("cannot download `{url}`")]
    Network {
        /// The URL.
        url: String,
        /// The reason.
        source: DownloadError,
    },
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
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
    #[error("cannot unpack {name} from `{url}`")]
    Archive {
        /// The component.
        name: String,
        /// Where it was downloaded from.
        url: String,
        /// The reason.
        source: Box<ArchiveError>,
    },
    /// A file not managed by kraft occupies the path of a component.
    #[error("`{}` is in the way: it is neither a directory nor a link", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// A catalog is invalid.
    #[error("`{place}` is not a catalog of components")]
    NoCatalog {
        /// Its path, or its URL without credentials.
        place: String,
        /// The reason.
        source: CatalogError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The connection failed or was interrupted.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The server returned this HTTP status.
    #[error("the server returned {0}")]
    Status(u16),
    /// The server returned 304, which it was not asked for.
    #[error("the server returned 304 for an unconditional request")]
    NotModified,
    /// The server limits the rate of requests, for this long.
    #[error("the server takes no more requests for {} seconds", .0.as_secs())]
    Busy(Duration),
    /// The response is larger than the limit, in bytes.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// The address is not a URL.
    #[error(transparent)]
    Url(UrlError),
    /// The server redirects to a place that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
}

/// Why an archive or a repository is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is damaged, too large, or of an unsupported format.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is a zip archive that is damaged or uses unsupported features.
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
    /// It has no entry.
    #[error("it is empty")]
    Empty,
    /// It has more entries than the limit.
    #[error("it has more than {0} entries, the limit")]
    TooManyEntries(u64),
    /// An entry is malicious, or of an unsupported type.
    #[error("the {kind} `{}` {why}", path.display())]
    Entry {
        /// What it is: `link`, `path`.
        kind: &'static str,
        /// Its path.
        path: PathBuf,
        /// The reason, phrased to follow the path.
        why: &'static str,
    },
    /// An entry of the unpacked tree is malicious: a sentence about it.
    #[error("{0}")]
    Tree(String),
}

/// Why a catalog is invalid.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It is not text.
    #[error("it is not UTF-8 text")]
    NotText(#[from] std::str::Utf8Error),
    /// It is not valid YAML, or not a catalog. Only the first line of the parser's message is shown:
    /// the others repeat the text.
    #[error("{}", first_line(&.0.to_string()))]
    Yaml(Box<serde_saphyr::Error>),
    /// The response of a forge is not the expected JSON. The parser's message may repeat it.
    #[error("{}", sanitized(&.0.to_string()))]
    Json(serde_json::Error),
    /// A remote catalog refers to a file of this host.
    #[error("it refers to the local path `{0}`")]
    LocalPath(String),
    /// A remote catalog links to something that is not a URL.
    #[error("it links to `{0}`")]
    Link(String),
    /// The directory has no component.
    #[error("there is no component in it: no directory with a `Config.uk` or a Kraftfile")]
    NoComponent,
    /// The name of the repository does not have the kind of its component.
    #[error(
        "its name does not contain its kind: expected `lib-NAME`, `app-NAME` or `unikraft`; \
         `lib-NAME={0}` gives it one"
    )]
    NoKind(String),
    /// The checksum of a resource is invalid.
    #[error("`{0}` is not a SHA-256")]
    Checksum(String),
}

fn first_line(text: &str) -> String {
    sanitized(text.lines().next().unwrap_or_default())
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
    /// Returns the error about a catalog at a path or URL.
    pub(crate) fn catalog(place: &str, source: CatalogError) -> Self {
        Self::NoCatalog {
            place: redacted(place),
            source,
        }
    }

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
