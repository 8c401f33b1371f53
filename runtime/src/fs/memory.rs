//! A file system in memory (tmpfs). Files that come from the root archive keep their content
//! there until a page of it is written or mapped.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, OnceCell, RefCell};

use bitflags::bitflags;

use super::attributes::{Attributes, Before};
use super::{
    Change, DirectoryEntry, FileSystemStatus, Kind, LONGEST_NAME, Metadata, NewNode, Node, OpenHow,
    devices, mounts,
};
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::file::File;
use crate::file::io::{Input, Output};
use crate::file::pipe::Pipe;
use crate::mm::{Frame, frames};
use crate::{task, time};

const MAGIC: u64 = 0x0102_1994;
/// The longest file.
const LONGEST: u64 = 1 << 46;

bitflags! {
    /// What cannot be done with a file any more (`F_SEAL_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seals: u32 {
        /// Adding seals.
        const SEAL = 1;
        /// Making it shorter.
        const SHRINK = 2;
        /// Making it longer.
        const GROW = 4;
        /// Writing.
        const WRITE = 8;
        /// Writing by what is not mapped yet.
        const FUTURE_WRITE = 0x10;
        /// Making it a program, or no program.
        const EXECUTE = 0x20;
    }
}

impl Seals {
    /// The seals that forbid writing.
    pub const WRITES: Seals = Seals::WRITE.union(Seals::FUTURE_WRITE);
}

/// What all nodes of one tree share.
struct Tree {
    device: u64,
    next: Cell<u64>,
}

/// The content of a file.
#[derive(Default)]
struct FileContent {
    /// What the root archive has; pages that are in `pages` are not read from here.
    archived: &'static [u8],
    pages: BTreeMap<u64, Frame>,
    length: u64,
}

struct Entry {
    node: Rc<dyn Node>,
    /// Where the entry is in the order of creation, for reading on.
    order: u64,
}

/// The content of a directory.
#[derive(Default)]
struct DirectoryContent {
    by_name: BTreeMap<Box<[u8]>, Entry>,
    by_order: BTreeMap<u64, Box<[u8]>>,
    next: u64,
}

enum Content {
    File(RefCell<FileContent>),
    Directory(RefCell<DirectoryContent>),
    Link(Vec<u8>),
    Device(u64),
    Pipe(OnceCell<Rc<Pipe>>),
    Socket,
}

/// A node of a tree in memory.
pub struct MemoryNode {
    tree: Rc<Tree>,
    number: u64,
    kind: Kind,
    content: Content,
    permissions: Cell<u32>,
    user: Cell<u32>,
    group: Cell<u32>,
    links: Cell<u32>,
    seals: Cell<Seals>,
    /// Few nodes have any.
    attributes: RefCell<Option<Box<Attributes>>>,
    accessed: Cell<u64>,
    modified: Cell<u64>,
    changed: Cell<u64>,
}

/// Makes an empty tree; its root.
pub fn new_tree(permissions: u32) -> Rc<MemoryNode> {
    first_node(Kind::Directory, permissions, mounts::next_device(), 1)
}

/// Makes a file without a name (`memfd_create`, shared anonymous memory).
pub fn new_file(permissions: u32) -> Rc<MemoryNode> {
    first_node(Kind::File, permissions, 1, mounts::next_device())
}

/// The first node of a tree, whose nodes are counted from `number` on.
fn first_node(kind: Kind, permissions: u32, device: u64, number: u64) -> Rc<MemoryNode> {
    let tree = Rc::new(Tree {
        device,
        next: Cell::new(number),
    });
    let new = NewNode {
        kind,
        permissions,
        user: 0,
        group: 0,
        device_number: 0,
        target: Vec::new(),
    };
    MemoryNode::new(&tree, &new)
}

