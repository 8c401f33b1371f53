//! The bytes of a file of a tree, wherever they lie.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use kraft_sys::fs::Error as FileError;

use super::directory::open_below;
use crate::Error;
use crate::tree::{Content, Place};

/// A content being read.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    at: u64,
    left: u64,
    /// Its name for people.
    pub(crate) name: PathBuf,
}

impl Content {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Opened, Error> {
        let (file, at, name) = match &self.at {
            Place::Below {
                root,
                root_path,
                path,
            } => {
                let full = root_path.join(OsStr::from_bytes(path));
                (open_below(root, &full, path)?, 0, full)
            }
            Place::Within { file, offset } => {
                let name = PathBuf::from("the unpacked archive");
                let file = file.try_clone().map_err(FileError::on("open", &name))?;
                (file, *offset, name)
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
