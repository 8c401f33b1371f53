//! Builds root filesystems: converts any source to an archive that a kernel can unpack.
//!
//! ```text
//! directory ───┐
//! tarball ─────┤
//! layers ──────┼─ source ─► Tree ─ format ─► newc archive
//! archive ─────┴─ verified ──────────────────► the same bytes
//! ```
//!
//! The same content results in the same bytes: entries are sorted, owners and times are fixed, inode
//! numbers are counted. Contents are streamed from their files; only names and metadata are in memory.
//! Sources are not unpacked to disk, and no name leads out of the root.
//!
//! ```
//! use kraft_rootfs::{Options, Source, build, verify};
//!
//! let dir = tempfile::tempdir()?;
//! let root = dir.path().join("root");
//! std::fs::create_dir(&root)?;
//! std::fs::write(root.join("hello"), "Hello")?;
//!
//! let source = Source::detect(&root)?;
//! let (first, second) = (dir.path().join("1.cpio"), dir.path().join("2.cpio"));
//! build(&source, &first, &Options::default(), &mut |_| {})?;
//! build(&source, &second, &Options::default(), &mut |_| {})?;
//! verify(&first)?;
//! assert_eq!(std::fs::read(first)?, std::fs::read(second)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
pub mod archive;
mod build;
mod cache_key;
mod context;
pub mod dockerfile;
mod format;
mod ids;
mod index;
mod newc;
mod path;
#[cfg(target_os = "linux")]
pub mod sandbox;
#[cfg(not(target_os = "linux"))]
#[path = "no_sandbox.rs"]
pub mod sandbox;
mod source;
mod tree;
pub mod unpadded;

pub use append::{ExtraFile, append};
pub use build::{Built, Layer, Options, build, build_layers, build_tar, verify};
pub use context::Context;
pub use ids::{Extent, IdMap};
pub use index::{Index, Stretch};
pub use path::{PathError, normalise};
pub use source::{Source, SourceError};

use std::path::PathBuf;

/// Error of a root filesystem.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the host could not be used.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The source is not supported or is damaged.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An archive cannot be read.
    #[error("cannot read the archive `{path}`", path = path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: archive::Error,
    },
    /// An entry cannot be in an archive or a root.
    #[error("cannot add `{entry}` to the archive")]
    Entry {
        /// Its path inside the root.
        entry: String,
        /// Why not.
        source: EntryError,
    },
    /// A file was changed while it was read.
    #[error("`{path}` changed while it was read", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the error about an entry of a tree or archive.
    pub(crate) fn entry(path: &[u8], source: EntryError) -> Self {
        Self::Entry {
            entry: shown(path),
            source,
        }
    }
}

/// Reason why an entry cannot be in a root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The newc format has 32 bits for a size.
    #[error(
        "it has {0} bytes, and a file in an initial root filesystem must be smaller than 4 GiB"
    )]
    TooLarge(u64),
    /// Its name is invalid.
    #[error(transparent)]
    Path(#[from] PathError),
    /// One of the directories above it is a symbolic link: the entry could be written anywhere.
    #[error("`{0}`, on the way to it, is a symbolic link")]
    ThroughLink(String),
    /// Symbolic links on the way to it form a loop.
    #[error("the symbolic links on the way to it form a loop")]
    Circle,
    /// One of its parents is not a directory.
    #[error("`{0}`, on the way to it, is not a directory")]
    NotADirectory(String),
    /// It would replace a directory that has entries.
    #[error("it replaces a directory that has entries")]
    ReplacesDirectory,
    /// It is a hard link, and no earlier entry has the name of the file.
    #[error("it is a hard link to `{0}`, which is not an earlier file of the archive")]
    DanglingHardLink(String),
    /// It is a symbolic link whose target is empty, too long, or contains a zero byte.
    #[error(
        "it is a symbolic link whose target is empty, longer than 4095 bytes, or contains a zero byte"
    )]
    LinkTarget,
    /// It is a whiteout without a name to remove.
    #[error("it is a whiteout that does not name an entry")]
    Whiteout,
    /// It is of a kind that no filesystem has.
    #[error("its kind is not supported: {0}")]
    Kind(String),
}

/// Returns bytes as text for messages; invalid UTF-8 is replaced.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
