//! Layers from the difference between a tree and the layers below.

use std::os::unix::ffi::OsStrExt;

use super::disk;
use super::index::Capture;
use super::layers::{Ground, Layer, Layers};
use crate::ids::IdMap;
use crate::path::parents;
use crate::tree::{Kind, Node, Tree};
use crate::{EntryError, Error};

/// Creates the layer that turns `ground` into `tree`; `None` if they are equal.
pub(super) fn layer(
    layers: &Layers,
    ground: &Ground,
    tree: &Tree,
    ids: Option<&IdMap>,
) -> Result<Option<Layer>, Error> {
    let mut part = Tree::default();
    for (path, node) in tree.entries() {
        if ground.tree.get(&path).is_some_and(|old| is_same(old, node)) {
            continue;
        }
        let put = |part: &mut Tree| with_parents(part, tree, &path, node);
        put(&mut part).map_err(|source| Error::entry(&path, source))?;
    }
    let gone = gone(ground, tree);
    for path in &gone {
        // A whiteout needs its directory in the same layer.
        for parent in parents(path) {
            if let Some(node) = tree.get(parent) {
                let put = with_parents(&mut part, tree, parent, node);
                put.map_err(|source| Error::entry(parent, source))?;
            }
        }
    }
    if part.entries().next().is_none() && gone.is_empty() {
        return Ok(None);
    }
    let new = layers.begin()?;
    let root = new.root();
    disk::lay_out(&part, &root, ids)?;
    for path in gone {
        let full = root.join(std::ffi::OsStr::from_bytes(&path));
        kraft_sys::fs::make_whiteout(&full)?;
    }
    let how = Capture {
        ids,
        before: &part,
        complete: ground.layers.is_empty(),
        devices: true,
    };
    layers.finish(&new, &how).map(Some)
}

/// Inserts an entry into a part of a tree, with its parent directories.
fn with_parents(part: &mut Tree, tree: &Tree, path: &[u8], node: &Node) -> Result<(), EntryError> {
    let missing: Vec<Vec<u8>> = part.missing_above(path).map(<[u8]>::to_vec).collect();
    for parent in missing {
        if let Some(node) = tree.get(&parent) {
            part.insert(&parent, node.clone())?;
        }
    }
    part.insert(path, node.clone())
}

/// Returns the topmost entries that are in the layers but not in the tree.
fn gone(ground: &Ground, tree: &Tree) -> Vec<Vec<u8>> {
    let mut gone = Vec::new();
    for (path, _) in ground.tree.entries() {
        if tree.get(&path).is_some() {
            continue;
        }
        // Something else in place of its directory hides it.
        let above = parents(&path).last();
        let hidden = above.is_some_and(|above| !tree.get(above).is_some_and(Node::is_directory));
        if !hidden {
            gone.push(path);
        }
    }
    gone
}

/// Returns whether two entries are the same file, not only equal.
fn is_same(one: &Node, other: &Node) -> bool {
    let kinds = match (&one.kind, &other.kind) {
        (Kind::Directory, Kind::Directory) | (Kind::Fifo, Kind::Fifo) => true,
        (Kind::File(one), Kind::File(other)) => {
            (one.identity, one.size) == (other.identity, other.size)
        }
        (Kind::Symlink(one), Kind::Symlink(other)) => one == other,
        (
            Kind::CharDevice { major, minor },
            Kind::CharDevice {
                major: major2,
                minor: minor2,
            },
        )
        | (
            Kind::BlockDevice { major, minor },
            Kind::BlockDevice {
                major: major2,
                minor: minor2,
            },
        ) => (major, minor) == (major2, minor2),
        _ => false,
    };
    let of = |node: &Node| (node.permissions, node.uid, node.gid);
    kinds && of(one) == of(other)
}
