//! Which trees are mounted where.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::{Kind, Node, Place};
use crate::abi::errno::{Errno, Result};
use crate::sync::Global;

/// A mounted tree.
#[derive(Clone)]
pub struct Mount {
    /// What is mounted, as the mounter called it.
    pub source: Vec<u8>,
    /// The kind of file system.
    pub kind: &'static str,
    /// Where, as a path from the root.
    pub path: Vec<u8>,
    /// Whether it cannot be written.
    pub read_only: bool,
    root: Rc<dyn Node>,
    /// The identity of the root, which every step along a path compares.
    identity: (u64, u64),
    /// The identity of the directory that it covers.
    covered: Option<(u64, u64)>,
}

impl Mount {
    /// The number of the file system.
    pub fn device(&self) -> u64 {
        self.identity.0
    }
}

static MOUNTS: Global<RefCell<Vec<Mount>>> = Global::new(RefCell::new(Vec::new()));
static NEXT_DEVICE: Global<Cell<u64>> = Global::new(Cell::new(1));

/// A number for a new file system.
pub fn next_device() -> u64 {
    let device = NEXT_DEVICE.get();
    NEXT_DEVICE.set(device + 1);
    device
}

/// Notes the root of the tree.
pub fn mount_root(root: Rc<dyn Node>, kind: &'static str) {
    let mount = Mount {
        source: kind.as_bytes().to_vec(),
        kind,
        path: b"/".to_vec(),
        read_only: false,
        identity: root.identity(),
        root,
        covered: None,
    };
    MOUNTS.borrow_mut().push(mount);
}

/// Takes all trees away, the root too.
#[cfg(test)]
pub fn forget_all() {
    drop(MOUNTS.take());
}

/// Mounts a tree at a directory.
///
/// # Errors
/// `ENOTDIR`
pub fn mount(
    at: &Place,
    source: &[u8],
    kind: &'static str,
    root: Rc<dyn Node>,
    read_only: bool,
) -> Result<()> {
    if at.node.kind() != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    let mut top = at;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    let mount = Mount {
        source: source.to_vec(),
        kind,
        path: at.path_from(top),
        read_only,
        identity: root.identity(),
        root,
        covered: Some(at.node.identity()),
    };
    MOUNTS.borrow_mut().push(mount);
    Ok(())
}

/// Sets whether the tree with the root `at` can be written.
///
/// # Errors
/// `EINVAL` if `at` is no root.
pub fn set_read_only(at: &Place, read_only: bool) -> Result<()> {
    let root = at.node.identity();
    let mut mounts = MOUNTS.borrow_mut();
    let mount = mounts.iter_mut().rfind(|mount| mount.identity == root);
    mount.ok_or(Errno::INVAL)?.read_only = read_only;
    Ok(())
}

/// Takes a mounted tree away; `at` is its root.
///
/// # Errors
/// `EINVAL` if nothing is mounted there.
pub fn unmount(at: &Place) -> Result<()> {
    let root = at.node.identity();
    let mut mounts = MOUNTS.borrow_mut();
    let index = mounts
        .iter()
        .rposition(|mount| mount.covered.is_some() && mount.identity == root)
        .ok_or(Errno::INVAL)?;
    let gone = mounts.remove(index);
    drop(mounts);
    drop(gone);
    Ok(())
}

/// The root of what is mounted at a directory.
pub fn mounted_at(node: &Rc<dyn Node>) -> Option<Rc<dyn Node>> {
    let mounts = MOUNTS.borrow();
    if mounts.len() < 2 || node.kind() != Kind::Directory {
        return None;
    }
    let mut at = node.identity();
    let mut found = None;
    // A mounted root may be covered by another one.
    while let Some(mount) = mounts.iter().rev().find(|mount| mount.covered == Some(at)) {
        at = mount.identity;
        found = Some(mount.root.clone());
    }
    found
}

/// All mounts, the root first.
pub fn all() -> Vec<Mount> {
    MOUNTS.borrow().clone()
}

/// Whether the file system with a number was mounted so that it cannot be written.
pub fn is_read_only(device: u64) -> bool {
    let mounts = MOUNTS.borrow();
    let mount = mounts.iter().rev().find(|mount| mount.device() == device);
    mount.is_some_and(|mount| mount.read_only)
}
