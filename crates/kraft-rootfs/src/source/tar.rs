//! Tarballs as a tree: POSIX ustar, GNU and PAX, by the `tar` crate. One alone is a root
//! filesystem; several over each other are the layers of an image.
//!
//! A tarball comes once and in any order, so every entry is written into the archive the moment it
//! comes, and the tree knows where the contents lie. If the entries came in the order of an archive
//! (a builder's do), that was all; else the archive is written again from there.
//!
//! Among layers (OCI image specification, `layer.md`) an empty file `.wh.NAME` takes away `NAME`
//! of the layers below, and `.wh..wh..opq` everything in its directory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use ::tar::{Archive, Entry, EntryType};

use super::SourceError;
use crate::format::cpio::{Stream, WriteError};
use crate::newc::PERMISSIONS;
use crate::path::split;
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{EntryFault, Error, normalise, shown};

/// Where the magic of POSIX and of GNU stands (POSIX.1-1988 ustar, GNU tar's manual).
const MAGIC_AT: usize = 257;
/// A symbolic link's target has at most this many bytes (`PATH_MAX` without its zero).
const LONGEST_TARGET: usize = 4095;
/// A root filesystem has at most so many entries: their names are held in memory.
const MOST_ENTRIES: u64 = if cfg!(test) { 1000 } else { 2_000_000 };
/// What the name of a whiteout begins with.
const WHITEOUT: &[u8] = b".wh.";
/// The name of a whiteout of everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What the names of aufs' own files begin with, which are nothing to others.
const OF_AUFS: &[u8] = b".wh..wh.";

/// Tells whether the first 512 bytes are a tar header.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    start
        .get(MAGIC_AT..)
        .is_some_and(|magic| magic.starts_with(b"ustar"))
}

/// Takes tarballs in.
pub(crate) struct Unpacker<'a> {
    /// What came so far.
    pub(crate) tree: Tree,
    stream: Stream<'a>,
    /// The file that the stream writes into, for whoever reads contents later.
    spool: Rc<File>,
    files: u64,
    entries: u64,
    /// Whether everything came in the order of an archive, and nothing was taken back.
    sorted: bool,
    /// The paths that the present layer brought; `None` for a tarball of its own.
    layer: Option<HashSet<Vec<u8>>>,
    warnings: &'a mut Vec<String>,
    progress: &'a mut dyn FnMut(u64),
}

/// What became of tarballs.
pub(crate) enum Unpacked {
    /// The archive is written: so many entries and bytes.
    Whole(u64, u64),
    /// The archive has to be written from this.
    Tree(Tree),
}

