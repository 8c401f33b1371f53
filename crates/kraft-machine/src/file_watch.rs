//! Waiting for files to grow (`inotify(7)`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

/// Becomes readable when one of the watched files is written to, or when a file is created in one
/// of the watched directories.
#[derive(Debug)]
pub(crate) struct FileWatch(OwnedFd);

impl FileWatch {
    /// Starts watching nothing yet; `None` if the system does not allow it.
    pub(crate) fn empty() -> Option<Self> {
        Self::new(std::iter::empty::<&Path>())
    }

    /// Also watches a directory: files in it that are created, written to, renamed or removed. Returns
    /// whether the system allows it; a removed directory is no longer watched.
    pub(crate) fn add_dir(&self, dir: &Path) -> bool {
        let changes = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&self.0, dir, changes).is_ok()
    }

    /// Starts watching; `None` if the system does not allow it.
    pub(crate) fn new(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).ok()?;
        let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        for path in paths {
            inotify::add_watch(&watch, path.as_ref(), changes).ok()?;
        }
        Some(Self(watch))
    }

    /// Discards all pending notifications.
    pub(crate) fn clear(&self) {
        let mut events = [0; 4096];
        // Their content does not matter: the file must only stop being readable.
        let _ = rustix::io::read(&self.0, &mut events);
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
