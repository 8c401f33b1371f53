//! Files whose content is made when they are read, and fixed trees of them, for `/proc` and
//! `/sys`.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use super::{Change, DirectoryEntry, FileSystemStatus, Kind, Metadata, Node, OpenHow};
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::file::File;
use crate::file::io::{Input, Output};
use crate::time;

/// The most bytes of one write.
const MOST_WRITTEN: usize = 4096;

/// Content that is being made.
#[derive(Default)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends formatted text.
    pub fn print(&mut self, arguments: fmt::Arguments<'_>) {
        // Memory takes everything.
        let _ = fmt::Write::write_fmt(self, arguments);
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Appends formatted text to a [`Text`].
#[macro_export]
macro_rules! put {
    ($text:expr, $($argument:tt)*) => {
        $text.print(format_args!($($argument)*))
    };
}

/// Where the content of a file comes from.
pub trait Source: Node {
    /// Makes the content.
    ///
    /// # Errors
    /// `ESRCH` when what it is about is gone.
    fn make(&self, text: &mut Text) -> Result<()>;

    /// Takes what is written in one piece.
    ///
    /// # Errors
    /// `EINVAL`
    fn take(&self, _bytes: &[u8]) -> Result<()> {
        Err(Errno::INVAL)
    }
}

/// An open file whose content is made when it is read from its beginning.
pub struct GeneratedFile<S> {
    source: Rc<S>,
    node: Rc<dyn Node>,
    content: RefCell<Option<Rc<Vec<u8>>>>,
}

impl<S: Source> GeneratedFile<S> {
    /// Opens a file.
    pub fn open(source: Rc<S>) -> Rc<dyn File> {
        Rc::new(GeneratedFile {
            node: source.clone(),
            source,
            content: RefCell::new(None),
        })
    }
}

/// The content of a source.
///
/// # Errors
/// Those of the source.
pub fn content(source: &impl Source) -> Result<Vec<u8>> {
    let mut text = Text::default();
    source.make(&mut text)?;
    Ok(text.0)
}

/// Copies what follows an offset.
///
/// # Errors
/// `EFAULT`
pub fn read_from(content: &[u8], offset: u64, out: &mut Output<'_>) -> Result {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| content.get(offset..));
    out.put(rest.unwrap_or_default())
}

impl<S: Source> File for GeneratedFile<S> {
    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        if offset == 0 || self.content.borrow().is_none() {
            let new = Rc::new(content(&*self.source)?);
            *self.content.borrow_mut() = Some(new);
        }
        // The memory of a program may have to be brought in: nothing is borrowed meanwhile.
        let content = self.content.borrow().clone();
        read_from(&content.unwrap_or_default(), offset, out)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        let bytes = input.take_all(MOST_WRITTEN).map_err(|error| match error {
            Errno::MSGSIZE => Errno::INVAL,
            other => other,
        })?;
        self.source.take(&bytes)?;
        Ok(bytes.len())
    }

    fn node(&self) -> Option<&Rc<dyn Node>> {
        Some(&self.node)
    }

    fn metadata(&self) -> Metadata {
        self.source.metadata()
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

/// Something in a fixed tree.
pub enum Item {
    /// A directory.
    Directory(&'static [(&'static str, Item)]),
    /// A file that a function makes.
    Text(fn(&mut Text)),
    /// A file that is always the same.
    Fixed(&'static str),
    /// A file that can be written by root.
    Setting(fn(&mut Text), fn(&[u8]) -> Result<()>),
    /// A symbolic link.
    Link(&'static str),
}

/// The file system of a fixed tree.
#[derive(Clone, Copy)]
pub struct Tree {
    /// Its number.
    pub device: u64,
    /// The magic number of its kind.
    pub magic: u64,
}

impl Tree {
    /// What `statfs` reports: such trees take no space.
    pub fn status(self) -> FileSystemStatus {
        FileSystemStatus {
            magic: self.magic,
            block_size: PAGE as u64,
            blocks: 0,
            free: 0,
            nodes: 0,
            free_nodes: 0,
        }
    }

    /// The metadata of a node of root's.
    pub fn metadata(self, number: u64, kind: Kind, permissions: u32) -> Metadata {
        let now = time::wall_clock();
        Metadata {
            device: self.device,
            number,
            kind,
            permissions,
            links: if kind == Kind::Directory { 2 } else { 1 },
            user: 0,
            group: 0,
            device_number: 0,
            size: 0,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
        }
    }
}

/// A node of a fixed tree.
pub struct FixedNode {
    tree: Tree,
    item: &'static Item,
}

impl FixedNode {
    /// The node of an item.
    pub fn new(tree: Tree, item: &'static Item) -> Rc<FixedNode> {
        Rc::new(FixedNode { tree, item })
    }

    fn items(&self) -> Result<&'static [(&'static str, Item)]> {
        match self.item {
            Item::Directory(items) => Ok(items),
            _ => Err(Errno::NOTDIR),
        }
    }
}

