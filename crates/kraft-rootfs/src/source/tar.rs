//! Unpacks tarballs into a tree. One tarball is a root filesystem; several are the layers of an image;
//! a Dockerfile's `ADD` unpacks one into an existing tree.
//!
//! A tarball is read once and has any order, so every entry is written into the archive when it is
//! read, and the tree records the positions of contents. If the entries were in the order of an archive
//! (those of builders are), the archive is complete; else it is written again from these contents.
//!
//! An entry below a symbolic link is placed at the target of the link, inside the root: this holds for
//! relative and absolute links, also those of a lower layer. A link that an entry itself names is
//! replaced.
//!
//! In layers (OCI image specification, `layer.md`) an empty file `.wh.NAME` removes `NAME` of
//! the layers below, and `.wh..wh..opq` everything in its directory. Other names that begin with
//! `.wh..wh.` are metadata of aufs; hard links may name files among them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use kraft_archive::limits;
use kraft_archive::tar::{self, Budget, Entry, Limits, Reader};

use super::SourceError;
use crate::format::cpio::{Stream, WriteError};
use crate::newc::PERMISSIONS;
use crate::path::{join, parents, split};
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{EntryError, Error, normalise, shown};

/// Maximum length of the target of a symbolic link in bytes (`PATH_MAX` without its zero).
const LONGEST_TARGET: usize = 4095;
/// Limits of an archive, or of all layers of an image together.
const LIMITS: Limits = Limits {
    entries: if cfg!(test) { 1000 } else { limits::ENTRIES },
    ..Limits::ROOT_FILESYSTEM
};
/// Prefix of the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// Name of a whiteout of everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of the names of aufs' own files.
const AUFS: &[u8] = b".wh..wh.";

/// Unpacks tarballs into a tree.
pub(crate) struct Unpacker<'a> {
    /// The entries so far.
    tree: Tree,
    stream: Stream<'a>,
    /// The file that the stream writes to, from which contents are read later.
    spool: Rc<File>,
    /// The number of the last file.
    files: u64,
    budget: Budget,
    /// Whether all entries were in the order of an archive, and none was removed. Otherwise the archive
    /// is written again, so only contents are written to the stream.
    sorted: bool,
    layers: u64,
    onto: Onto,
    /// The owner of all entries, instead of those in the archive.
    owner: Option<(u32, u32)>,
    /// aufs' own files that hard links name.
    hidden: HashMap<Vec<u8>, Node>,
    warnings: &'a mut Vec<String>,
    progress: &'a mut dyn FnMut(u64),
}

/// The base that a tarball is unpacked over.
enum Onto {
    /// Nothing.
    Nothing,
    /// The layers below; these paths are from the current one.
    Layers(HashSet<Vec<u8>>),
    /// A directory of a tree.
    Directory(Vec<u8>),
}

/// Result of unpacking.
pub(crate) enum Unpacked {
    /// The archive is complete: number of entries and of bytes.
    Whole(u64, u64),
    /// The archive has to be written from this tree.
    Tree(Tree),
}