impl MemoryNode {
    fn new(tree: &Rc<Tree>, new: &NewNode) -> Rc<MemoryNode> {
        let number = tree.next.get();
        tree.next.set(number + 1);
        let content = match new.kind {
            Kind::File => Content::File(RefCell::default()),
            Kind::Directory => Content::Directory(RefCell::new(DirectoryContent {
                next: 1,
                ..DirectoryContent::default()
            })),
            Kind::Link => Content::Link(new.target.clone()),
            Kind::CharacterDevice | Kind::BlockDevice => Content::Device(new.device_number),
            Kind::Pipe => Content::Pipe(OnceCell::new()),
            Kind::Socket => Content::Socket,
        };
        let now = time::wall_clock();
        Rc::new(MemoryNode {
            tree: tree.clone(),
            number,
            kind: new.kind,
            content,
            permissions: Cell::new(new.permissions & 0o7777),
            user: Cell::new(new.user),
            group: Cell::new(new.group),
            links: Cell::new(if new.kind == Kind::Directory { 2 } else { 1 }),
            seals: Cell::new(Seals::SEAL),
            attributes: RefCell::default(),
            accessed: Cell::new(now),
            modified: Cell::new(now),
            changed: Cell::new(now),
        })
    }

    /// Makes the archive's bytes the content of a file.
    pub fn set_archived(&self, bytes: &'static [u8]) {
        if let Content::File(content) = &self.content {
            *content.borrow_mut() = FileContent {
                archived: bytes,
                pages: BTreeMap::new(),
                length: bytes.len() as u64,
            };
        }
    }

    /// The memory node that a node is.
    pub fn of(node: &Rc<dyn Node>) -> Option<&MemoryNode> {
        let any: &dyn Any = &**node;
        any.downcast_ref()
    }

    /// What cannot be done with the file any more.
    pub fn seals(&self) -> Seals {
        self.seals.get()
    }

    /// Lets seals be added to the file, which is new.
    pub fn allow_seals(&self) {
        self.seals.set(Seals::empty());
    }

    /// Adds seals.
    ///
    /// # Errors
    /// `EPERM` if none can be added.
    pub fn seal(&self, seals: Seals) -> Result<()> {
        if self.seals.get().contains(Seals::SEAL) {
            return Err(Errno::PERM);
        }
        self.seals.set(self.seals.get() | seals);
        Ok(())
    }

    /// Checks that the file may get another length.
    fn check_length(&self, old: u64, new: u64) -> Result<()> {
        let seals = self.seals.get();
        let sealed = (new < old && seals.contains(Seals::SHRINK))
            || (new > old && seals.contains(Seals::GROW));
        if sealed { Err(Errno::PERM) } else { Ok(()) }
    }

