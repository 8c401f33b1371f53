//! Reads the contents of files of a tree from their locations.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kraft_sys::fs::{self, Error as FileError};

use super::directory::open_below;
use crate::Error;
use crate::path::join;
use crate::tree::{Content, Place, Root};

/// Buffer size in bytes for copies that the kernel cannot do.
const BUFFER: usize = 256 * 1024;

/// A content being read.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    at: u64,
    left: u64,
    /// Its name in messages.
    pub(crate) name: PathBuf,
}

/// Location of a content that can be shared with other threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    size: u64,
    at: At<'a>,
}

#[derive(Clone, Copy, Debug)]
enum At<'a> {
    Below {
        root: &'a Root,
        directory: &'a [u8],
        path: &'a [u8],
    },
    Within(&'a File, u64),
}

impl Content {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Opened, Error> {
        self.spot().open()
    }

    /// Returns its location.
    pub(crate) fn spot(&self) -> Spot<'_> {
        Spot {
            size: self.size,
            at: match &self.at {
                Place::Below { directory, path } => At::Below {
                    root: &directory.root,
                    directory: &directory.path,
                    path,
                },
                Place::Within { file, offset } => At::Within(file, *offset),
            },
        }
    }
}

impl Spot<'_> {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Opened, Error> {
        let (file, at, name) = match self.at {
            At::Below {
                root,
                directory,
                path,
            } => {
                let path = join(directory, path);
                let full = root.path.join(OsStr::from_bytes(&path));
                let file = open_below(&root.file, &path).map_err(FileError::on("read", &full))?;
                (file, 0, full)
            }
            At::Within(file, offset) => {
                let name = PathBuf::from("the unpacked archive");
                let file = file.try_clone().map_err(FileError::on("open", &name))?;
                (file, offset, name)
            }
        };
        Ok(Opened {
            file,
            at,
            left: self.size,
            name,
        })
    }
}

impl Opened {
    /// Copies the rest to a new file, as a reflink where the file system supports it.
    pub(crate) fn copy_to(mut self, out: &mut File, name: &Path) -> Result<(), Error> {
        let whole = self.at == 0 && self.file.metadata().is_ok_and(|it| it.len() == self.left);
        if whole && fs::share_blocks(&self.file, out).is_ok() {
            return Ok(());
        }
        while self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            match fs::copy_range(&self.file, &mut self.at, out, most) {
                Ok(0) => break,
                Ok(count) => self.left -= count as u64,
                // Not supported between these file systems.
                Err(_) => {
                    let mut from = BufReader::with_capacity(BUFFER, &mut self);
                    io::copy(&mut from, out).map_err(FileError::on("write", name))?;
                    break;
                }
            }
        }
        if self.left > 0 {
            return Err(Error::Changed { path: self.name });
        }
        Ok(())
    }

    /// Returns the number of unread bytes.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
