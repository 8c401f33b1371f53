//! Why the components of a project cannot be used.

use std::path::PathBuf;

use kraft_build::sources::Error as FetchError;
use kraft_core::lock::Unreadable;
use kraft_sys::fs;

use crate::{project, sources};

/// Why the components of a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the Kraftfile nor its template names a core.
    #[error("the project is not built from source: it names no core")]
    NoCore,
    /// The template has neither a name nor a source that gives it one.
    #[error("the template of the project has no name")]
    UnnamedTemplate,
    /// The template was fetched and has no Kraftfile.
    #[error("the template in `{}` has no Kraftfile", .0.display())]
    NoTemplateKraftfile(PathBuf),
    /// The Kraftfile of the template cannot be used.
    #[error(transparent)]
    Template(#[from] project::Error),
    /// A component cannot be found or fetched.
    #[error("cannot get {name}")]
    Get {
        /// The component: `lib/lwip`.
        name: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// Only the catalog can say where a component is, and it was never read.
    #[error("cannot get {name}: no catalog has been read on this host yet, and kraft is offline")]
    NoCatalog {
        /// The component.
        name: String,
    },
    /// With `--locked`, the Kraftfile asks for something that the lock file does not have.
    #[error("kraft.lock does not fit the Kraftfile: {}", differences.join(", "))]
    Locked {
        /// How they differ, one sentence for each component.
        differences: Vec<String>,
    },
    /// The lock file cannot be parsed.
    #[error("cannot use `{}`", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Unreadable,
    },
    /// The lock file cannot be written as JSON.
    #[error("cannot write kraft.lock")]
    WriteLock(#[source] serde_json::Error),
    /// The project has no component of a name.
    #[error("the project has no component `{name}`")]
    NoSuchComponent {
        /// The name.
        name: String,
        /// Every component of the project.
        components: Vec<String>,
    },
    /// The catalog has no component of a name.
    #[error("could not find {0}")]
    NotInCatalog(String),
    /// The catalog cannot be read or updated.
    #[error(transparent)]
    Catalog(#[from] sources::Error),
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] fs::Error),
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        Self::Catalog(error.into())
    }
}
