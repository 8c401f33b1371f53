//! Waiting for files to grow (`inotify(7)`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

/// Becomes readable when one of some files is written to, or when a file is made in one of some
/// directories.
#[derive(Debug)]
pub(crate) struct Grown(OwnedFd);

impl Grown {
    /// Begins to watch; `None` if the system does not allow it.
    pub(crate) fn watch(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).ok()?;
        let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        for path in paths {
            inotify::add_watch(&watch, path.as_ref(), changes).ok()?;
        }
        Some(Self(watch))
    }

    /// Forgets what has grown until now.
    pub(crate) fn clear(&self) {
        let mut events = [0; 4096];
        // What they are does not matter, only that it is silent afterwards.
        let _ = rustix::io::read(&self.0, &mut events);
    }
}

impl AsFd for Grown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
