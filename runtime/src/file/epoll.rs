//! Epoll: a file that reports which of many other files are ready.
//!
//! Each watched file has an entry that registers in the file's wait queue. When the queue is
//! woken, the entry goes to the list of ready entries; only these are looked at by a wait.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use super::{Description, Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata};
use crate::mm::frames;
use crate::task::{WaitQueue, Wake};

/// The most files of one epoll file.
const MOST: usize = 65_536;
/// The longest chain of epoll files that watch each other.
const MOST_NESTED: usize = 4;

/// What is to be reported of a file, and how.
#[derive(Clone, Copy, Default)]
pub struct Interest {
    /// The events.
    pub events: Events,
    /// Reports a file once for each change (`EPOLLET`).
    pub edge: bool,
    /// Reports a file once, until the interest is set again (`EPOLLONESHOT`).
    pub once: bool,
    /// What the program receives with the events.
    pub data: u64,
}

/// A file is watched under a descriptor: the same file may be watched under another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    descriptor: i32,
    description: usize,
}

impl Key {
    fn new(descriptor: i32, description: &Rc<Description>) -> Key {
        Key {
            descriptor,
            description: Rc::as_ptr(description).addr(),
        }
    }
}

/// A watched file.
struct Entry {
    key: Key,
    epoll: Weak<Epoll>,
    description: Weak<Description>,
    /// `None` after a report of a file that is reported once.
    interest: Cell<Option<Interest>>,
    /// Whether the entry is in the list of ready entries.
    is_queued: Cell<bool>,
    this: Weak<Entry>,
}

impl Entry {
    /// The events to report now.
    fn events(&self) -> Events {
        match (self.description.upgrade(), self.interest.get()) {
            (Some(description), Some(interest)) => description.events(interest.events),
            _ => Events::empty(),
        }
    }
}

impl Wake for Entry {
    fn wake(&self) {
        // Whether the file is ready is found out later: it may be in the middle of a change.
        if self.is_queued.get() || self.interest.get().is_none() {
            return;
        }
        if let (Some(epoll), Some(this)) = (self.epoll.upgrade(), self.this.upgrade()) {
            self.is_queued.set(true);
            epoll.ready.borrow_mut().push_back(this);
            epoll.queue.wake();
        }
    }
}

/// The entries that watch an open file; they leave their epoll files with it.
#[derive(Default)]
pub struct Watchers(RefCell<Vec<Weak<Entry>>>);

impl Watchers {
    /// Takes the file out of all epoll files: it is closed.
    pub fn leave(&self, file: &dyn File) {
        for entry in self
            .0
            .take()
            .into_iter()
            .filter_map(|entry| entry.upgrade())
        {
            let waiter: Rc<dyn Wake> = entry.clone();
            if let Some(queue) = file.queue() {
                queue.remove(&waiter);
            }
            if let Some(epoll) = entry.epoll.upgrade() {
                epoll.forget(&entry);
            }
        }
    }
}

/// A set of watched files.
pub struct Epoll {
    entries: RefCell<BTreeMap<Key, Rc<Entry>>>,
    ready: RefCell<VecDeque<Rc<Entry>>>,
    queue: WaitQueue,
    number: u64,
    this: Weak<Epoll>,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Rc<Epoll> {
        Rc::new_cyclic(|this| Epoll {
            entries: RefCell::default(),
            ready: RefCell::default(),
            queue: WaitQueue::new(),
            number: super::anonymous::next_number(),
            this: this.clone(),
        })
    }

