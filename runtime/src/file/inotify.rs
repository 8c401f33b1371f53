//! Watches of files and directories (`inotify`).
//!
//! The calls that change something report it here; what changes without a call of this
//! machine, as on a shared directory, is not seen.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use bitflags::bitflags;

use super::io::Output;
use super::{Description, Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata, Node, Place};
use crate::mm::{frames, user};
use crate::sync::Global;
use crate::task::WaitQueue;

/// The most watches of a machine, and events that wait in one file (Linux's default).
const MOST_WATCHES: usize = 65_536;
const MOST_EVENTS: usize = 16_384;
/// Bytes of an event without its name.
const HEADER: usize = 16;
/// `FIONREAD`
const BYTES_TO_READ: usize = 0x541b;

bitflags! {
    /// What happened (`IN_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Changes: u32 {
        /// A file was read.
        const READ = 1;
        /// A file was written.
        const WRITTEN = 2;
        /// Permissions, owner, times or links changed.
        const METADATA = 4;
        /// A file that was open for writing was closed.
        const CLOSED_WRITABLE = 8;
        /// A file that was open for reading was closed.
        const CLOSED = 0x10;
        /// A file was opened.
        const OPENED = 0x20;
        /// An entry left a directory for another name.
        const MOVED_FROM = 0x40;
        /// An entry came into a directory from another name.
        const MOVED_TO = 0x80;
        /// An entry was made.
        const CREATED = 0x100;
        /// An entry was removed.
        const REMOVED = 0x200;
        /// What is watched was removed.
        const SELF_REMOVED = 0x400;
        /// What is watched has another name.
        const SELF_MOVED = 0x800;
        /// Events were lost.
        const OVERFLOW = 0x4000;
        /// The watch is gone.
        const IGNORED = 0x8000;
        /// The entry is a directory.
        const DIRECTORY = 0x4000_0000;
    }
}

/// `IN_ALL_EVENTS`
const ALL: u32 = 0xfff;
/// `IN_MASK_CREATE`, `IN_MASK_ADD`, `IN_ONESHOT`
const ONLY_NEW: u32 = 0x1000_0000;
const ADD: u32 = 0x2000_0000;
const ONCE: u32 = 0x8000_0000;

/// A node: the number of its file system, and its own there.
type Key = (u64, u64);

/// What one file watches of one node.
struct Watch {
    number: i32,
    wanted: Cell<u32>,
    file: Weak<WatchFile>,
    key: Key,
    /// As long as it is watched, another node cannot get its number.
    _node: Rc<dyn Node>,
}

/// All watches by the node.
static WATCHES: Global<RefCell<BTreeMap<Key, Vec<Rc<Watch>>>>> =
    Global::new(RefCell::new(BTreeMap::new()));
static NEXT_COOKIE: Global<Cell<u32>> = Global::new(Cell::new(1));

/// Something that happened, as it is read.
#[derive(PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    /// Events were lost.
    fn overflow() -> Event {
        Event {
            watch: -1,
            mask: Changes::OVERFLOW.bits(),
            cookie: 0,
            name: Vec::new(),
        }
    }

    /// `struct inotify_event`; the name ends with zeros and fills multiples of the header.
    fn bytes(&self) -> Vec<u8> {
        let length = if self.name.is_empty() {
            0
        } else {
            (self.name.len() + 1).next_multiple_of(HEADER)
        };
        let mut bytes = Vec::with_capacity(HEADER + length);
        for word in [self.watch as u32, self.mask, self.cookie, length as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEADER + length, 0);
        bytes
    }
}

/// A file from which events are read.
pub struct WatchFile {
    watches: RefCell<BTreeMap<i32, Rc<Watch>>>,
    next: Cell<i32>,
    events: RefCell<VecDeque<Event>>,
    queue: WaitQueue,
    number: u64,
    this: Weak<WatchFile>,
}

fn key_of(node: &Rc<dyn Node>) -> Key {
    let metadata = node.metadata();
    (metadata.device, metadata.number)
}

impl WatchFile {
    /// A file without watches.
    pub fn new() -> Rc<WatchFile> {
        Rc::new_cyclic(|this| WatchFile {
            watches: RefCell::default(),
            next: Cell::new(1),
            events: RefCell::default(),
            queue: WaitQueue::new(),
            number: super::anonymous::next_number(),
            this: this.clone(),
        })
    }

    /// The file for watches that an open file is.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn of(description: &Description) -> Result<&WatchFile> {
        let any: &dyn Any = &*description.file;
        any.downcast_ref::<WatchFile>().ok_or(Errno::INVAL)
    }

    /// Watches a node; the number of the watch.
    ///
    /// # Errors
    /// `EINVAL`, `EEXIST`, `ENOSPC`
    pub fn watch(&self, node: &Rc<dyn Node>, mask: u32) -> Result<i32> {
        if mask & ALL == 0 || mask & (ADD | ONLY_NEW) == ADD | ONLY_NEW {
            return Err(Errno::INVAL);
        }
        let wanted = mask & (ALL | ONCE);
        let key = key_of(node);
        let found = {
            let watches = self.watches.borrow();
            watches.values().find(|watch| watch.key == key).cloned()
        };
        if let Some(watch) = found {
            if mask & ONLY_NEW != 0 {
                return Err(Errno::EXIST);
            }
            let old = if mask & ADD != 0 {
                watch.wanted.get()
            } else {
                0
            };
            watch.wanted.set(old | wanted);
            return Ok(watch.number);
        }
        frames::check_spare()?;
        let mut all = WATCHES.borrow_mut();
        if all.values().map(Vec::len).sum::<usize>() >= MOST_WATCHES {
            return Err(Errno::NOSPC);
        }
        let number = self.next.get();
        self.next.set(number.checked_add(1).ok_or(Errno::NOSPC)?);
        let watch = Rc::new(Watch {
            number,
            wanted: Cell::new(wanted),
            file: self.this.clone(),
            key,
            _node: node.clone(),
        });
        all.entry(key).or_default().push(watch.clone());
        self.watches.borrow_mut().insert(number, watch);
        Ok(number)
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn end(&self, number: i32) -> Result<()> {
        let watch = self
            .watches
            .borrow_mut()
            .remove(&number)
            .ok_or(Errno::INVAL)?;
        forget(&watch);
        self.push(Event {
            watch: number,
            mask: Changes::IGNORED.bits(),
            cookie: 0,
            name: Vec::new(),
        });
        Ok(())
    }

    fn push(&self, event: Event) {
        {
            let mut events = self.events.borrow_mut();
            // The same thing again right after itself is one event.
            if events.back() == Some(&event) || events.len() > MOST_EVENTS {
                return;
            }
            let event = if events.len() == MOST_EVENTS || frames::check_spare().is_err() {
                Event::overflow()
            } else {
                event
            };
            // A long list needs one piece of memory, which may be missing where small ones are not.
            if events.try_reserve(1).is_ok() {
                events.push_back(event);
            } else if let Some(last) = events.back_mut() {
                *last = Event::overflow();
            }
        }
        self.queue.wake();
    }
}

