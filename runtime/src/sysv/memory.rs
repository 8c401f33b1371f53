//! Shared memory (`shmget`, `shmat`, `shmctl`).

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use super::{Identity, Object, READ, Registry, WRITE};
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::fs::memory::{self, MemoryNode};
use crate::fs::{Change, Node};
use crate::mm::{Area, Backing, Protection, Space};
use crate::sync::Global;
use crate::task;

/// A segment of shared memory.
pub struct Segment {
    identity: Identity,
    size: u64,
    /// The memory; given up when the segment is removed, so that it lives as long as it is
    /// mapped.
    kept: RefCell<Option<Rc<MemoryNode>>>,
    node: Weak<MemoryNode>,
    creator: i32,
    last: Cell<i32>,
    attached: Cell<u64>,
    detached: Cell<u64>,
}

static SEGMENTS: Global<Registry<Segment>> = Global::new(Registry::new(4096));

impl Object for Segment {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn is_gone(&self) -> bool {
        self.node.strong_count() == 0
    }
}

/// Finds or makes a segment (`shmget`); its number.
///
/// # Errors
/// `EINVAL` for a wrong size, and those of [`Registry::get`].
pub fn get(key: i32, size: usize, flags: usize) -> Result<i32> {
    let make = |identity| {
        if size == 0 {
            return Err(Errno::INVAL);
        }
        let pages = crate::mm::page_end(size).ok_or(Errno::INVAL)? as u64;
        let node = memory::new_file(0o600);
        node.change(&Change {
            size: Some(pages),
            ..Change::default()
        })
        .map_err(|_| Errno::INVAL)?;
        Ok(Segment {
            identity,
            size: size as u64,
            node: Rc::downgrade(&node),
            kept: RefCell::new(Some(node)),
            creator: task::current_process().id,
            last: Cell::new(0),
            attached: Cell::new(0),
            detached: Cell::new(0),
        })
    };
    SEGMENTS.get(key, flags, make, |segment| {
        if size as u64 > segment.size {
            Err(Errno::INVAL)
        } else {
            Ok(())
        }
    })
}

/// Maps a segment (`shmat`); the address.
///
/// # Errors
/// `EINVAL`, `EACCES`, `ENOMEM`
pub fn attach(id: i32, address: usize, flags: usize) -> Result {
    const READ_ONLY: usize = 0o10_000;
    const ROUND: usize = 0o20_000;
    const REPLACE: usize = 0o40_000;
    const EXECUTE: usize = 0o100_000;
    let segment = SEGMENTS.find(id)?;
    let read_only = flags & READ_ONLY != 0;
    segment
        .identity
        .check(if read_only { READ } else { READ | WRITE })?;
    let mut protection = Protection::READ;
    protection.set(Protection::WRITE, !read_only);
    protection.set(Protection::EXECUTE, flags & EXECUTE != 0);
    let node = segment.node.upgrade().ok_or(Errno::INVAL)?;
    let area = Area {
        end: 0,
        protection,
        shared: true,
        backing: Backing::File {
            node,
            offset: 0,
            end: u64::MAX,
            place: None,
            read_only,
        },
    };
    let process = task::current_process();
    let space = process.space().ok_or(Errno::NOMEM)?;
    let size = segment.size as usize;
    let at = if address == 0 {
        if flags & REPLACE != 0 {
            return Err(Errno::INVAL);
        }
        space.map(0, size, area)?
    } else {
        let address = if flags & ROUND != 0 {
            address & !(PAGE - 1)
        } else {
            address
        };
        let pages = crate::mm::page_end(size).ok_or(Errno::INVAL)?;
        if flags & REPLACE == 0 && !space.is_free(address, pages) {
            return Err(Errno::INVAL);
        }
        space
            .map_at(address, size, area)
            .map_err(|_| Errno::INVAL)?;
        address
    };
    segment.last.set(process.id);
    segment.attached.set(super::now());
    Ok(at)
}

/// Whether an area shows a segment that is mapped at an address.
fn shows(start: usize, area: &Area, address: usize) -> Option<Rc<Segment>> {
    let Backing::File { node, offset, .. } = &area.backing else {
        return None;
    };
    if start.checked_sub(*offset as usize) != Some(address) {
        return None;
    }
    let node = Rc::as_ptr(node).addr();
    SEGMENTS
        .all()
        .into_iter()
        .find(|segment| segment.node.as_ptr().addr() == node)
}

/// Takes a segment out of memory (`shmdt`).
///
/// # Errors
/// `EINVAL` if none is mapped there.
pub fn detach(address: usize) -> Result<()> {
    let process = task::current_process();
    let space: Rc<Space> = process.space().ok_or(Errno::INVAL)?;
    let mut found = false;
    for (start, area) in space.areas() {
        if let Some(segment) = shows(start, &area, address) {
            found = true;
            segment.last.set(process.id);
            segment.detached.set(super::now());
            space.unmap(start, area.end - start)?;
        }
    }
    if found { Ok(()) } else { Err(Errno::INVAL) }
}

/// `struct shmid64_ds` of a segment (`IPC_STAT`).
///
/// # Errors
/// `EINVAL`, `EACCES`
pub fn status(id: i32) -> Result<[u64; 14]> {
    const REMOVED: u32 = 0o1000;
    let segment = SEGMENTS.find(id)?;
    segment.identity.check(READ)?;
    let kept = segment.kept.borrow().is_some();
    // Each mapping owns the memory, and the segment itself until it is removed.
    let mapped = segment.node.strong_count() - usize::from(kept);
    let mut words = [0; 14];
    words[..6].copy_from_slice(&segment.identity.words(if kept { 0 } else { REMOVED }));
    words[6] = segment.size;
    words[7] = segment.attached.get();
    words[8] = segment.detached.get();
    words[9] = segment.identity.changed.get();
    words[10] = segment.creator as u64 | (segment.last.get() as u64) << 32;
    words[11] = mapped as u64;
    Ok(words)
}

/// Changes owner and permissions (`IPC_SET`).
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn change(id: i32, user: u32, group: u32, mode: u32) -> Result<()> {
    let segment = SEGMENTS.find(id)?;
    segment.identity.check_owner()?;
    segment.identity.change(user, group, mode);
    Ok(())
}

/// Removes a segment (`IPC_RMID`): it is gone when no one maps it any more.
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn remove(id: i32) -> Result<()> {
    let segment = SEGMENTS.find(id)?;
    segment.identity.check_owner()?;
    let node = segment.kept.take();
    drop(node);
    Ok(())
}

/// Forgets all of them, for the next test.
#[cfg(test)]
pub(super) fn forget_all() {
    SEGMENTS.clear();
}
