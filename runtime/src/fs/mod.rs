//! The file system: one tree of nodes, some of which are the roots of mounted trees.

pub mod archive;
pub mod attributes;
pub mod devices;
pub mod generated;
pub mod memory;
pub mod mounts;
pub mod ninep;
mod path;
pub mod proc;
pub mod pts;
pub mod sys;
pub mod table;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;

use crate::abi::errno::{Errno, Result};
use crate::file::File;
use crate::file::io::{Input, Output};
use crate::mm::Frame;
use attributes::Before;

pub use path::{Follow, LONGEST_NAME, LONGEST_PATH, Place, Walk, is_permitted};
pub use table::mount_all;

/// What a node is (`S_IFMT`, in the places of `st_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A named pipe.
    Pipe = 0o010_000,
    /// A device of characters.
    CharacterDevice = 0o020_000,
    /// A directory.
    Directory = 0o040_000,
    /// A device of blocks.
    BlockDevice = 0o060_000,
    /// A file.
    File = 0o100_000,
    /// A symbolic link.
    Link = 0o120_000,
    /// A socket.
    Socket = 0o140_000,
}

impl Kind {
    /// The kind in the bits of a mode.
    pub fn from_mode(mode: u32) -> Option<Kind> {
        Some(match mode & 0o170_000 {
            0o010_000 => Kind::Pipe,
            0o020_000 => Kind::CharacterDevice,
            0o040_000 => Kind::Directory,
            0o060_000 => Kind::BlockDevice,
            0o100_000 => Kind::File,
            0o120_000 => Kind::Link,
            0o140_000 => Kind::Socket,
            _ => return None,
        })
    }

    /// The type in a directory entry (`DT_*`).
    pub fn entry_type(self) -> u8 {
        (self as u32 >> 12) as u8
    }
}

/// What is known of a node. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// The file system's number.
    pub device: u64,
    /// The node's number within its file system.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// Permissions with the set-id and sticky bits.
    pub permissions: u32,
    /// How many names it has.
    pub links: u32,
    /// The owner.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// Which device it is, if it is one.
    pub device_number: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// When it was read last.
    pub accessed: u64,
    /// When it was written last.
    pub modified: u64,
    /// When anything of it changed last.
    pub changed: u64,
}

impl Metadata {
    /// What is known of something that has no node: a pipe, a socket.
    pub fn anonymous(kind: Kind, number: u64) -> Metadata {
        Metadata {
            device: 0xa,
            number,
            kind,
            permissions: 0o600,
            links: 1,
            user: 0,
            group: 0,
            device_number: 0,
            size: 0,
            blocks: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        }
    }
}

/// What is to be changed of a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Permissions with the set-id and sticky bits.
    pub permissions: Option<u32>,
    /// The owner.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
    /// Bytes.
    pub size: Option<u64>,
    /// When it was read last.
    pub accessed: Option<u64>,
    /// When it was written last.
    pub modified: Option<u64>,
}

/// A node that is to be made.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// What it is.
    pub kind: Kind,
    /// Permissions with the set-id and sticky bits.
    pub permissions: u32,
    /// The owner.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// Which device it is, if it is one.
    pub device_number: u64,
    /// Where a symbolic link points.
    pub target: Vec<u8>,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct DirectoryEntry {
    /// The name.
    pub name: Box<[u8]>,
    /// The node's number.
    pub number: u64,
    /// What the node is.
    pub kind: Kind,
    /// Where reading continues after this entry.
    pub next: u64,
}

/// What `statfs` reports of a file system.
#[derive(Clone, Copy, Debug)]
pub struct FileSystemStatus {
    /// The magic number of the kind of file system.
    pub magic: u64,
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Nodes.
    pub nodes: u64,
    /// Free nodes.
    pub free_nodes: u64,
}

/// A thing in the file system, whatever its names: an inode. What a kind of node cannot do
/// fails with the error that Linux gives.
pub trait Node: Any {
    /// What is known of it.
    fn metadata(&self) -> Metadata;

    /// What it is.
    fn kind(&self) -> Kind {
        self.metadata().kind
    }

    /// The number of its file system, and its own there: no other node has both.
    fn identity(&self) -> (u64, u64) {
        let metadata = self.metadata();
        (metadata.device, metadata.number)
    }

    /// The next byte at or after an offset below the size that is data, or that is in a hole; none if
    /// there is none before the end.
    fn next(&self, offset: u64, hole: bool) -> Option<u64> {
        (!hole).then_some(offset)
    }

