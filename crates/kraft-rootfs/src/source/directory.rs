//! Reads a directory of this host as a tree. Links are kept, never followed.

use std::ffi::OsStr;
use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use kraft_core::dockerfile::patterns::Patterns;
use kraft_sys::beneath::{self, Links, SEARCH};
use kraft_sys::device;
use kraft_sys::fs::Error as FileError;
use rustix::fs::OFlags;

use crate::newc::PERMISSIONS;
use crate::path::join;
use crate::tree::{Content, Directory, Kind, Node, Place, Root, Tree};
use crate::{Error, normalise, shown};

/// Decides whether an entry is kept, by its path and metadata.
type Keep<'a> = &'a dyn Fn(&str, &Metadata) -> bool;

/// Reads names and metadata of everything below `root`; warns of entries that are left out.
///
/// The file at `out` is left out: the archive of an earlier run would change the next one. So are
/// entries that `keep` refuses, and everything below such a directory.
pub(crate) fn load(
    root: &Path,
    out: &Path,
    keep: Option<Keep<'_>>,
    warnings: &mut Vec<String>,
) -> Result<Tree, Error> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(root)
        .map_err(FileError::on("open", root))?;
    let path = root.to_owned();
    let mut walk = Walk {
        tree: Tree::default(),
        root: Rc::new(Root { file, path }),
        keep,
        out: std::fs::metadata(out).ok().map(|it| (it.dev(), it.ino())),
        warnings,
    };
    // Depth is limited by the longest path, not by the stack: directories are in a list.
    let mut waiting = vec![Vec::new()];
    while let Some(directory) = waiting.pop() {
        walk.directory(directory, &mut waiting)?;
    }
    Ok(walk.tree)
}

/// Reads a directory without the entries that the patterns of a `.dockerignore` match; `seen` is called
/// with the metadata of everything that may be kept.
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
    let mut tree = load(root, root, Some(&keep), &mut Vec::new())?;
    // Directories that were only entered because an entry may be kept.
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
    root: Rc<Root>,
    keep: Option<Keep<'a>>,
    /// Device and number of the file that will be replaced by the archive.
    out: Option<(u64, u64)>,
    warnings: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn directory(&mut self, path: Vec<u8>, waiting: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        let full = self.root.path.join(OsStr::from_bytes(&path));
        let entries = match std::fs::read_dir(&full) {
            // It was removed meanwhile, as a guest may do in a volume. The root itself must exist.
            Err(error) if is_gone(&error) && !path.is_empty() => return Ok(()),
            entries => entries.map_err(FileError::on("read", &full))?,
        };
        let root = Rc::clone(&self.root);
        let directory = Rc::new(Directory { root, path });
        for entry in entries {
            let entry = entry.map_err(FileError::on("read", &full))?;
            // Does not follow links.
            let metadata = match entry.metadata() {
                Err(error) if is_gone(&error) => continue,
                metadata => metadata.map_err(|error| cannot_read(&entry, error))?,
            };
            if metadata.is_file() && self.out == Some((metadata.dev(), metadata.ino())) {
                continue;
            }
            let path = join(&directory.path, entry.file_name().as_bytes());
            let path = normalise(&path).map_err(|fault| Error::entry(&path, fault.into()))?;
            if self
                .keep
                .is_some_and(|keep| !keep(&shown(&path), &metadata))
            {
                continue;
            }
            let Some(kind) = self.kind(&entry, &directory, &path, &metadata)? else {
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
                .map_err(|fault| Error::entry(&path, fault))?;
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
        Ok(())
    }

    /// Returns the kind of an entry; `None` for a socket, which no archive contains.
    fn kind(
        &mut self,
        entry: &DirEntry,
        directory: &Rc<Directory>,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<Option<Kind>, Error> {
        let kind = metadata.file_type();
        let (major, minor) = device::numbers(metadata);
        Ok(Some(if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path());
            let target = target.map_err(|error| cannot_read(entry, error))?;
            Kind::Symlink(target.into_os_string().into_vec().into())
        } else if kind.is_file() {
            Kind::File(Content {
                size: metadata.size(),
                identity: identity(metadata),
                at: Place::Below {
                    directory: Rc::clone(directory),
                    path: entry.file_name().as_bytes().into(),
                },
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
}

fn cannot_read(entry: &DirEntry, error: std::io::Error) -> Error {
    FileError::on("read", &entry.path())(error).into()
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Returns one number for all names of a file. Inode numbers are unique in a filesystem only;
/// the device goes into the high bits, where inode numbers of real filesystems are empty.
fn identity(metadata: &Metadata) -> u64 {
    metadata.ino() ^ metadata.dev().rotate_right(16)
}

/// Opens files of directories, one directory after the other: each is opened once and its files are
/// looked up in it, which for many small files takes less time than the whole path.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    last: Option<(Rc<Directory>, File)>,
}

impl Opener {
    /// Opens a file for reading.
    pub(crate) fn open(&mut self, directory: &Rc<Directory>, path: &[u8]) -> io::Result<File> {
        if directory.path.is_empty() {
            return open_below(&directory.root.file, path);
        }
        let (_, opened) = match self.last.take() {
            Some(last) if Rc::ptr_eq(&last.0, directory) => self.last.insert(last),
            _ => {
                let opened = open_beneath(&directory.root.file, &directory.path, SEARCH)?;
                self.last.insert((Rc::clone(directory), opened))
            }
        };
        open_below(opened, path)
    }
}

/// Opens a file below a directory; a link that is created meanwhile cannot lead out of it.
pub(crate) fn open_below(directory: &File, path: &[u8]) -> io::Result<File> {
    open_beneath(
        directory,
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
    )
}

fn open_beneath(directory: &File, path: &[u8], flags: OFlags) -> io::Result<File> {
    let path = Path::new(OsStr::from_bytes(path));
    Ok(beneath::open(directory, path, flags, Links::Never)?)
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