    /// The epoll file that an open file is.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn of(description: &Description) -> Result<&Epoll> {
        let any: &dyn Any = &*description.file;
        any.downcast_ref::<Epoll>().ok_or(Errno::INVAL)
    }

    /// Watches a file.
    ///
    /// # Errors
    /// `EPERM` for a file that is always ready, `EEXIST`, `ENOSPC`; `ELOOP` and `EINVAL` for
    /// epoll files that would watch themselves or that are nested too deeply.
    pub fn add(
        &self,
        descriptor: i32,
        description: &Rc<Description>,
        interest: Interest,
    ) -> Result<()> {
        let queue = description.file.queue().ok_or(Errno::PERM)?;
        if let Ok(other) = Epoll::of(description) {
            self.check_nesting(other)?;
        }
        frames::check_spare()?;
        let key = Key::new(descriptor, description);
        let entry = Rc::new_cyclic(|this| Entry {
            key,
            epoll: self.this.clone(),
            description: Rc::downgrade(description),
            interest: Cell::new(Some(interest)),
            is_queued: Cell::new(false),
            this: this.clone(),
        });
        {
            let mut entries = self.entries.borrow_mut();
            if entries.contains_key(&key) {
                return Err(Errno::EXIST);
            }
            if entries.len() >= MOST {
                return Err(Errno::NOSPC);
            }
            entries.insert(key, entry.clone());
        }
        description
            .watchers
            .0
            .borrow_mut()
            .push(Rc::downgrade(&entry));
        queue.add(entry.clone());
        if !entry.events().is_empty() {
            entry.wake();
        }
        Ok(())
    }

    /// Changes what is reported of a file.
    ///
    /// # Errors
    /// `ENOENT`
    pub fn modify(
        &self,
        descriptor: i32,
        description: &Rc<Description>,
        interest: Interest,
    ) -> Result<()> {
        let entry = self.find(descriptor, description)?;
        entry.interest.set(Some(interest));
        if !entry.events().is_empty() {
            entry.wake();
        }
        Ok(())
    }

    /// Stops watching a file.
    ///
    /// # Errors
    /// `ENOENT`
    pub fn remove(&self, descriptor: i32, description: &Rc<Description>) -> Result<()> {
        let entry = self.find(descriptor, description)?;
        self.forget(&entry);
        detach(&entry);
        Ok(())
    }

    fn find(&self, descriptor: i32, description: &Rc<Description>) -> Result<Rc<Entry>> {
        let key = Key::new(descriptor, description);
        self.entries.borrow().get(&key).cloned().ok_or(Errno::NOENT)
    }

    /// Takes an entry out of the set.
    fn forget(&self, entry: &Rc<Entry>) {
        let gone = self.entries.borrow_mut().remove(&entry.key);
        if entry.is_queued.get() {
            self.ready
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, entry));
        }
        entry.interest.set(None);
        drop(gone);
    }

    /// Takes the events of at most `most` ready files, with the data of their interests.
    pub fn take(&self, most: usize) -> Vec<(Events, u64)> {
        let mut found = Vec::new();
        // Entries that stay in the list go to its end and are not looked at again.
        let count = self.ready.borrow().len();
        for _ in 0..count {
            if found.len() == most {
                break;
            }
            let Some(entry) = self.ready.borrow_mut().pop_front() else {
                break;
            };
            entry.is_queued.set(false);
            let (events, Some(interest)) = (entry.events(), entry.interest.get()) else {
                continue;
            };
            if events.is_empty() {
                continue;
            }
            if interest.once {
                entry.interest.set(None);
            } else if !interest.edge {
                entry.is_queued.set(true);
                self.ready.borrow_mut().push_back(entry);
            }
            found.push((events, interest.data));
        }
        found
    }

    /// The epoll files that this one watches.
    fn nested(&self) -> Vec<Rc<Description>> {
        let entries = self.entries.borrow();
        entries
            .values()
            .filter_map(|entry| entry.description.upgrade())
            .filter(|description| Epoll::of(description).is_ok())
            .collect()
    }

    /// The epoll files that watch this one.
    fn watching(&self) -> Vec<Rc<Epoll>> {
        let waiters = self.queue.waiters();
        waiters
            .iter()
            .filter_map(|waiter| {
                let any: &dyn Any = &**waiter;
                any.downcast_ref::<Entry>()?.epoll.upgrade()
            })
            .collect()
    }

    /// Checks that this file may watch another epoll file: no chain may be a ring or long.
    fn check_nesting(&self, other: &Epoll) -> Result<()> {
        if core::ptr::eq(self, other) {
            return Err(Errno::INVAL);
        }
        let mut above = 0;
        let mut level: Vec<Rc<Epoll>> = self.this.upgrade().into_iter().collect();
        while !level.is_empty() && above <= MOST_NESTED {
            above += 1;
            let next: BTreeMap<usize, Rc<Epoll>> = level
                .iter()
                .flat_map(|epoll| epoll.watching())
                .map(|epoll| (Rc::as_ptr(&epoll).addr(), epoll))
                .collect();
            level = next.into_values().collect();
        }
        let own = core::ptr::from_ref(self).addr();
        let mut below = 0;
        let mut level: Vec<Rc<Epoll>> = other.this.upgrade().into_iter().collect();
        while !level.is_empty() && below <= MOST_NESTED {
            below += 1;
            let mut seen = BTreeSet::new();
            let mut next = Vec::new();
            for description in level.iter().flat_map(|epoll| epoll.nested()) {
                let Ok(epoll) = Epoll::of(&description) else {
                    continue;
                };
                let address = core::ptr::from_ref(epoll).addr();
                if address == own {
                    return Err(Errno::LOOP);
                }
                if seen.insert(address) {
                    next.extend(epoll.this.upgrade());
                }
            }
            level = next;
        }
        if above + below > MOST_NESTED + 1 {
            Err(Errno::INVAL)
        } else {
            Ok(())
        }
    }
}

/// Takes an entry out of the file that it watches.
fn detach(entry: &Rc<Entry>) {
    let Some(description) = entry.description.upgrade() else {
        return;
    };
    let waiter: Rc<dyn Wake> = entry.clone();
    if let Some(queue) = description.file.queue() {
        queue.remove(&waiter);
    }
    description
        .watchers
        .0
        .borrow_mut()
        .retain(|other| !core::ptr::eq(other.as_ptr(), Rc::as_ptr(entry)));
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for entry in self.entries.take().into_values() {
            detach(&entry);
        }
    }
}

impl File for Epoll {
    fn ready(&self) -> Events {
        // What is not ready any more leaves the list, so that this ends soon the next time.
        loop {
            let Some(entry) = self.ready.borrow_mut().pop_front() else {
                return Events::empty();
            };
            entry.is_queued.set(false);
            if !entry.events().is_empty() {
                entry.is_queued.set(true);
                self.ready.borrow_mut().push_front(entry);
                return Events::IN;
            }
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[eventpoll]"
    }
}
