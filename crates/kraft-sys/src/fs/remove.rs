//! Removes directories that other programs filled: however deep, and whatever their permissions.
//!
//! Directories are entered by their names in open directories, so that no link is followed. Below a
//! certain depth they are moved to the top first: the number of open files and the stack are bounded.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::host;

/// Maximum number of directories inside each other that are open at once.
const MOST_LEVELS: usize = 64;

/// Removes a directory with everything in it.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    let mut work = Work {
        root: enter(CWD, path.as_os_str())?,
        moved: 0,
    };
    let root = work.root.try_clone()?;
    loop {
        let moved = work.moved;
        work.clear(&root, 0)?;
        if work.moved == moved {
            break;
        }
    }
    done(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR))
}

struct Work {
    root: OwnedFd,
    /// Number of names used in the root for directories that were moved there.
    moved: u64,
}

impl Work {
    /// Removes everything in a directory, or moves it to the root.
    fn clear(&mut self, dir: &OwnedFd, level: usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut entries = Dir::new(rustix::fs::openat(dir, ".", flags, Mode::empty())?)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let child = match entry.file_type() {
                FileType::Directory | FileType::Unknown => enter(dir, name),
                _ => Err(Errno::NOTDIR),
            };
            match child {
                Ok(_) if level == MOST_LEVELS => self.lift(dir, name)?,
                Ok(child) => {
                    self.clear(&child, level + 1)?;
                    done(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))?;
                }
                // It was removed meanwhile.
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    done(rustix::fs::unlinkat(dir, name, AtFlags::empty()))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Moves a directory to the root, under a name that is free.
    fn lift(&mut self, dir: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        loop {
            let free = format!(".deep-{}", self.moved);
            self.moved += 1;
            match rustix::fs::renameat(dir, name, &self.root, free) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return done(other),
            }
        }
    }
}

/// Opens a directory to find names in it, with all permissions of its owner.
fn enter<P: rustix::path::Arg + Copy>(parent: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = host::SEARCH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
        // Without a flag to search it only.
        Err(Errno::ACCESS) => {
            let follow = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chmodat(&parent, name, Mode::RWXU, follow)?;
            rustix::fs::openat(&parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode).contains(Mode::RWXU) {
        // The only path to an unreadable directory that cannot be exchanged. If this fails, so does
        // what follows.
        let _ = host::set_mode(dir.as_fd(), 0o700);
    }
    Ok(dir)
}

/// Something that does not exist any more is removed.
fn done(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn trees_of_any_depth_and_permissions_are_removed_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(outside.join("kept")).unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(root.join(".deep-0")).unwrap();
        let mut deepest = enter(CWD, &root).unwrap();
        for _ in 0..2000 {
            rustix::fs::symlinkat(&outside, &deepest, "link").unwrap();
            rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            deepest = enter(&deepest, "d").unwrap();
        }
        for mode in [0o000, 0o500, 0o300] {
            let closed = root.join(format!("{mode:o}"));
            fs::create_dir_all(closed.join("in")).unwrap();
            symlink(&outside, closed.join("link")).unwrap();
            fs::set_permissions(closed.join("in"), Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(&closed, Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&root, Permissions::from_mode(0o000)).unwrap();
        directory(&root).unwrap();
        assert!(!root.exists());
        assert!(outside.join("kept").is_dir());
        assert!(directory(&root).is_err(), "it does not exist");
    }
}