impl<'a> Unpacker<'a> {
    /// Begins; `spool` is the same file as the stream's.
    pub(crate) fn new(
        stream: Stream<'a>,
        spool: Rc<File>,
        warnings: &'a mut Vec<String>,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            tree: Tree::default(),
            stream,
            spool,
            files: 0,
            entries: 0,
            sorted: true,
            layer: None,
            warnings,
            progress,
        }
    }

    /// Takes a tarball that stands for itself. `path` is its name for people.
    pub(crate) fn tarball(&mut self, path: &Path, reader: &mut dyn Read) -> Result<(), Error> {
        let damaged = |source| {
            Error::from(SourceError::Tar {
                path: path.to_owned(),
                source,
            })
        };
        let mut archive = Archive::new(reader);
        for entry in archive.entries().map_err(damaged)? {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(damaged(io::Error::other(
                    "it has more entries than any root filesystem",
                )));
            }
            self.entry(entry.map_err(damaged)?, &damaged)?;
            (self.progress)(self.stream.contents());
        }
        // Whoever sends it may prove only at its end that it is what it should be.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
        Ok(())
    }

    /// Takes the next layer of an image.
    pub(crate) fn layer(&mut self, path: &Path, reader: &mut dyn Read) -> Result<(), Error> {
        self.sorted &= self.entries == 0;
        self.layer = Some(HashSet::new());
        self.tarball(path, reader)
    }

    /// Ends; errors of writing are those of the archive.
    pub(crate) fn finish(mut self) -> Result<Unpacked, WriteError> {
        if self.sorted {
            let (entries, bytes) = self.stream.finish()?;
            return Ok(Unpacked::Whole(entries, bytes));
        }
        self.stream.flush()?;
        Ok(Unpacked::Tree(self.tree))
    }

    /// Ends where only the tree is wanted.
    pub(crate) fn into_tree(mut self) -> Result<Tree, WriteError> {
        self.stream.flush()?;
        Ok(self.tree)
    }

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
        if self.layer.is_some() && self.whiteout(&path)? {
            return Ok(());
        }
        let Some(mut node) = self.node(&entry, &path, damaged)? else {
            return Ok(());
        };
        self.make_way(&path, &node)?;
        if let Kind::File(content) = &mut node.kind
            && entry.header().entry_type() != EntryType::Link
        {
            let described = Node {
                kind: Kind::Fifo,
                ..node
            };
            let offset = self
                .stream
                .file(&path, &described, content, &mut entry)
                .map_err(|error| wrong(error, damaged))?;
            content.at = Place::Within {
                file: Rc::clone(&self.spool),
                offset,
            };
        } else {
            self.stream
                .entry(&path, &node)
                .map_err(|error| wrong(error, damaged))?;
        }
        self.tree
            .insert(&path, node)
            .map_err(|fault| refuse(&path, fault))?;
        if let Some(layer) = &mut self.layer {
            layer.insert(path);
        }
        Ok(())
    }

    /// Writes the directories on the way to an entry that nobody described, and removes what it
    /// takes the place of.
    fn make_way(&mut self, path: &[u8], node: &Node) -> Result<(), Error> {
        let old = self.tree.get(path);
        self.sorted &= old.is_none() && self.tree.is_behind(path);
        let gives_way = old.is_some_and(Node::is_directory) && !node.is_directory();
        let own = self.layer.as_ref().is_some_and(|own| !own.contains(path));
        if gives_way && own {
            self.tree.remove(path);
        }
        let missing: Vec<Vec<u8>> = self.tree.missing_above(path).map(<[u8]>::to_vec).collect();
        for parent in missing {
            self.sorted &= self.tree.is_behind(&parent);
            let implied = Node::implied_directory();
            self.tree
                .insert(&parent, implied.clone())
                .map_err(|fault| refuse(path, fault))?;
            self.stream
                .entry(&parent, &implied)
                .map_err(|error| wrong(error, &io_error))?;
        }
        Ok(())
    }

    /// Understands the entries that take something away; `false` if it is none.
    fn whiteout(&mut self, path: &[u8]) -> Result<bool, Error> {
        let (directory, name) = split(path);
        let Some(taken) = name.strip_prefix(WHITEOUT) else {
            return Ok(false);
        };
        if name == OPAQUE {
            let own = self.layer.take().unwrap_or_default();
            self.tree
                .remove_below(directory, &|path| own.contains(path));
            self.layer = Some(own);
        } else if !name.starts_with(OF_AUFS) {
            if taken.is_empty() || taken == b"." || taken == b".." {
                return Err(refuse(path, EntryFault::Whiteout));
            }
            let target = match directory {
                b"" => taken.to_vec(),
                directory => [directory, b"/", taken].concat(),
            };
            let own = self.layer.as_ref();
            if !own.is_some_and(|own| own.contains(&target)) {
                self.tree.remove(&target);
            }
        }
        self.sorted = false;
        Ok(true)
    }

    /// Describes an entry; `None` if it has to be left out. A file's place is not known yet.
    fn node<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
        path: &[u8],
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<Option<Node>, Error> {
        let header = entry.header();
        let owner = |id: io::Result<u64>| u32::try_from(id.unwrap_or(0)).unwrap_or(0);
        let mut node = Node {
            permissions: header.mode().map_err(damaged)? & PERMISSIONS,
            uid: owner(header.uid()),
            gid: owner(header.gid()),
            kind: Kind::Fifo,
        };
        let device = || -> Result<(u32, u32), Error> {
            let major = header.device_major().map_err(damaged)?;
            let minor = header.device_minor().map_err(damaged)?;
            Ok((major.unwrap_or(0), minor.unwrap_or(0)))
        };
        node.kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target(entry, path)?),
            // A hard link is the file it names, permissions included.
            EntryType::Link => return self.linked(entry, path).map(Some),
            EntryType::Char => {
                let (major, minor) = device()?;
                Kind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device()?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                if u32::try_from(size).is_err() {
                    return Err(refuse(path, EntryFault::TooLarge(size)));
                }
                self.files += 1;
                Kind::File(Content {
                    size,
                    identity: self.files,
                    at: Place::Within {
                        file: Rc::clone(&self.spool),
                        offset: 0,
                    },
                })
            }
            other => {
                let what = format!(
                    "tar's type `{}`",
                    char::from(other.as_byte()).escape_default()
                );
                self.warnings
                    .push(format!("left out `{}`: it is of {what}", shown(path)));
                return Ok(None);
            }
        };
        Ok(Some(node))
    }

    /// Returns the entry that a hard link is another name of.
    fn linked<R: Read>(&self, entry: &Entry<'_, R>, path: &[u8]) -> Result<Node, Error> {
        let name = entry.link_name_bytes().unwrap_or_default().into_owned();
        let target = normalise(&name).map_err(|fault| refuse(path, fault.into()))?;
        match self.tree.get(&target) {
            Some(node) if !node.is_directory() => Ok(node.clone()),
            _ => Err(refuse(path, EntryFault::DanglingHardLink(shown(&name)))),
        }
    }
}

/// Tells apart what the archive's own disk says and what the tarball says.
fn wrong(error: WriteError, damaged: &dyn Fn(io::Error) -> Error) -> Error {
    match error {
        WriteError::Input(error) => error,
        WriteError::Output(error) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io_error(error),
            _ => damaged(error),
        },
    }
}

fn io_error(error: io::Error) -> Error {
    kraft_sys::fs::Error::on("write", Path::new("the archive"))(error).into()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, build_tar};

    /// A tarball that never ends.
    struct Endless {
        block: [u8; 512],
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.block[self.at];
                self.at = (self.at + 1) % self.block.len();
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_tarball_without_end_ends_in_an_error() {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_path("again").unwrap();
        header.set_mode(0o755);
        header.set_size(0);
        header.set_cksum();
        let mut endless = Endless {
            block: *header.as_bytes(),
            at: 0,
        };
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let name = Path::new("endless");
        let options = Options::default();
        let built = build_tar(name, &mut endless, &out, &options, &mut |_| {});
        let source = std::error::Error::source(&built.unwrap_err())
            .unwrap()
            .to_string();
        assert!(source.contains("more entries than any"), "{source}");
        assert!(!out.exists());
    }
}