    fn directory(&self) -> Result<&RefCell<DirectoryContent>> {
        match &self.content {
            Content::Directory(content) => Ok(content),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn file(&self) -> Result<&RefCell<FileContent>> {
        match &self.content {
            Content::File(content) => Ok(content),
            Content::Directory(_) => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    fn touch(&self) {
        let now = time::wall_clock();
        self.modified.set(now);
        self.changed.set(now);
    }

    /// Puts a node into this directory under a name that is free.
    fn insert(&self, name: &[u8], node: Rc<dyn Node>) -> Result<()> {
        if name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        let mut directory = self.directory()?.borrow_mut();
        if directory.by_name.contains_key(name) {
            return Err(Errno::EXIST);
        }
        if self.links.get() == 0 {
            return Err(Errno::NOENT);
        }
        frames::check_spare_for_files().map_err(|_| Errno::NOSPC)?;
        if node.kind() == Kind::Directory {
            self.links.set(self.links.get() + 1);
        }
        let order = directory.next;
        directory.next += 1;
        directory.by_order.insert(order, name.into());
        directory.by_name.insert(name.into(), Entry { node, order });
        drop(directory);
        self.touch();
        Ok(())
    }

    /// Takes the entry with a name out.
    fn take(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        let mut directory = self.directory()?.borrow_mut();
        let entry = directory.by_name.remove(name).ok_or(Errno::NOENT)?;
        directory.by_order.remove(&entry.order);
        drop(directory);
        if entry.node.kind() == Kind::Directory {
            self.links.set(self.links.get().saturating_sub(1));
        }
        self.touch();
        Ok(entry.node)
    }

    fn is_empty_directory(&self) -> bool {
        self.directory()
            .is_ok_and(|directory| directory.borrow().by_name.is_empty())
    }

    /// Notes that one name of this node is gone.
    fn lose_name(&self) {
        let names = if self.kind == Kind::Directory { 2 } else { 1 };
        self.links.set(self.links.get().saturating_sub(names));
        self.changed.set(time::wall_clock());
    }
}

/// The memory node behind a node of the same tree.
fn of_tree<'a>(node: &'a Rc<dyn Node>, tree: &Rc<Tree>) -> Result<&'a MemoryNode> {
    let any: &dyn Any = &**node;
    any.downcast_ref::<MemoryNode>()
        .filter(|node| Rc::ptr_eq(&node.tree, tree))
        .ok_or(Errno::XDEV)
}

impl FileContent {
    /// The page `index`, made if it is not there.
    fn page(&mut self, index: u64) -> Result<Frame> {
        if let Some(frame) = self.pages.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::new()?;
        let start = (index as usize).saturating_mul(PAGE);
        if start < self.archived.len() {
            let end = (start + PAGE).min(self.archived.len());
            frame.write(0, &self.archived[start..end]);
        }
        self.pages.insert(index, frame.clone());
        Ok(frame)
    }

    /// Blocks of 512 bytes that its data takes.
    fn blocks(&self) -> u64 {
        let pages = (self.pages.len() * PAGE).div_ceil(512);
        let archived = self.archived.len().div_ceil(512);
        self.length.div_ceil(512).min((archived + pages) as u64)
    }

    /// See [`Node::next`].
    fn next(&self, offset: u64, hole: bool) -> Option<u64> {
        let end = self.archived.len() as u64;
        let mut at = offset;
        if !hole {
            if at >= end {
                let page = *self.pages.range(at / PAGE as u64..).next()?.0;
                at = at.max(page * PAGE as u64);
            }
        } else {
            if at < end {
                at = end.next_multiple_of(PAGE as u64);
            }
            for &page in self.pages.range(at / PAGE as u64..).map(|(page, _)| page) {
                if page > at / PAGE as u64 {
                    break;
                }
                at = (page + 1) * PAGE as u64;
            }
        }
        (at < self.length).then_some(at)
    }

    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        let mut at = offset;
        let end = self.length.min(offset.saturating_add(out.room() as u64));
        while at < end {
            let index = at / PAGE as u64;
            let within = (at % PAGE as u64) as usize;
            let wanted = (end - at) as usize;
            let done = if let Some(frame) = self.pages.get(&index) {
                let length = wanted.min(PAGE - within);
                frame.with(|page| out.put(&page[within..within + length]))
            } else {
                // Up to the next page that is there, the archive or a hole continues.
                let next = self
                    .pages
                    .range(index..)
                    .next()
                    .map_or(u64::MAX, |(&index, _)| index.saturating_mul(PAGE as u64));
                let length = wanted.min((next - at).min(1 << 30) as usize);
                let archived = (self.archived.len() as u64).saturating_sub(at) as usize;
                if archived > 0 {
                    let start = at as usize;
                    out.put(&self.archived[start..start + length.min(archived)])
                } else {
                    out.put_zeros(length)
                }
            };
            match done {
                Ok(0) => break,
                Ok(done) => at += done as u64,
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at.saturating_sub(offset) as usize)
    }

    fn write(&mut self, offset: u64, input: &mut Input<'_>) -> Result {
        let mut at = offset;
        let mut buffer = [0; 1024];
        while input.left() > 0 {
            if at >= LONGEST {
                return if at > offset {
                    Ok((at - offset) as usize)
                } else {
                    Err(Errno::FBIG)
                };
            }
            let within = (at % PAGE as u64) as usize;
            let length = (PAGE - within).min(buffer.len());
            let got = match input.take(&mut buffer[..length]) {
                Ok(got) => got,
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
            };
            let index = at / PAGE as u64;
            let page = if self.pages.contains_key(&index) {
                self.page(index)
            } else {
                frames::check_spare_for_files().and_then(|()| self.page(index))
            };
            let frame = match page {
                Ok(frame) => frame,
                Err(_) if at > offset => break,
                Err(_) => return Err(Errno::NOSPC),
            };
            frame.write(within, &buffer[..got]);
            at += got as u64;
            self.length = self.length.max(at);
        }
        Ok((at - offset) as usize)
    }

    fn resize(&mut self, length: u64) -> Result<()> {
        if length > LONGEST {
            return Err(Errno::FBIG);
        }
        if length < self.length {
            let kept = (length as usize).min(self.archived.len());
            self.archived = &self.archived[..kept];
            let gone = self.pages.split_off(&length.div_ceil(PAGE as u64));
            drop(gone);
            if !length.is_multiple_of(PAGE as u64)
                && let Some(frame) = self.pages.get(&(length / PAGE as u64))
            {
                frame.clear_from((length % PAGE as u64) as usize);
            }
        }
        self.length = length;
        Ok(())
    }
}

impl Node for MemoryNode {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn identity(&self) -> (u64, u64) {
        (self.tree.device, self.number)
    }

    fn next(&self, offset: u64, hole: bool) -> Option<u64> {
        self.file().ok()?.borrow().next(offset, hole)
    }

    fn metadata(&self) -> Metadata {
        let (size, blocks) = match &self.content {
            Content::File(content) => {
                let content = content.borrow();
                (content.length, content.blocks())
            }
            Content::Directory(content) => (content.borrow().by_name.len() as u64 * 20 + 40, 0),
            Content::Link(target) => (target.len() as u64, 0),
            _ => (0, 0),
        };
        Metadata {
            device: self.tree.device,
            number: self.number,
            kind: self.kind,
            permissions: self.permissions.get(),
            links: self.links.get(),
            user: self.user.get(),
            group: self.group.get(),
            device_number: if let Content::Device(number) = self.content {
                number
            } else {
                0
            },
            size,
            blocks,
            accessed: self.accessed.get(),
            modified: self.modified.get(),
            changed: self.changed.get(),
        }
    }

    fn change(&self, change: &Change) -> Result<()> {
        if let Some(size) = change.size {
            let content = self.file()?;
            let old = content.borrow().length;
            self.check_length(old, size)?;
            let shrinks = size < old;
            content.borrow_mut().resize(size)?;
            if shrinks {
                task::forget_file((&raw const *self).cast(), size);
            }
            self.touch();
        }
        for (cell, value) in [
            (
                &self.permissions,
                change.permissions.map(|permissions| permissions & 0o7777),
            ),
            (&self.user, change.user),
            (&self.group, change.group),
        ] {
            if let Some(value) = value {
                cell.set(value);
            }
        }
        for (cell, value) in [
            (&self.accessed, change.accessed),
            (&self.modified, change.modified),
        ] {
            if let Some(value) = value {
                cell.set(value);
            }
        }
        self.changed.set(time::wall_clock());
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        let directory = self.directory()?.borrow();
        directory
            .by_name
            .get(name)
            .map(|entry| entry.node.clone())
            .ok_or(Errno::NOENT)
    }

    fn create(&self, name: &[u8], new: &NewNode) -> Result<Rc<dyn Node>> {
        self.directory()?;
        let node = MemoryNode::new(&self.tree, new);
        if self.permissions.get() & 0o2000 != 0 {
            node.group.set(self.group.get());
            if new.kind == Kind::Directory {
                node.permissions.set(node.permissions.get() | 0o2000);
            }
        }
        self.insert(name, node.clone())?;
        Ok(node)
    }

    fn link(&self, name: &[u8], node: &Rc<dyn Node>) -> Result<()> {
        let linked = of_tree(node, &self.tree)?;
        if linked.kind == Kind::Directory {
            return Err(Errno::PERM);
        }
        self.insert(name, node.clone())?;
        linked.links.set(linked.links.get() + 1);
        linked.changed.set(time::wall_clock());
        Ok(())
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let node = self.lookup(name)?;
        match (node.kind() == Kind::Directory, directory) {
            (true, false) => return Err(Errno::ISDIR),
            (false, true) => return Err(Errno::NOTDIR),
            _ => {}
        }
        let memory = of_tree(&node, &self.tree).map_err(|_| Errno::BUSY)?;
        if directory && !memory.is_empty_directory() {
            return Err(Errno::NOTEMPTY);
        }
        if directory && mounts::mounted_at(&node).is_some() {
            return Err(Errno::BUSY);
        }
        drop(self.take(name)?);
        memory.lose_name();
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &Rc<dyn Node>,
        new_name: &[u8],
        exchange: bool,
    ) -> Result<()> {
        let target = of_tree(to, &self.tree)?;
        target.directory()?;
        // What could fail later fails before anything changes.
        if new_name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        if target.links.get() == 0 {
            return Err(Errno::NOENT);
        }
        let node = self.lookup(name)?;
        let old = target.lookup(new_name).ok();
        if exchange {
            let other = old.ok_or(Errno::NOENT)?;
            drop(self.take(name)?);
            drop(target.take(new_name)?);
            self.insert(name, other)?;
            return target.insert(new_name, node);
        }
        if let Some(old) = old {
            if Rc::ptr_eq(&old, &node) {
                return Ok(());
            }
            match (
                node.kind() == Kind::Directory,
                old.kind() == Kind::Directory,
            ) {
                (false, true) => return Err(Errno::ISDIR),
                (true, false) => return Err(Errno::NOTDIR),
                _ => {}
            }
            let memory = of_tree(&old, &self.tree).map_err(|_| Errno::BUSY)?;
            if old.kind() == Kind::Directory && !memory.is_empty_directory() {
                return Err(Errno::NOTEMPTY);
            }
            drop(target.take(new_name)?);
            memory.lose_name();
        }
        let node = self.take(name)?;
        target.insert(new_name, node)
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        let directory = self.directory()?.borrow();
        self.accessed.set(time::wall_clock());
        let entries = directory
            .by_order
            .range(from..)
            .filter_map(|(&order, name)| {
                let node = &directory.by_name.get(name)?.node;
                Some(DirectoryEntry {
                    name: name.clone(),
                    number: node.identity().1,
                    kind: node.kind(),
                    next: order + 1,
                })
            });
        Ok(entries.take(most).collect())
    }

    fn target(&self) -> Result<Vec<u8>> {
        match &self.content {
            Content::Link(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }

    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        self.file()?.borrow().read(offset, out)
    }

    fn write(&self, offset: u64, input: &mut Input<'_>) -> Result {
        let file = self.file()?;
        if self.seals.get().intersects(Seals::WRITES) {
            return Err(Errno::PERM);
        }
        let old = file.borrow().length;
        self.check_length(old, offset.saturating_add(input.left() as u64).max(old))?;
        let done = file.borrow_mut().write(offset, input)?;
        self.touch();
        Ok(done)
    }

    fn page(&self, index: u64) -> Result<Frame> {
        let mut content = self.file().map_err(|_| Errno::NODEV)?.borrow_mut();
        if index.saturating_mul(PAGE as u64) >= content.length {
            return Err(Errno::NXIO);
        }
        content.page(index)
    }

    fn open(self: Rc<Self>, how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        match &self.content {
            Content::Device(number) => devices::open(self.kind, *number).map(Some),
            Content::Pipe(pipe) => {
                let pipe = pipe.get_or_init(Pipe::new).clone();
                crate::file::pipe::open_named(&pipe, self.clone(), how).map(Some)
            }
            Content::Socket => Err(Errno::NXIO),
            _ => Ok(None),
        }
    }

    fn attribute(&self, name: &[u8]) -> Result<Rc<Vec<u8>>> {
        let attributes = self.attributes.borrow();
        let value = attributes.as_ref().and_then(|them| them.get(name));
        value.ok_or(Errno::NODATA)
    }

    fn attribute_names(&self) -> Vec<u8> {
        let attributes = self.attributes.borrow();
        attributes
            .as_ref()
            .map_or_else(Vec::new, |them| them.names())
    }

    fn set_attribute(&self, name: &[u8], value: Vec<u8>, before: Before) -> Result<()> {
        let mut attributes = self.attributes.borrow_mut();
        let attributes = attributes.get_or_insert_default();
        attributes.set(name, value, before)?;
        self.changed.set(time::wall_clock());
        Ok(())
    }

    fn remove_attribute(&self, name: &[u8]) -> Result<()> {
        let mut attributes = self.attributes.borrow_mut();
        attributes.as_mut().ok_or(Errno::NODATA)?.remove(name)?;
        self.changed.set(time::wall_clock());
        Ok(())
    }

    fn file_system(&self) -> FileSystemStatus {
        FileSystemStatus {
            magic: MAGIC,
            block_size: PAGE as u64,
            blocks: (frames::total_bytes() / PAGE) as u64,
            free: (frames::free_bytes() / PAGE) as u64,
            nodes: 1 << 20,
            free_nodes: 1 << 19,
        }
    }
}

#[cfg(test)]
mod tests;
