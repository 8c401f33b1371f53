//! Locks of files: whole files by `flock`, ranges by `fcntl`.
//!
//! A lock belongs to a process (`F_SETLK`) or to an open file (`flock`, `F_OFD_SETLK`). It goes
//! with its owner; that of a process also when the process closes any descriptor of the file.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::Description;
use crate::abi::errno::{Errno, Result};
use crate::mm::frames;
use crate::small::SmallMap;
use crate::sync::Global;
use crate::task::{self, WaitQueue};

/// The most locks of one file.
const MOST: usize = 4096;

/// Who has a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A process.
    Process(i32),
    /// An open file, by its address.
    Description(usize),
}

impl Owner {
    /// The open file itself.
    pub fn description(description: &Description) -> Owner {
        Owner::Description(core::ptr::from_ref(description).addr())
    }
}

/// A lock of a range of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Who has it.
    pub owner: Owner,
    /// Whether no one else may have a lock of the same bytes.
    pub exclusive: bool,
    /// The first byte.
    pub start: u64,
    /// The byte after the last one; `u64::MAX` for all that follow.
    pub end: u64,
}

impl Lock {
    /// A lock of a whole file.
    pub fn whole(owner: Owner, exclusive: bool) -> Lock {
        Lock {
            owner,
            exclusive,
            start: 0,
            end: u64::MAX,
        }
    }

    fn overlaps(&self, other: &Lock) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The locks of one file.
#[derive(Default)]
struct Locks(Vec<Lock>);

impl Locks {
    /// A lock of another owner that excludes `lock`.
    fn conflict(&self, lock: &Lock) -> Option<Lock> {
        let excludes = |other: &&Lock| {
            other.owner != lock.owner && other.overlaps(lock) && (other.exclusive || lock.exclusive)
        };
        let excluding = self.0.iter().filter(excludes);
        excluding.min_by_key(|other| other.start).copied()
    }

    /// Takes the bytes of `lock` out of all locks of its owner.
    fn clear(&mut self, lock: &Lock) {
        let mut kept = Vec::new();
        for other in self.0.drain(..) {
            if other.owner != lock.owner || !other.overlaps(lock) {
                kept.push(other);
                continue;
            }
            let before = Lock {
                end: lock.start,
                ..other
            };
            let after = Lock {
                start: lock.end,
                ..other
            };
            kept.extend(
                [before, after]
                    .into_iter()
                    .filter(|part| part.start < part.end),
            );
        }
        self.0 = kept;
    }

    /// Sets a lock, instead of what its owner had there before; joins neighbours.
    fn set(&mut self, mut lock: Lock) -> Result<()> {
        if self.0.len() >= MOST {
            return Err(Errno::NOLCK);
        }
        self.clear(&lock);
        let is_neighbour = |other: &Lock| {
            other.owner == lock.owner
                && other.exclusive == lock.exclusive
                && (other.end == lock.start || other.start == lock.end)
        };
        let (neighbours, others): (Vec<Lock>, Vec<Lock>) = self.0.drain(..).partition(is_neighbour);
        self.0 = others;
        for neighbour in neighbours {
            lock.start = lock.start.min(neighbour.start);
            lock.end = lock.end.max(neighbour.end);
        }
        self.0.push(lock);
        Ok(())
    }
}

/// Which kind of locks of which file: those of whole files and those of ranges do not know about
/// each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    device: u64,
    number: u64,
    whole: bool,
}

impl Key {
    /// The locks of an open file.
    pub fn new(description: &Description, whole: bool) -> Key {
        let metadata = description.metadata();
        Key {
            device: metadata.device,
            number: metadata.number,
            whole,
        }
    }
}

struct Table {
    files: RefCell<BTreeMap<Key, Locks>>,
    /// Which process waits for a lock of which other one.
    waiting: RefCell<SmallMap<i32, i32>>,
    queue: WaitQueue,
}

static TABLE: Global<Table> = Global::new(Table {
    files: RefCell::new(BTreeMap::new()),
    waiting: RefCell::new(SmallMap::new()),
    queue: WaitQueue::new(),
});

/// The lock that excludes `lock`, if there is one.
pub fn conflict(key: Key, lock: &Lock) -> Option<Lock> {
    TABLE.files.borrow().get(&key)?.conflict(lock)
}

/// Sets a lock.
///
/// # Errors
/// `EAGAIN` if another lock excludes it, `ENOLCK` for too many.
pub fn set(key: Key, lock: Lock) -> Result<()> {
    frames::check_spare().map_err(|_| Errno::NOLCK)?;
    {
        let mut files = TABLE.files.borrow_mut();
        let locks = files.entry(key).or_default();
        if locks.conflict(&lock).is_some() {
            return Err(Errno::AGAIN);
        }
        locks.set(lock)?;
    }
    // An exclusive lock may have become a shared one.
    TABLE.queue.wake();
    Ok(())
}

