//! Opens paths that must stay below a directory, whatever its links are or become meanwhile.
//!
//! ```
//! use std::fs::File;
//!
//! use kraft_sys::beneath::{self, Links};
//! use rustix::fs::OFlags;
//! use rustix::io::Errno;
//!
//! let dir = tempfile::tempdir()?;
//! std::os::unix::fs::symlink("/etc", dir.path().join("out"))?;
//! let root = File::open(dir.path())?;
//! let opened = beneath::open(&root, "out/passwd".as_ref(), OFlags::RDONLY, Links::Inside);
//! assert_eq!(opened.unwrap_err(), Errno::XDEV);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::host;

/// Opens a directory only to find names in it, which needs no permission to read it where the system has a flag for that.
pub const SEARCH: OFlags = host::SEARCH.union(OFlags::DIRECTORY);

/// Which links of a path are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Those that stay below the directory; on systems without `openat2(2)` none.
    Inside,
    /// None.
    Never,
}

/// Opens a path below a directory.
///
/// # Errors
///
/// [`Errno::XDEV`] if it leads out, [`Errno::LOOP`] or [`Errno::NOTDIR`] if a link is in it that is not followed, and those
/// of `open(2)`.
pub fn open(root: &File, path: &Path, flags: OFlags, links: Links) -> rustix::io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let opened = host::open_beneath(root.as_fd(), path, flags, links == Links::Inside);
    match opened {
        Err(Errno::NOSYS) => step_by_step(root, path, flags),
        opened => opened.map(File::from),
    }
}

/// Opens one directory of the path after the other, and follows no link.
fn step_by_step(root: &File, path: &Path, flags: OFlags) -> rustix::io::Result<File> {
    let mut components = path.components().peekable();
    let mut dir = None;
    while let Some(component) = components.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir => ".".as_ref(),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Errno::XDEV);
            }
        };
        let flags = match components.peek() {
            Some(_) => SEARCH | OFlags::CLOEXEC,
            None => flags,
        };
        let parent = dir.as_ref().unwrap_or(root);
        let opened = openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        dir = Some(File::from(opened));
    }
    dir.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_opened_with_or_without_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        crate::fs::replace_file(&root.join("sub/file"), b"inside").unwrap();
        crate::fs::replace_file(&dir.path().join("secret"), b"outside").unwrap();
        symlink("../../secret", root.join("sub/out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("sub", root.join("in")).unwrap();
        let root = File::open(&root).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for path in [
            "../secret",
            "/etc/passwd",
            "sub/out",
            "up/secret",
            "sub/../../secret",
        ] {
            for links in [Links::Inside, Links::Never] {
                assert!(open(&root, path.as_ref(), flags, links).is_err(), "{path}");
            }
            assert!(step_by_step(&root, path.as_ref(), flags).is_err(), "{path}");
        }
        for path in ["sub/file", "./sub/file", "sub/deep", "."] {
            open(&root, path.as_ref(), flags, Links::Never).unwrap();
            step_by_step(&root, path.as_ref(), flags).unwrap();
        }
        open(&root, "in/file".as_ref(), flags, Links::Inside).unwrap();
        assert!(open(&root, "in/file".as_ref(), flags, Links::Never).is_err());
        assert!(step_by_step(&root, "in/file".as_ref(), flags).is_err());
    }
}
