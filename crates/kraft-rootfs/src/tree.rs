//! Filesystem trees: names and metadata in memory, contents in their files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::path::{self, Circle, parents};
use crate::{EntryError, shown};

/// Permissions of directories that no entry describes.
const IMPLIED_DIRECTORY: u32 = 0o755;

/// The entries below a root in the order of an archive: depth first, by bytes in each directory,
/// parents before their entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Keyed by the path with zeros for slashes: those sort before every byte of a name, so the order
    /// of the map is that of a walk. Boxed: keys that are inserted in their order leave half of the
    /// places of the map unused.
    nodes: BTreeMap<Box<[u8]>, Box<Node>>,
}

/// An entry.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permissions with setuid, setgid and sticky.
    pub(crate) permissions: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Directory,
    File(Content),
    Symlink(Box<[u8]>),
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// The content of a file, and its identity: names with the same `identity` are hard links.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) size: u64,
    pub(crate) identity: u64,
    pub(crate) at: Place,
}

/// A path without an allocation of its own if it is short: mostly it is the name of a file.
pub(crate) type ShortPath = SmallVec<[u8; 16]>;

/// Location of the content of a file.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file with this path below a directory.
    Below {
        directory: Rc<Directory>,
        path: ShortPath,
    },
    /// A range of a file that contains many.
    Within { file: Rc<File>, offset: u64 },
}

/// A directory of this host that contains files of a tree.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The directory that nothing may lead out of, opened.
    pub(crate) root: Rc<Root>,
    /// The path below the root; empty for the root itself.
    pub(crate) path: Vec<u8>,
}

impl Directory {
    /// Returns the whole path of something below it, as it is shown to users.
    pub(crate) fn full(&self, path: &[u8]) -> PathBuf {
        let path = path::join(&self.path, path);
        self.root.path.join(OsStr::from_bytes(&path))
    }
}

/// An opened directory with its path.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Tree {
    /// Inserts an entry at a normalised path; replaces an earlier one.
    pub(crate) fn insert(&mut self, path: &[u8], node: Node) -> Result<(), EntryError> {
        let key = key(path);
        if !self.is_directory(parent(&key)) {
            self.insert_parents(path)?;
        }
        let loses_others =
            !node.is_directory() && self.is_directory(&key) && self.has_children(&key);
        if loses_others {
            return Err(EntryError::ReplacesDirectory);
        }
        self.nodes.insert(key, Box::new(node));
        Ok(())
    }

    /// Returns whether a directory is at a key. All its parents are directories then.
    fn is_directory(&self, key: &[u8]) -> bool {
        let node = self.nodes.get(key);
        key.is_empty() || node.is_some_and(|node| node.is_directory())
    }

    fn insert_parents(&mut self, path: &[u8]) -> Result<(), EntryError> {
        for parent in parents(path) {
            let key = key(parent);
            match self.nodes.get(&key).map(|node| &node.kind) {
                Some(Kind::Directory) => {}
                Some(Kind::Symlink(_)) => return Err(EntryError::ThroughLink(shown(parent))),
                Some(_) => return Err(EntryError::NotADirectory(shown(parent))),
                None => drop(self.nodes.insert(key, Box::new(Node::implied_directory()))),
            }
        }
        Ok(())
    }

    /// Returns the missing directories above a path, the topmost first: a stream of entries contains
    /// them before.
    pub(crate) fn missing_above<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = &'p [u8]> {
        parents(path).filter(|parent| !self.nodes.contains_key(&key(parent)))
    }

    /// Returns whether a path comes after all entries, in the order of an archive.
    pub(crate) fn is_behind(&self, path: &[u8]) -> bool {
        let last = self.nodes.last_key_value();
        last.is_none_or(|(last, _)| *last < key(path))
    }

    /// Removes an entry and everything below it.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.nodes.remove(&key(path));
        self.remove_below(path, &|_| false);
    }

    /// Removes the entries below a directory, except those that `stays` selects.
    pub(crate) fn remove_below(&mut self, path: &[u8], stays: &dyn Fn(&[u8]) -> bool) {
        let first = prefix(path);
        let below = self.nodes.range(first.clone()..);
        let gone: Vec<Box<[u8]>> = below
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&first))
            .filter(|key| !stays(&unkeyed(key)))
            .cloned()
            .collect();
        for key in gone {
            self.nodes.remove(&key);
        }
    }

    /// Returns the entry at a normalised path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(&key(path)).map(Box::as_ref)
    }

    /// Resolves the links of a path; the result need not exist.
    pub(crate) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, Circle> {
        path::resolve(path, follow_last, |path| match self.get(path)?.kind {
            Kind::Symlink(ref target) => Some(target),
            _ => None,
        })
    }

    /// Returns the names in a directory.
    pub(crate) fn children(&self, directory: &[u8]) -> impl Iterator<Item = &[u8]> {
        let first = prefix(directory);
        let length = first.len();
        let below = self.nodes.range(first.clone()..);
        below
            .map(|(key, _)| &**key)
            .take_while(move |key| key.starts_with(&first))
            .filter_map(move |key| key.get(length..))
            .filter(|name| !name.contains(&0))
    }

    /// Returns every path below a directory with its entry, in the order of an archive.
    pub(crate) fn below(&self, directory: &[u8]) -> impl Iterator<Item = (Vec<u8>, &Node)> {
        let first = prefix(directory);
        let below = self.nodes.range(first.clone()..);
        below
            .take_while(move |(key, _)| key.starts_with(&first))
            .map(|(key, node)| (unkeyed(key), node.as_ref()))
    }

    /// Returns every path with its entry, in the order of an archive.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Vec<u8>, &Node)> {
        self.nodes
            .iter()
            .map(|(key, node)| (unkeyed(key), node.as_ref()))
    }

    /// Returns every entry, in the order of an archive.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(Box::as_ref)
    }

    fn has_children(&self, key: &[u8]) -> bool {
        let first: Box<[u8]> = [key, &[0]].concat().into();
        self.nodes
            .range(first.clone()..)
            .next()
            .is_some_and(|(next, _)| next.starts_with(&first))
    }
}

