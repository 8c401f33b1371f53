//! Errors of root filesystems.

use std::path::PathBuf;

use kraft_core::reference::ReferenceError;
use kraft_sys::fs;

use crate::epoch;

/// Error of a root filesystem or its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argument of a command names no file and no image.
    #[error("`{flag}`: there is no `{path}`", path = path.display())]
    NotFound {
        /// The flag of the argument.
        flag: String,
        /// The argument.
        path: PathBuf,
    },
    /// The Kraftfile names a file that does not exist.
    #[error("there is no root filesystem `{path}`", path = path.display())]
    NotInProject {
        /// The path.
        path: PathBuf,
    },
    /// The name of an image is invalid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// `SOURCE_DATE_EPOCH` is invalid.
    #[error(transparent)]
    Epoch(#[from] epoch::Error),
    /// A Dockerfile or an image must be built before it is used as files.
    #[error("`{source_name}` was not built")]
    NotPrepared {
        /// The source.
        source_name: String,
    },
    /// The archive cannot be built.
    #[error(transparent)]
    Archive(#[from] kraft_rootfs::Error),
    /// A file of the host cannot be used.
    #[error(transparent)]
    File(#[from] fs::Error),
}