impl<'a> Unpacker<'a> {
    /// Returns an unpacker; `spool` is the same file as the stream's.
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
            budget: LIMITS.into(),
            sorted: true,
            layers: 0,
            onto: Onto::Nothing,
            owner: None,
            hidden: HashMap::new(),
            warnings,
            progress,
        }
    }

    /// Unpacks into a directory of a tree; new files get numbers above `files`. All entries belong to
    /// `owner`, or to the owners in the archive.
    pub(crate) fn unpack_into(
        &mut self,
        tree: Tree,
        directory: &[u8],
        files: u64,
        owner: Option<(u32, u32)>,
    ) {
        self.owner = owner;
        self.tree = tree;
        self.files = files;
        self.sorted = false;
        self.onto = Onto::Directory(directory.to_vec());
    }

    /// Unpacks a tarball that is not a layer. `path` is its name in messages.
    pub(crate) fn tarball(&mut self, path: &Path, reader: &mut dyn Read) -> Result<(), Error> {
        let damaged = |source| {
            Error::from(SourceError::Tar {
                path: path.to_owned(),
                source,
            })
        };
        let mut tar = Reader::new(reader, self.budget);
        while let Some(entry) = tar.next_entry().map_err(damaged)? {
            self.entry(&entry, &mut tar, &damaged)?;
            (self.progress)(self.stream.contents());
        }
        self.budget = tar.budget();
        // Only at the end of the stream its sender can prove that it is complete.
        io::copy(tar.into_inner(), &mut io::sink()).map_err(damaged)?;
        Ok(())
    }

    /// Unpacks the next layer of an image.
    pub(crate) fn layer(&mut self, path: &Path, reader: &mut dyn Read) -> Result<(), Error> {
        self.sorted &= self.layers == 0;
        self.layers += 1;
        self.onto = Onto::Layers(HashSet::new());
        self.tarball(path, reader)
    }

    /// Completes the archive; errors of writing are those of the archive.
    pub(crate) fn finish(mut self) -> Result<Unpacked, WriteError> {
        if self.sorted {
            let (entries, bytes) = self.stream.finish()?;
            return Ok(Unpacked::Whole(entries, bytes));
        }
        self.stream.flush()?;
        Ok(Unpacked::Tree(self.tree))
    }

    /// Returns only the tree, and the number of the last file.
    pub(crate) fn into_tree(mut self) -> Result<(Tree, u64), WriteError> {
        self.stream.flush()?;
        Ok((self.tree, self.files))
    }

    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let path =
            normalise(&entry.path).map_err(|fault| Error::entry(&entry.path, fault.into()))?;
        if path.is_empty() {
            // The root itself: no archive contains it.
            return Ok(());
        }
        if matches!(self.onto, Onto::Layers(_)) && self.whiteout(&path)? {
            return self.hide(path, entry, content, damaged);
        }
        let path = self.place(&path)?;
        let Some(node) = self.node(entry, &path)? else {
            return Ok(());
        };
        let new = (entry.kind == tar::Kind::File).then_some(content);
        self.put(path, node, new, damaged)
    }

    /// Inserts an entry into the tree, with its content if it is a new file.
    pub(crate) fn put(
        &mut self,
        path: Vec<u8>,
        mut node: Node,
        new: Option<&mut dyn Read>,
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        self.make_way(&path, &node)?;
        if let (Kind::File(_), Some(from)) = (&node.kind, new) {
            node = self.written(&path, node, from, damaged)?;
        } else if self.sorted {
            let written = self.stream.entry(&path, &node);
            written.map_err(|error| wrong(error, damaged))?;
        }
        self.tree
            .insert(&path, node)
            .map_err(|fault| Error::entry(&path, fault))?;
        if let Onto::Layers(own) = &mut self.onto {
            for parent in parents(&path) {
                if !own.contains(parent) {
                    own.insert(parent.to_vec());
                }
            }
            own.insert(path);
        }
        Ok(())
    }

    /// Writes the content of a new file, and returns the file with its position.
    fn written(
        &mut self,
        path: &[u8],
        mut node: Node,
        from: &mut dyn Read,
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<Node, Error> {
        let described = Node {
            kind: Kind::Fifo,
            ..node
        };
        if let Kind::File(content) = &mut node.kind {
            let offset = self
                .stream
                .file(path, &described, content, from)
                .map_err(|error| wrong(error, damaged))?;
            content.at = Place::Within {
                file: Rc::clone(&self.spool),
                offset,
            };
        }
        Ok(node)
    }

    /// Returns the path of an entry after its directory is resolved through existing links.
    pub(crate) fn place(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let inside = match &self.onto {
            Onto::Directory(directory) => join(directory, path),
            Onto::Nothing | Onto::Layers(_) => path.to_vec(),
        };
        let (directory, name) = split(&inside);
        let directory = self
            .tree
            .resolve(directory, true)
            .map_err(|_| Error::entry(path, EntryError::Circle))?;
        normalise(&join(&directory, name)).map_err(|fault| Error::entry(path, fault.into()))
    }

    /// Writes the missing directories on the way to an entry, and removes the entry that it replaces.
    fn make_way(&mut self, path: &[u8], node: &Node) -> Result<(), Error> {
        let old = self.tree.get(path);
        self.sorted &= old.is_none() && self.tree.is_behind(path);
        let gives_way = old.is_some_and(Node::is_directory) && !node.is_directory();
        if gives_way && !matches!(self.onto, Onto::Nothing) {
            self.tree.remove(path);
        }
        let missing: Vec<Vec<u8>> = self.tree.missing_above(path).map(<[u8]>::to_vec).collect();
        for parent in missing {
            self.sorted &= self.tree.is_behind(&parent);
            let implied = Node::implied_directory();
            self.tree
                .insert(&parent, implied.clone())
                .map_err(|fault| Error::entry(path, fault))?;
            if self.sorted {
                self.stream
                    .entry(&parent, &implied)
                    .map_err(|error| wrong(error, &io_error))?;
            }
        }
        Ok(())
    }

    /// Handles the entries of a layer that are not files: whiteouts, and metadata of aufs. Returns
    /// `false` for any other.
    fn whiteout(&mut self, path: &[u8]) -> Result<bool, Error> {
        let (directory, name) = split(path);
        let of_aufs = |part: &[u8]| part.starts_with(AUFS);
        if name != OPAQUE && path.split(|&byte| byte == b'/').any(of_aufs) {
            self.sorted = false;
            return Ok(true);
        }
        let Some(taken) = name.strip_prefix(WHITEOUT) else {
            return Ok(false);
        };
        self.sorted = false;
        let Onto::Layers(own) = std::mem::replace(&mut self.onto, Onto::Nothing) else {
            return Ok(false);
        };
        if name == OPAQUE {
            // In a link it removes nothing: the target of the link is another directory.
            let directory = self.place(directory)?;
            self.tree
                .remove_below(&directory, &|path| own.contains(path));
        } else if taken.is_empty() || taken == b"." || taken == b".." {
            return Err(Error::entry(path, EntryError::Whiteout));
        } else {
            let target = self.place(&join(directory, taken))?;
            if own.contains(&target) {
                self.tree.remove_below(&target, &|path| own.contains(path));
            } else {
                self.tree.remove(&target);
            }
        }
        self.onto = Onto::Layers(own);
        Ok(true)
    }

    /// Keeps one of aufs' own files for the hard links that name it.
    fn hide(
        &mut self,
        path: Vec<u8>,
        entry: &Entry,
        content: &mut dyn Read,
        damaged: &dyn Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        if entry.kind == tar::Kind::File
            && path.starts_with(AUFS)
            && let Some(node) = self.node(entry, &path)?
        {
            let node = self.written(&path, node, content, damaged)?;
            self.hidden.insert(path, node);
        }
        Ok(())
    }

    /// Describes an entry; `None` if it is left out. The position of a file is not known yet.
    fn node(&mut self, entry: &Entry, path: &[u8]) -> Result<Option<Node>, Error> {
        let owner = |id: u64| u32::try_from(id).unwrap_or(0);
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            tar::Kind::Directory => Kind::Directory,
            tar::Kind::Symlink => Kind::Symlink(target(entry, path)?.into()),
            // A hard link is the file it names, permissions included.
            tar::Kind::HardLink => return self.linked(entry, path).map(Some),
            tar::Kind::CharDevice => Kind::CharDevice { major, minor },
            tar::Kind::BlockDevice => Kind::BlockDevice { major, minor },
            tar::Kind::Fifo => Kind::Fifo,
            tar::Kind::File => self.new_file(path, entry.size)?,
            tar::Kind::Other(kind) => {
                let kind = char::from(kind).escape_default();
                let path = shown(path);
                let warning = format!("left out `{path}`: it is of tar's type `{kind}`");
                self.warnings.push(warning);
                return Ok(None);
            }
        };
        let (uid, gid) = self.owner.unwrap_or((owner(entry.uid), owner(entry.gid)));
        Ok(Some(Node {
            permissions: entry.mode & PERMISSIONS,
            uid,
            gid,
            kind,
        }))
    }

    /// Returns a file whose content follows.
    pub(crate) fn new_file(&mut self, path: &[u8], size: u64) -> Result<Kind, Error> {
        if u32::try_from(size).is_err() {
            return Err(Error::entry(path, EntryError::TooLarge(size)));
        }
        self.files += 1;
        Ok(Kind::File(Content {
            size,
            identity: self.files,
            at: Place::Within {
                file: Rc::clone(&self.spool),
                offset: 0,
            },
        }))
    }

    /// Returns the entry that a hard link is another name of.
    fn linked(&self, entry: &Entry, path: &[u8]) -> Result<Node, Error> {
        let name = normalise(&entry.link).map_err(|fault| Error::entry(path, fault.into()))?;
        if let Some(node) = self.hidden.get(&name) {
            return Ok(node.clone());
        }
        match self.tree.get(&self.place(&name)?) {
            Some(node) if !node.is_directory() => Ok(node.clone()),
            _ => {
                let name = shown(&entry.link);
                Err(Error::entry(path, EntryError::DanglingHardLink(name)))
            }
        }
    }

    /// Warns of an entry that is left out.
    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Returns the entry at a path, if there is one.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&Node> {
        self.tree.get(path)
    }
}

/// Separates errors of writing the archive from errors of reading the tarball.
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

fn target(entry: &Entry, path: &[u8]) -> Result<Vec<u8>, Error> {
    let target = &entry.link;
    if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
        return Err(Error::entry(path, EntryError::LinkTarget));
    }
    Ok(target.clone())
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
    fn a_tarball_without_an_end_is_an_error() {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::Directory);
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
        assert!(source.contains("more than 1000 entries"), "{source}");
        assert!(!out.exists());
    }
}
