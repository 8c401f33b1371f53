//! System V IPC: shared memory, semaphores and message queues (`sysvipc(7)`).

pub mod memory;
pub mod messages;
pub mod semaphores;

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use crate::abi::errno::{Errno, Result};
use crate::mm::frames;
use crate::task::{self, Credentials};
use crate::time::{self, SECOND};

/// `IPC_CREAT`, `IPC_EXCL`
const CREATE: usize = 0o1000;
const EXCLUSIVE: usize = 0o2000;
/// `IPC_NOWAIT`
pub const NO_WAIT: usize = 0o4000;
/// Reading and writing, as bits of permissions.
pub const READ: u32 = 4;
/// See [`READ`].
pub const WRITE: u32 = 2;

/// What all kinds of objects have (`struct ipc_perm`).
pub struct Identity {
    /// The number by which programs name the object.
    pub id: i32,
    key: i32,
    owner: Cell<(u32, u32)>,
    creator: (u32, u32),
    mode: Cell<u32>,
    /// When it was made or changed, in seconds since 1970.
    pub changed: Cell<u64>,
}

/// Seconds since 1970.
fn now() -> u64 {
    time::wall_clock() / SECOND
}

fn credentials() -> Credentials {
    task::current_process().credentials.borrow().clone()
}

impl Identity {
    /// Checks that the running process may read or write.
    ///
    /// # Errors
    /// `EACCES`
    pub fn check(&self, wanted: u32) -> Result<()> {
        let credentials = credentials();
        let (user, group) = self.owner.get();
        let is_member =
            |group: u32| group == credentials.group() || credentials.others.contains(&group);
        let shift = if user == credentials.user() || self.creator.0 == credentials.user() {
            6
        } else if is_member(group) || is_member(self.creator.1) {
            3
        } else {
            0
        };
        if credentials.is_root() || self.mode.get() >> shift & wanted == wanted {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    /// Checks that the running process may change or remove the object.
    ///
    /// # Errors
    /// `EPERM`
    pub fn check_owner(&self) -> Result<()> {
        let user = credentials().user();
        if user == 0 || user == self.owner.get().0 || user == self.creator.0 {
            Ok(())
        } else {
            Err(Errno::PERM)
        }
    }

    /// Changes owner and permissions (`IPC_SET`).
    pub fn change(&self, user: u32, group: u32, mode: u32) {
        self.owner.set((user, group));
        self.mode.set(mode & 0o777);
        self.changed.set(now());
    }

    /// The first words of `struct ipc64_perm`, with more bits for the mode.
    pub fn words(&self, more: u32) -> [u64; 6] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let (user, group) = self.owner.get();
        [
            pair(self.key as u32, user),
            pair(group, self.creator.0),
            pair(self.creator.1, self.mode.get() | more),
            0,
            0,
            0,
        ]
    }
}

/// An object of one kind.
pub trait Object {
    /// What all kinds have.
    fn identity(&self) -> &Identity;

    /// Whether it is gone: it was removed and nothing uses it.
    fn is_gone(&self) -> bool {
        false
    }
}

/// All objects of one kind.
pub struct Registry<T> {
    objects: RefCell<BTreeMap<i32, Rc<T>>>,
    next: Cell<i32>,
    most: usize,
}

impl<T: Object> Registry<T> {
    /// An empty registry for at most `most` objects.
    pub const fn new(most: usize) -> Registry<T> {
        Registry {
            objects: RefCell::new(BTreeMap::new()),
            next: Cell::new(0),
            most,
        }
    }

    /// The object with a key, made by `make` if the flags ask for it; `check` looks whether
    /// one that is there already fits.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, and those of `make` and `check`.
    pub fn get(
        &self,
        key: i32,
        flags: usize,
        make: impl FnOnce(Identity) -> Result<T>,
        check: impl FnOnce(&T) -> Result<()>,
    ) -> Result<i32> {
        /// `IPC_PRIVATE`
        const PRIVATE: i32 = 0;
        self.forget_gone();
        if key != PRIVATE {
            let found = self.find_key(key);
            if let Some(object) = found {
                if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                    return Err(Errno::EXIST);
                }
                let wanted = (flags >> 6 | flags >> 3 | flags) as u32 & (READ | WRITE);
                object.identity().check(wanted)?;
                check(&object)?;
                return Ok(object.identity().id);
            }
            if flags & CREATE == 0 {
                return Err(Errno::NOENT);
            }
        }
        frames::check_spare()?;
        if self.objects.borrow().len() >= self.most {
            return Err(Errno::NOSPC);
        }
        let mut id = self.next.get();
        while self.objects.borrow().contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        self.next.set(id.wrapping_add(1) & i32::MAX);
        let credentials = credentials();
        let owner = (credentials.user(), credentials.group());
        let object = make(Identity {
            id,
            key,
            owner: Cell::new(owner),
            creator: owner,
            mode: Cell::new(flags as u32 & 0o777),
            changed: Cell::new(now()),
        })?;
        self.objects.borrow_mut().insert(id, Rc::new(object));
        Ok(id)
    }

    fn find_key(&self, key: i32) -> Option<Rc<T>> {
        let objects = self.objects.borrow();
        objects
            .values()
            .find(|object| object.identity().key == key)
            .cloned()
    }

    fn forget_gone(&self) {
        let gone: alloc::vec::Vec<Rc<T>> = {
            let objects = self.objects.borrow();
            let gone = objects.values().filter(|object| object.is_gone());
            gone.cloned().collect()
        };
        for object in gone {
            self.remove(object.identity().id);
        }
    }

    /// The object with a number.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn find(&self, id: i32) -> Result<Rc<T>> {
        let object = self.objects.borrow().get(&id).cloned();
        object
            .filter(|object| !object.is_gone())
            .ok_or(Errno::INVAL)
    }

    /// Forgets everything, for the next test.
    #[cfg(test)]
    fn clear(&self) {
        drop(self.objects.take());
        self.next.set(0);
    }

    /// Forgets an object.
    pub fn remove(&self, id: i32) {
        let gone = self.objects.borrow_mut().remove(&id);
        drop(gone);
    }

    /// All objects.
    pub fn all(&self) -> alloc::vec::Vec<Rc<T>> {
        self.objects.borrow().values().cloned().collect()
    }
}

/// A process ended: its changes of semaphores are undone.
pub fn process_ended(process: i32) {
    semaphores::undo(process);
}

/// Forgets all objects, for the next test.
#[cfg(test)]
pub fn forget_all() {
    memory::forget_all();
    semaphores::forget_all();
    messages::forget_all();
}