/// Sets a lock, and waits as long as others exclude it.
///
/// # Errors
/// `EDEADLK` if processes would wait for each other, `ENOLCK`, [`Errno::RESTART`] when a
/// signal came first.
pub fn wait_and_set(key: Key, lock: Lock) -> Result<()> {
    let own = task::current_process().id;
    let result = task::wait(&[&TABLE.queue], None, || {
        let Some(other) = conflict(key, &lock) else {
            return Some(set(key, lock));
        };
        if let (Owner::Process(other), Owner::Process(_)) = (other.owner, lock.owner) {
            if waits_for(other, own) {
                return Some(Err(Errno::DEADLK));
            }
            let noted = TABLE.waiting.borrow_mut().insert(own, other);
            if noted.is_err() {
                return Some(Err(Errno::NOLCK));
            }
        }
        None
    });
    TABLE.waiting.borrow_mut().remove(&own);
    result?.unwrap_or(Err(Errno::AGAIN))
}

/// Whether a process waits, directly or not, for a lock of another one.
fn waits_for(process: i32, other: i32) -> bool {
    let waiting = TABLE.waiting.borrow();
    let mut at = process;
    for _ in 0..=waiting.len() {
        if at == other {
            return true;
        }
        match waiting.get(&at) {
            Some(&next) => at = next,
            None => return false,
        }
    }
    false
}

/// Takes bytes out of the locks of an owner.
pub fn clear(key: Key, lock: &Lock) {
    {
        let mut files = TABLE.files.borrow_mut();
        let Some(locks) = files.get_mut(&key) else {
            return;
        };
        locks.clear(lock);
        if locks.0.is_empty() {
            files.remove(&key);
        }
    }
    TABLE.queue.wake();
}

fn has_any(owner: Owner) -> bool {
    let files = TABLE.files.borrow();
    files
        .values()
        .any(|locks| locks.0.iter().any(|lock| lock.owner == owner))
}

/// Releases everything that an owner has.
fn release(owner: Owner) {
    if !has_any(owner) {
        return;
    }
    TABLE.files.borrow_mut().retain(|_, locks| {
        locks.0.retain(|lock| lock.owner != owner);
        !locks.0.is_empty()
    });
    TABLE.queue.wake();
}

/// The running process closed a descriptor: its locks of the file go.
pub fn descriptor_closed(description: &Rc<Description>) {
    if TABLE.files.borrow().is_empty() {
        return;
    }
    let Some(thread) = task::try_current() else {
        return;
    };
    let owner = Owner::Process(thread.process.id);
    if has_any(owner) {
        clear(Key::new(description, false), &Lock::whole(owner, false));
    }
}

/// An open file is closed for good.
pub fn description_closed(description: &Description) {
    if !TABLE.files.borrow().is_empty() {
        release(Owner::description(description));
    }
}

/// A process ended.
pub fn process_ended(process: i32) {
    release(Owner::Process(process));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: i32, exclusive: bool, start: u64, end: u64) -> Lock {
        Lock {
            owner: Owner::Process(owner),
            exclusive,
            start,
            end,
        }
    }

    #[test]
    fn shared_locks_go_together_and_exclusive_ones_do_not() {
        let mut locks = Locks::default();
        locks.set(lock(1, false, 0, 10)).unwrap();
        assert_eq!(locks.conflict(&lock(2, false, 5, 6)), None);
        assert_eq!(
            locks.conflict(&lock(2, true, 5, 6)),
            Some(lock(1, false, 0, 10))
        );
        assert_eq!(locks.conflict(&lock(2, true, 10, 20)), None);
        assert_eq!(locks.conflict(&lock(1, true, 0, 20)), None);
    }

    #[test]
    fn a_part_of_a_lock_can_be_released_or_changed() {
        let mut locks = Locks::default();
        locks.set(lock(1, true, 0, u64::MAX)).unwrap();
        locks.clear(&lock(1, true, 10, 20));
        assert_eq!(locks.0, [lock(1, true, 0, 10), lock(1, true, 20, u64::MAX)]);
        locks.set(lock(1, false, 10, 20)).unwrap();
        assert_eq!(locks.0.len(), 3);
        locks.set(lock(1, true, 10, 20)).unwrap();
        assert_eq!(locks.0, [lock(1, true, 0, u64::MAX)]);
    }
}