impl Node {
    /// Returns a directory that no entry describes.
    pub(crate) fn implied_directory() -> Self {
        Self {
            kind: Kind::Directory,
            permissions: IMPLIED_DIRECTORY,
            uid: 0,
            gid: 0,
        }
    }

    /// Returns whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

fn key(path: &[u8]) -> Box<[u8]> {
    swapped(path, b'/', 0).into()
}

fn unkeyed(key: &[u8]) -> Vec<u8> {
    swapped(key, 0, b'/')
}

/// Returns the prefix of the keys below a directory.
fn prefix(directory: &[u8]) -> Box<[u8]> {
    let mut prefix = swapped(directory, b'/', 0);
    if !prefix.is_empty() {
        prefix.push(0);
    }
    prefix.into()
}

/// Returns the key of the directory that an entry is in; empty for the root.
fn parent(key: &[u8]) -> &[u8] {
    let end = key.iter().rposition(|byte| *byte == 0).unwrap_or_default();
    key.get(..end).unwrap_or_default()
}

fn swapped(bytes: &[u8], from: u8, to: u8) -> Vec<u8> {
    let swap = |&byte: &u8| if byte == from { to } else { byte };
    bytes.iter().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: Kind) -> Node {
        Node {
            kind,
            ..Node::implied_directory()
        }
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.entries().map(|(path, _)| shown(&path)).collect()
    }

    #[test]
    fn the_order_is_that_of_a_walk_and_parents_are_made() {
        let mut tree = Tree::default();
        for path in ["a-b", "a/c/d", "a.b", "a/b"] {
            tree.insert(path.as_bytes(), node(Kind::Fifo)).unwrap();
        }
        assert_eq!(paths(&tree), ["a", "a/b", "a/c", "a/c/d", "a-b", "a.b"]);
    }

    #[test]
    fn nothing_is_inserted_below_a_link_or_a_file() {
        let mut tree = Tree::default();
        tree.insert(b"link", node(Kind::Symlink(b"/etc"[..].into())))
            .unwrap();
        tree.insert(b"file", node(Kind::Fifo)).unwrap();
        let below = |tree: &mut Tree, path: &[u8]| tree.insert(path, node(Kind::Fifo)).unwrap_err();
        assert_eq!(
            below(&mut tree, b"link/passwd"),
            EntryError::ThroughLink("link".into())
        );
        assert_eq!(
            below(&mut tree, b"file/x/y"),
            EntryError::NotADirectory("file".into())
        );
    }

    #[test]
    fn the_last_entry_wins_unless_it_would_lose_others() {
        let mut tree = Tree::default();
        tree.insert(b"d/x", node(Kind::Fifo)).unwrap();
        tree.insert(b"d/x", node(Kind::Symlink(b"y"[..].into())))
            .unwrap();
        assert!(matches!(tree.get(b"d/x").unwrap().kind, Kind::Symlink(_)));
        tree.insert(b"d", node(Kind::Directory)).unwrap();
        let lost = tree.insert(b"d", node(Kind::Fifo)).unwrap_err();
        assert_eq!(lost, EntryError::ReplacesDirectory);
        assert_eq!(paths(&tree), ["d", "d/x"]);
    }
}
