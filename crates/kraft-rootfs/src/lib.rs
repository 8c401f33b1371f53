//! Root filesystems: any source of one becomes an archive that a kernel can unpack.
//!
//! ```text
//! directory ───┐
//! tarball ─────┤
//! layers ──────┼─ source ─► Tree ─ format ─► newc archive
//! archive ─────┴─ verified ──────────────────► the same bytes
//! ```
//!
//! The same content gives the same bytes: entries are sorted, owners and times are fixed, numbers
//! are counted. Contents stream from where they are; only names and numbers are held in memory.
//! Nothing is ever unpacked to disk here, and no name leads out of the root.

pub mod archive;
mod build;
mod context;
pub mod dockerfile;
mod format;
mod ids;
mod index;
mod key;
mod newc;
mod path;
pub mod sandbox;
mod source;
mod tree;
pub mod unpadded;

pub use build::{Built, Layer, Options, build, build_layers, build_tar, verify};
pub use context::Context;
pub use ids::{Extent, IdMap};
pub use index::{Index, Stretch};
pub use path::{PathFault, normalise};
pub use source::{Source, SourceError};

use std::path::PathBuf;

/// Why a root filesystem could not be built or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the host could not be used.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The source is nothing we can take, or is damaged.
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
    /// A tree holds what no archive, or no root, may hold.
    #[error("cannot take `{entry}`")]
    Entry {
        /// Its path inside the root.
        entry: String,
        /// Why not.
        source: EntryFault,
    },
    /// A file was changed while it was read.
    #[error("`{path}` changed while it was read", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// Why an entry cannot stand in a root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The newc format has 32 bits for a size.
    #[error(
        "it has {0} bytes, and a file in an initial root filesystem must be smaller than 4 GiB"
    )]
    TooLarge(u64),
    /// Its name is none.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// One of the directories above it is a symbolic link: what is written there may land anywhere.
    #[error("`{0}`, on the way to it, is a symbolic link")]
    ThroughLink(String),
    /// Symbolic links on the way to it lead in a circle.
    #[error("the symbolic links on the way to it lead in a circle")]
    Circle,
    /// One of the directories above it is something else.
    #[error("`{0}`, on the way to it, is not a directory")]
    NotADirectory(String),
    /// A directory would be replaced by something else, and what is in it would be lost.
    #[error("it is a directory with entries, and something else later")]
    ReplacesDirectory,
    /// A hard link leads to nothing that came before it.
    #[error("it is a hard link to `{0}`, which is no file before it in the archive")]
    DanglingHardLink(String),
    /// The target of a symbolic link is empty, too long, or holds a zero byte.
    #[error(
        "it is a symbolic link whose target is empty, longer than 4095 bytes, or holds a zero byte"
    )]
    LinkTarget,
    /// An entry of a layer that takes away what no layer holds.
    #[error("it takes away no entry of a directory")]
    Whiteout,
    /// The archive format knows a kind of entry that no filesystem has.
    #[error("it is of a kind that cannot be taken over: {0}")]
    Kind(String),
}

/// Returns bytes as text for people; what is not UTF-8 is replaced.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