/// Takes a watch out of the list of all.
fn forget(watch: &Rc<Watch>) {
    let mut all = WATCHES.borrow_mut();
    if let Some(watches) = all.get_mut(&watch.key) {
        watches.retain(|other| !Rc::ptr_eq(other, watch));
        if watches.is_empty() {
            all.remove(&watch.key);
        }
    }
}

impl Drop for WatchFile {
    fn drop(&mut self) {
        for watch in self.watches.take().into_values() {
            forget(&watch);
        }
    }
}

/// Whether nothing is watched: callers need not find out what to report.
pub fn is_idle() -> bool {
    WATCHES.borrow().is_empty()
}

/// A number that connects the two events of a rename.
pub fn next_cookie() -> u32 {
    let cookie = NEXT_COOKIE.get();
    NEXT_COOKIE.set(cookie.wrapping_add(1).max(1));
    cookie
}

/// Reports that something happened to a node, or to the entry `name` of a directory.
pub fn report(node: &Rc<dyn Node>, name: &[u8], changes: Changes, cookie: u32) {
    if is_idle() {
        return;
    }
    let watches = WATCHES.borrow().get(&key_of(node)).cloned();
    for watch in watches.unwrap_or_default() {
        let Some(file) = watch.file.upgrade() else {
            continue;
        };
        let wanted = watch.wanted.get();
        if wanted & changes.bits() & ALL == 0 {
            continue;
        }
        file.push(Event {
            watch: watch.number,
            mask: changes.bits(),
            cookie,
            name: name.to_vec(),
        });
        if wanted & ONCE != 0 || changes.contains(Changes::SELF_REMOVED) {
            // It is one of the file's watches until here.
            let _ = file.end(watch.number);
        }
    }
}

/// Reports that something happened to what is at a place: to the node, and to the entry of
/// the directory that it is in.
pub fn report_place(place: &Place, changes: Changes) {
    if is_idle() {
        return;
    }
    let changes = if place.node.kind() == Kind::Directory {
        changes | Changes::DIRECTORY
    } else {
        changes
    };
    if let Some(parent) = place.parent() {
        report(&parent.node, place.name(), changes, 0);
    }
    report(&place.node, b"", changes, 0);
}

/// Reports that a node was removed: its last name is gone, or one of several.
pub fn report_removed(node: &Rc<dyn Node>) {
    if is_idle() {
        return;
    }
    report(node, b"", Changes::METADATA, 0);
    let metadata = node.metadata();
    if metadata.links == 0 || metadata.kind == Kind::Directory {
        report(node, b"", Changes::SELF_REMOVED, 0);
    }
}

/// Reports that an open file is closed.
pub fn report_closed(description: &Description) {
    if is_idle() || description.path_only {
        return;
    }
    if let Some(place) = &description.place {
        let changes = if description.writable {
            Changes::CLOSED_WRITABLE
        } else {
            Changes::CLOSED
        };
        report_place(place, changes);
    }
}

impl File for WatchFile {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        let mut done = 0;
        loop {
            let bytes = match self.events.borrow().front() {
                Some(event) => event.bytes(),
                None if done == 0 => return Err(Errno::AGAIN),
                None => break,
            };
            if bytes.len() > out.room() {
                if done == 0 {
                    return Err(Errno::INVAL);
                }
                break;
            }
            done += out.put(&bytes)?;
            self.events.borrow_mut().pop_front();
        }
        Ok(done)
    }

    fn ready(&self) -> Events {
        if self.events.borrow().is_empty() {
            Events::empty()
        } else {
            Events::IN
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        if request != BYTES_TO_READ {
            return Err(Errno::NOTTY);
        }
        let events = self.events.borrow();
        let waiting: usize = events.iter().map(|event| event.bytes().len()).sum();
        user::write(argument, &(waiting as u32))?;
        Ok(0)
    }

    fn label(&self) -> &'static str {
        "anon_inode:inotify"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded() {
        let event = |name: &[u8]| Event {
            watch: 1,
            mask: 0x100,
            cookie: 0,
            name: name.to_vec(),
        };
        assert_eq!(event(b"").bytes().len(), 16);
        let bytes = event(b"a").bytes();
        assert_eq!((bytes.len(), bytes[12], bytes[16]), (32, 16, b'a'));
        assert_eq!(event(&[b'x'; 16]).bytes().len(), 48);
    }
}
