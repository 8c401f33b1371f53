//! A tarball as a tree: POSIX ustar, GNU and PAX, by the `tar` crate.
//!
//! A tarball comes in any order and may be compressed, an archive is sorted: so the contents are
//! laid down in one unnamed temporary file, and the tree knows where each begins.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::rc::Rc;

use ::tar::{Archive, Entry, EntryType};
use kraft_sys::fs::Error as FileError;

use super::SourceError;
use crate::newc::PERMISSIONS;
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{EntryFault, Error, normalise, shown};

/// Where the magic of POSIX and of GNU stands (POSIX.1-1988 ustar, GNU tar's manual).
const MAGIC_AT: usize = 257;
/// A symbolic link's target has at most this many bytes (`PATH_MAX` without its zero).
const LONGEST_TARGET: usize = 4095;

/// Tells whether the first 512 bytes are a tar header.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    start
        .get(MAGIC_AT..)
        .is_some_and(|magic| magic.starts_with(b"ustar"))
}

/// Reads a tarball. `path` is its name for people.
pub(crate) fn load(
    path: &Path,
    reader: Box<dyn Read>,
    warnings: &mut Vec<String>,
) -> Result<Tree, Error> {
    let spool = tempfile::tempfile().map_err(FileError::on("write", &std::env::temp_dir()))?;
    let mut loader = Loader {
        tree: Tree::default(),
        spool: Rc::new(spool),
        spooled: 0,
        files: 0,
        warnings,
    };
    let damaged = |source| {
        Error::from(SourceError::Tar {
            path: path.to_owned(),
            source,
        })
    };
    let mut archive = Archive::new(reader);
    for entry in archive.entries().map_err(damaged)? {
        loader.entry(entry.map_err(damaged)?, &damaged)?;
    }
    Ok(loader.tree)
}

struct Loader<'a> {
    tree: Tree,
    spool: Rc<File>,
    spooled: u64,
    files: u64,
    warnings: &'a mut Vec<String>,
}

impl Loader<'_> {
    fn entry<R: Read>(
        &mut self,
        mut entry: Entry<'_, R>,
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let name = entry.path_bytes().into_owned();
        let path = normalise(&name).map_err(|fault| refuse(&name, fault.into()))?;
        if path.is_empty() {
            // The root itself: no archive stores it.
            return Ok(());
        }
        let header = entry.header();
        let owner = |id: io::Result<u64>| u32::try_from(id.unwrap_or(0)).unwrap_or(0);
        let mut node = Node {
            permissions: header.mode().map_err(damaged)? & PERMISSIONS,
            uid: owner(header.uid()),
            gid: owner(header.gid()),
            kind: Kind::Fifo,
        };
        let device = || -> io::Result<(u32, u32)> {
            Ok((
                header.device_major()?.unwrap_or(0),
                header.device_minor()?.unwrap_or(0),
            ))
        };
        node.kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target(&entry, &path)?),
            EntryType::Link => {
                // A hard link is the file it names, permissions included.
                node = self.linked(&entry, &path)?;
                node.kind
            }
            EntryType::Char => {
                let (major, minor) = device().map_err(damaged)?;
                Kind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device().map_err(damaged)?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                Kind::File(self.spool(&mut entry, &path, damaged)?)
            }
            other => {
                let what = format!(
                    "tar's type `{}`",
                    char::from(other.as_byte()).escape_default()
                );
                self.warnings
                    .push(format!("left out `{}`: it is of {what}", shown(&path)));
                return Ok(());
            }
        };
        self.tree
            .insert(&path, node)
            .map_err(|fault| refuse(&path, fault))
    }

    /// Lays the bytes of a file down.
    fn spool<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &[u8],
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<Content, Error> {
        let size = entry.size();
        if u32::try_from(size).is_err() {
            return Err(refuse(path, EntryFault::TooLarge(size)));
        }
        let copied = io::copy(entry, &mut &*self.spool).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FileError::on("write", &std::env::temp_dir())(error).into()
            }
            _ => damaged(error),
        })?;
        if copied != size {
            let short = format!("`{}` ends after {copied} of {size} bytes", shown(path));
            return Err(damaged(io::Error::new(io::ErrorKind::UnexpectedEof, short)));
        }
        let offset = self.spooled;
        self.spooled = (&*self.spool).stream_position().map_err(damaged)?;
        self.files += 1;
        let at = Place::Within {
            file: Rc::clone(&self.spool),
            offset,
        };
        Ok(Content {
            size,
            identity: self.files,
            at,
        })
    }

    /// Returns the entry that a hard link is another name of.
    fn linked<R: Read>(&self, entry: &Entry<'_, R>, path: &[u8]) -> Result<Node, Error> {
        let name = entry.link_name_bytes().unwrap_or_default().into_owned();
        let target = normalise(&name).map_err(|fault| refuse(path, fault.into()))?;
        match self.tree.get(&target) {
            Some(node) if !matches!(node.kind, Kind::Directory) => Ok(node.clone()),
            _ => Err(refuse(path, EntryFault::DanglingHardLink(shown(&name)))),
        }
    }
}

fn target<R: Read>(entry: &Entry<'_, R>, path: &[u8]) -> Result<Vec<u8>, Error> {
    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
    if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
        return Err(refuse(path, EntryFault::LinkTarget));
    }
    Ok(target)
}

fn refuse(path: &[u8], source: EntryFault) -> Error {
    Error::Entry {
        entry: shown(path),
        source,
    }
}
