//! A directory of this host as a tree. Links are kept, never followed.

use std::fs::{File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kraft_core::dockerfile::patterns::Patterns;
use kraft_sys::fs::Error as FileError;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::newc::PERMISSIONS;
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{EntryFault, Error, normalise, shown};

/// Reads names and numbers of everything below `root`; says what it had to leave out.
///
/// What is at `out` is left out too: the archive of an earlier run would make the next one differ.
/// So is what `keep` does not want, and everything below such a directory; it is asked with the
/// path and what the file system says of it.
pub(crate) fn load(
    root: &Path,
    out: &Path,
    keep: &dyn Fn(&str, &Metadata) -> bool,
    warnings: &mut Vec<String>,
) -> Result<Tree, Error> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(root)
        .map_err(FileError::on("open", root))?;
    let mut walk = Walk {
        tree: Tree::default(),
        root: Rc::new(opened),
        root_path: Rc::new(root.to_owned()),
        keep,
        out: std::fs::metadata(out).ok().map(|it| (it.dev(), it.ino())),
        warnings,
    };
    // Depth is bounded by the longest path, not by the stack: directories wait in a list.
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        walk.directory(&directory, &mut waiting)?;
    }
    Ok(walk.tree)
}

/// Reads a directory without what patterns match, as a `.dockerignore` means it; `seen` is shown
/// what the file system says of everything that may stay.
pub(crate) fn kept(
    root: &Path,
    ignore: &Patterns,
    seen: &dyn Fn(&str, &Metadata),
) -> Result<Tree, Error> {
    let keep = |path: &str, metadata: &Metadata| {
        let stays = !ignore.matches(path) || (metadata.is_dir() && ignore.may_except_below(path));
        if stays {
            seen(path, metadata);
        }
        stays
    };
    let mut tree = load(root, root, &keep, &mut Vec::new())?;
    // Directories that were only entered for what may be in them.
    let entered: Vec<Vec<u8>> = tree
        .entries()
        .filter(|(path, node)| node.is_directory() && ignore.matches(&shown(path)))
        .map(|(path, _)| path)
        .collect();
    for path in entered.into_iter().rev() {
        if tree.children(&path).next().is_none() {
            tree.remove(&path);
        }
    }
    Ok(tree)
}

struct Walk<'a> {
    tree: Tree,
    root: Rc<File>,
    root_path: Rc<PathBuf>,
    keep: &'a dyn Fn(&str, &Metadata) -> bool,
    /// Device and number of the file that will be replaced by the archive.
    out: Option<(u64, u64)>,
    warnings: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn directory(&mut self, below: &Path, waiting: &mut Vec<PathBuf>) -> Result<(), Error> {
        let full = self.root_path.join(below);
        let entries = match std::fs::read_dir(&full) {
            // Removed meanwhile, as a guest may do in a volume. The root itself must exist.
            Err(error) if is_gone(&error) && !below.as_os_str().is_empty() => return Ok(()),
            entries => entries.map_err(FileError::on("read", &full))?,
        };
        for entry in entries {
            let entry = entry.map_err(FileError::on("read", &full))?;
            let below = below.join(entry.file_name());
            // Does not follow links.
            let metadata = match entry.metadata() {
                Err(error) if is_gone(&error) => continue,
                metadata => metadata.map_err(FileError::on("read", &entry.path()))?,
            };
            if metadata.is_file() && self.out == Some((metadata.dev(), metadata.ino())) {
                continue;
            }
            let name = below.as_os_str().as_bytes();
            let path = normalise(name).map_err(|fault| refuse(name, fault.into()))?;
            if !(self.keep)(&shown(&path), &metadata) {
                continue;
            }
            let Some(kind) = self.kind(&entry.path(), &path, &metadata)? else {
                continue;
            };
            let node = Node {
                permissions: metadata.mode() & PERMISSIONS,
                uid: metadata.uid(),
                gid: metadata.gid(),
                kind,
            };
            self.tree
                .insert(&path, node)
                .map_err(|fault| refuse(&path, fault))?;
            if metadata.is_dir() {
                waiting.push(below);
            }
        }
        Ok(())
    }

    /// Returns what an entry is; `None` for a socket, which no archive carries.
    fn kind(
        &mut self,
        full: &Path,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<Option<Kind>, Error> {
        let kind = metadata.file_type();
        let (major, minor) = (
            rustix::fs::major(metadata.rdev()),
            rustix::fs::minor(metadata.rdev()),
        );
        Ok(Some(if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let target = std::fs::read_link(full).map_err(FileError::on("read", full))?;
            Kind::Symlink(target.into_os_string().into_vec())
        } else if kind.is_file() {
            Kind::File(Content {
                size: metadata.size(),
                identity: identity(metadata),
                at: self.place(path),
            })
        } else if kind.is_char_device() {
            Kind::CharDevice { major, minor }
        } else if kind.is_block_device() {
            Kind::BlockDevice { major, minor }
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            self.warnings
                .push(format!("left out `{}`: it is a socket", shown(path)));
            return Ok(None);
        }))
    }

    fn place(&self, path: &[u8]) -> Place {
        Place::Below {
            root: Rc::clone(&self.root),
            root_path: Rc::clone(&self.root_path),
            path: path.to_vec(),
        }
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Returns one number for all names of a file. Inode numbers are unique in a filesystem only;
/// the device goes into the high bits, where inode numbers of real filesystems are empty.
fn identity(metadata: &Metadata) -> u64 {
    metadata.ino() ^ metadata.dev().rotate_right(16)
}

/// Opens a file below a root, so that nothing that is swapped in meanwhile leads out of it.
pub(crate) fn open_below(root: &File, full: &Path, path: &[u8]) -> Result<File, Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = match rustix::fs::openat2(root, path, flags, Mode::empty(), beneath) {
        // Kernels before 5.6, and sandboxes that hide the call.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(root, path, flags, Mode::empty()),
        opened => opened,
    };
    let file = opened.map_err(|errno| FileError::on("read", full)(errno.into()))?;
    Ok(File::from(file))
}

fn refuse(path: &[u8], source: EntryFault) -> Error {
    Error::Entry {
        entry: shown(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_removed_during_the_walk_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            kraft_sys::fs::overwrite(&path.join("file"), b"").unwrap();
        }
        // The first that is seen outlives the others.
        let first = std::cell::RefCell::new(None);
        let seen = |path: &str, _: &Metadata| {
            let mut first = first.borrow_mut();
            let first = first.get_or_insert_with(|| path.to_owned());
            for name in ["a", "b", "c"] {
                if name != first {
                    kraft_sys::fs::remove_tree(&dir.path().join(name)).unwrap();
                }
            }
        };
        let tree = kept(dir.path(), &Patterns::default(), &seen).unwrap();
        let file = format!("{}/file", first.borrow().as_ref().unwrap());
        assert!(tree.get(file.as_bytes()).is_some());
        let files = tree
            .entries()
            .filter(|(_, node)| matches!(node.kind, Kind::File(_)));
        assert_eq!(files.count(), 1);
        let gone = dir.path().join("gone");
        assert!(kept(&gone, &Patterns::default(), &|_, _| {}).is_err());
    }
}
