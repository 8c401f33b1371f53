//! Locks between processes, on files or directories.
//!
//! A lock belongs to an open file (`flock`), so the system releases it when its holder ends.
//! Directories are locked themselves: this needs no lock file, and works on a full disk.
//!
//! ```
//! use kraft_sys::lock::Lock;
//!
//! let dir = tempfile::tempdir()?;
//! let reading = Lock::shared(dir.path())?;
//! assert!(Lock::try_shared(dir.path())?.is_some());
//! assert!(Lock::try_exclusive(dir.path())?.is_none());
//! drop(reading);
//! assert!(Lock::try_exclusive(dir.path())?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::fs::Error;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits for an exclusive lock on the file or directory at `path`.
    ///
    /// Errors: also `NotFound`, when it was removed or replaced while waiting.
    pub fn exclusive(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock().map_err(Error::on("lock", path))?;
        Self { file }.still_at(path)
    }

    /// Takes an exclusive lock on the file or directory at `path`; `None` if it is locked.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Self { file }.still_at(path).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::on("lock", path)(e)),
        }
    }

    /// Waits for a shared lock on `path`.
    pub fn shared(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock_shared().map_err(Error::on("lock", path))?;
        Self { file }.still_at(path)
    }

    /// Takes a shared lock on `path`; `None` if it is locked exclusively.
    pub fn try_shared(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Self { file }.still_at(path).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::on("lock", path)(e)),
        }
    }

    /// Returns the open file or directory with the lock.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Checks that the path still refers to the locked file.
    fn still_at(self, path: &Path) -> Result<Self, Error> {
        let check = || -> std::io::Result<bool> {
            let (ours, now) = (self.file.metadata()?, std::fs::metadata(path)?);
            Ok(ours.dev() == now.dev() && ours.ino() == now.ino())
        };
        match check() {
            Ok(true) => Ok(self),
            Ok(false) => Err(Error::on("lock", path)(std::io::ErrorKind::NotFound.into())),
            Err(e) => Err(Error::on("lock", path)(e)),
        }
    }
}

/// Opens the file to lock; does not block on a FIFO.
fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(Error::on("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_a_directory_and_dropping_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::exclusive(dir.path()).unwrap();
        assert!(Lock::try_exclusive(dir.path()).unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(dir.path()).unwrap().is_some());
    }

    #[test]
    fn sharers_keep_an_exclusive_one_out() {
        let dir = tempfile::tempdir().unwrap();
        let _one = Lock::shared(dir.path()).unwrap();
        let _two = Lock::shared(dir.path()).unwrap();
        assert!(Lock::try_exclusive(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_directory_that_was_removed_while_we_waited_is_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine");
        std::fs::create_dir(&path).unwrap();
        let held = Lock::exclusive(&path).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || Lock::exclusive(&path)
        });
        std::fs::remove_dir(&path).unwrap();
        drop(held);
        let error = waiter.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
