//! Sources of a root filesystem: what a path leads to decides, never its name.

pub(crate) mod compression;
mod content;
pub(crate) mod directory;
pub(crate) mod tar;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kraft_sys::fs::Error as FileError;

use crate::newc;
use compression::Compression;

/// Something that a root filesystem can be made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of this host, with everything below it.
    Directory(PathBuf),
    /// A newc archive, compressed or not: checked, and passed on as it is.
    Cpio(PathBuf),
    /// A tarball, compressed or not.
    Tar(PathBuf),
}

/// Why a path is no source, or a source is damaged.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is nothing that a root filesystem can be made from.
    #[error("cannot make a root filesystem from `{path}`: it is {what}", path = path.display())]
    Unknown {
        /// What was named.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
    },
    /// A tarball cannot be read.
    #[error("cannot read the tarball `{path}`", path = path.display())]
    Tar {
        /// The tarball.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// The old archive formats, by their first bytes, and what they are.
const FOREIGN: [(&[u8], &str); 6] = [
    (
        b"070707",
        "a cpio archive of the old portable format; write it with `cpio -H newc`",
    ),
    (
        b"\xc7\x71",
        "a cpio archive of the old binary format; write it with `cpio -H newc`",
    ),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\x7fELF", "a program or a kernel, not an archive"),
];

impl Source {
    /// Finds out what a path is.
    pub fn detect(path: &Path) -> Result<Self, crate::Error> {
        let metadata = std::fs::metadata(path).map_err(FileError::on("read", path))?;
        if metadata.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if !metadata.is_file() {
            return Err(unknown(path, "neither a file nor a directory").into());
        }
        let file = File::open(path).map_err(FileError::on("open", path))?;
        let start = compression::start_of(file).map_err(|source| {
            let what = FileError::on("read", path)(source);
            crate::Error::from(what)
        })?;
        if newc::is_magic(&start) {
            Ok(Self::Cpio(path.to_owned()))
        } else if tar::is_tar(&start) {
            Ok(Self::Tar(path.to_owned()))
        } else if start.is_empty() {
            Err(unknown(path, "empty").into())
        } else {
            let foreign = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic));
            let what = foreign.map_or("no directory, cpio archive or tarball", |(_, what)| what);
            Err(unknown(path, what).into())
        }
    }

    /// Returns the path it was found at.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Cpio(path) | Self::Tar(path) => path,
        }
    }
}

fn unknown(path: &Path, what: &'static str) -> SourceError {
    SourceError::Unknown {
        path: path.to_owned(),
        what,
    }
}

/// Opens a file and looks through its compression.
pub(crate) fn open(path: &Path) -> Result<(Compression, Box<dyn io::Read>), FileError> {
    let file = File::open(path).map_err(FileError::on("open", path))?;
    compression::open(file).map_err(FileError::on("read", path))
}
