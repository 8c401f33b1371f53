//! Sources of root filesystems; the content at a path decides, never its name.

pub(crate) mod content;
pub(crate) mod directory;
pub(crate) mod newc;
pub(crate) mod tar;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kraft_archive::compression::{self, Stream, Whole};
use kraft_sys::fs::{self, Error as FileError};

/// Source of a root filesystem.
///
/// ```
/// use kraft_rootfs::Source;
///
/// let dir = tempfile::tempdir()?;
/// assert_eq!(
///     Source::detect(dir.path())?,
///     Source::Directory(dir.path().to_owned())
/// );
/// let text = dir.path().join("notes.tar");
/// std::fs::write(&text, "not a tarball")?;
/// assert!(Source::detect(&text).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of this host with everything below it.
    Directory(PathBuf),
    /// A newc archive, compressed or not: it is checked and copied.
    Cpio(PathBuf),
    /// A tarball, compressed or not.
    Tar(PathBuf),
}

/// Error of a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The content at a path is not a supported source.
    #[error("cannot build a root filesystem from `{path}`: it is {what}", path = path.display())]
    Unknown {
        /// The path.
        path: PathBuf,
        /// What it appears to be.
        what: String,
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

/// Number of bytes at the start of a file that decide its format: a tar header.
const START: u64 = 512;
/// Unsupported formats by their first bytes, with a description.
const FOREIGN: [(&[u8], &str); 4] = [
    (
        b"070707",
        "a cpio archive of the old portable format; write it with `cpio -H newc`",
    ),
    (
        b"\xc7\x71",
        "a cpio archive of the old binary format; write it with `cpio -H newc`",
    ),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\x7fELF", "a program or a kernel, not an archive"),
];

impl Source {
    /// Detects the kind of source at a path.
    ///
    /// # Errors
    ///
    /// If the path cannot be read or its content is not a supported source.
    pub fn detect(path: &Path) -> Result<Self, crate::Error> {
        let metadata = std::fs::metadata(path).map_err(FileError::on("read", path))?;
        if metadata.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if !metadata.is_file() {
            return Err(unknown(path, "neither a file nor a directory").into());
        }
        let start = start_of(path)?;
        if crate::newc::is_magic(&start) {
            Ok(Self::Cpio(path.to_owned()))
        } else if kraft_archive::tar::is_header(&start) {
            Ok(Self::Tar(path.to_owned()))
        } else if start.is_empty() {
            Err(unknown(path, "empty").into())
        } else {
            Err(unknown(path, foreign(&start)).into())
        }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Cpio(path) | Self::Tar(path) => path,
        }
    }
}

fn unknown(path: &Path, what: impl Into<String>) -> SourceError {
    SourceError::Unknown {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// Describes content that is not a source.
fn foreign(start: &[u8]) -> String {
    if let Some(name) = compression::unsupported(start) {
        return format!(
            "compressed with {name}; unpack it, or compress it with gzip, bzip2, xz or zstd"
        );
    }
    let known = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic));
    let what = known.map_or(
        "not a directory, a cpio archive or a tarball",
        |(_, what)| what,
    );
    what.to_owned()
}

/// Opens a file that is one stream, compressed or plain.
pub(crate) fn open(path: &Path) -> Result<Whole<'static>, FileError> {
    let file = fs::open_file(path)?;
    compression::decompress(file).map_err(FileError::on("read", path))
}

/// Opens a file that may have several segments, each with its own compression.
pub(crate) fn open_segments(path: &Path) -> Result<Stream<'static>, FileError> {
    let file = fs::open_file(path)?;
    Stream::new(file).map_err(FileError::on("read", path))
}

/// Returns the first bytes of a file after decompression, at most a tar header.
fn start_of(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut start = Vec::new();
    open_segments(path)?
        .take(START)
        .read_to_end(&mut start)
        .map_err(FileError::on("read", path))?;
    Ok(start)
}