    /// Changes what is known of it.
    ///
    /// # Errors
    /// `EROFS` and what else a file system says.
    fn change(&self, _change: &Change) -> Result<()> {
        Err(Errno::PERM)
    }

    /// The node with a name in this directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`
    fn lookup(&self, _name: &[u8]) -> Result<Rc<dyn Node>> {
        Err(Errno::NOTDIR)
    }

    /// Makes a node with a name in this directory.
    ///
    /// # Errors
    /// `EEXIST`, `EROFS`, `ENOSPC`
    fn create(&self, _name: &[u8], _new: &NewNode) -> Result<Rc<dyn Node>> {
        Err(Errno::PERM)
    }

    /// Gives a node of the same file system another name.
    ///
    /// # Errors
    /// `EEXIST`, `EXDEV`
    fn link(&self, _name: &[u8], _node: &Rc<dyn Node>) -> Result<()> {
        Err(Errno::PERM)
    }

    /// Removes a name: of a directory, which must be empty, or of anything else.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`
    fn remove(&self, _name: &[u8], _directory: bool) -> Result<()> {
        Err(Errno::PERM)
    }

    /// Gives the node with a name another name in a directory of the same file system;
    /// `exchange` swaps both. Whether a node that had the new name may go is checked here.
    ///
    /// # Errors
    /// `ENOENT`, `EXDEV`, `ENOTEMPTY`, `EISDIR`, `ENOTDIR`
    fn rename(
        &self,
        _name: &[u8],
        _to: &Rc<dyn Node>,
        _new_name: &[u8],
        _exchange: bool,
    ) -> Result<()> {
        Err(Errno::PERM)
    }

    /// The next entries of a directory, from a position on and without `.` and `..`: `most` or
    /// fewer, but none only at the end. Position 0 is the beginning.
    ///
    /// # Errors
    /// `ENOTDIR`
    fn entries(&self, _from: u64, _most: usize) -> Result<Vec<DirectoryEntry>> {
        Err(Errno::NOTDIR)
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// `EINVAL` for anything else.
    fn target(&self) -> Result<Vec<u8>> {
        Err(Errno::INVAL)
    }

    /// The place to which a link of `/proc` leads without a path.
    fn jump(&self) -> Option<Rc<Place>> {
        None
    }

    /// Reads from a file at an offset; 0 at its end.
    ///
    /// # Errors
    /// `EISDIR`, `EIO`
    fn read(&self, _offset: u64, _out: &mut Output<'_>) -> Result {
        Err(Errno::INVAL)
    }

    /// Writes to a file at an offset.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS`, `EIO`
    fn write(&self, _offset: u64, _input: &mut Input<'_>) -> Result {
        Err(Errno::INVAL)
    }

    /// A page of a file for a mapping; what is after the file's end in it is zeros.
    ///
    /// # Errors
    /// `ENXIO` after the end, `ENODEV` for what cannot be mapped.
    fn page(&self, _index: u64) -> Result<Frame> {
        Err(Errno::NODEV)
    }

    /// A page for a mapping that is shared: all who map the file see what one of them writes.
    ///
    /// # Errors
    /// As [`Node::page`].
    fn shared_page(&self, index: u64) -> Result<Frame> {
        self.page(index)
    }

    /// What opening the node gives, where that is not the node itself: devices, pipes. The
    /// argument says whether it is opened for reading and for writing, and without waiting.
    ///
    /// # Errors
    /// `ENXIO`
    fn open(self: Rc<Self>, _how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        Ok(None)
    }

    /// Makes sure that what was written is kept.
    ///
    /// # Errors
    /// `EIO`
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP` where there can be none.
    fn attribute(&self, _name: &[u8]) -> Result<Rc<Vec<u8>>> {
        Err(Errno::OPNOTSUPP)
    }

    /// The names of the extended attributes, each with a zero byte at its end.
    fn attribute_names(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA`, `ENOSPC`; `EOPNOTSUPP` where there can be none.
    fn set_attribute(&self, _name: &[u8], _value: Vec<u8>, _before: Before) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// As [`Node::attribute`].
    fn remove_attribute(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// What `statfs` reports.
    fn file_system(&self) -> FileSystemStatus;
}

/// How a node is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Without waiting (`O_NONBLOCK`).
    pub no_wait: bool,
}