/// The number of an item's node: where the item is in the image of the kernel.
fn number_of(item: &'static Item) -> u64 {
    core::ptr::from_ref(item).addr() as u64 & 0x7fff_ffff
}

fn kind_of(item: &Item) -> Kind {
    match item {
        Item::Directory(_) => Kind::Directory,
        Item::Link(_) => Kind::Link,
        _ => Kind::File,
    }
}

/// The item with a name.
pub fn find(items: &'static [(&'static str, Item)], name: &[u8]) -> Option<&'static Item> {
    items
        .iter()
        .find(|(of_item, _)| of_item.as_bytes() == name)
        .map(|(_, item)| item)
}

/// The next entries of a directory of items: `most` or fewer.
pub fn entries(
    items: &'static [(&'static str, Item)],
    from: u64,
    most: usize,
) -> Vec<DirectoryEntry> {
    let listed = items.iter().enumerate().skip(from as usize);
    listed
        .map(|(index, (name, item))| DirectoryEntry {
            name: name.as_bytes().into(),
            number: number_of(item),
            kind: kind_of(item),
            next: index as u64 + 1,
        })
        .take(most)
        .collect()
}

impl Node for FixedNode {
    fn metadata(&self) -> Metadata {
        let permissions = match self.item {
            Item::Directory(_) => 0o555,
            Item::Link(_) => 0o777,
            Item::Setting(..) => 0o644,
            Item::Text(_) | Item::Fixed(_) => 0o444,
        };
        self.tree
            .metadata(number_of(self.item), kind_of(self.item), permissions)
    }

    fn kind(&self) -> Kind {
        kind_of(self.item)
    }

    fn change(&self, change: &Change) -> Result<()> {
        accept_truncation(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        let item = find(self.items()?, name).ok_or(Errno::NOENT)?;
        Ok(FixedNode::new(self.tree, item))
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        Ok(entries(self.items()?, from, most))
    }

    fn target(&self) -> Result<Vec<u8>> {
        match self.item {
            Item::Link(target) => Ok(target.as_bytes().to_vec()),
            _ => Err(Errno::INVAL),
        }
    }

    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        read_from(&content(self)?, offset, out)
    }

    fn open(self: Rc<Self>, how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        match self.item {
            Item::Directory(_) => Ok(None),
            // Root is permitted everything, but these files cannot be written.
            Item::Text(_) | Item::Fixed(_) if how.write => Err(Errno::ACCES),
            _ => Ok(Some(GeneratedFile::open(self))),
        }
    }

    fn file_system(&self) -> FileSystemStatus {
        self.tree.status()
    }
}

impl Source for FixedNode {
    fn make(&self, text: &mut Text) -> Result<()> {
        match self.item {
            Item::Text(make) | Item::Setting(make, _) => make(text),
            Item::Fixed(content) => text.put(content.as_bytes()),
            Item::Directory(_) => return Err(Errno::ISDIR),
            Item::Link(_) => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn take(&self, bytes: &[u8]) -> Result<()> {
        match self.item {
            Item::Setting(_, take) => take(bytes),
            _ => Err(Errno::ACCES),
        }
    }
}

/// Accepts that a file is made empty when it is opened for writing, and nothing else.
///
/// # Errors
/// `EPERM`
pub fn accept_truncation(change: &Change) -> Result<()> {
    let only_size = change.permissions.is_none()
        && change.user.is_none()
        && change.group.is_none()
        && change.size.is_some();
    if only_size { Ok(()) } else { Err(Errno::PERM) }
}
