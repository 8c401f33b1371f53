//! Futexes: waiting for a number in memory to change.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use super::{Thread, WaitQueue, wait};
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::mm::{Space, user};
use crate::sync::Global;

/// Which memory a futex is: an address of one program, or a place in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Private { space: usize, address: usize },
    Shared { physical: usize },
}

struct Waiter {
    bits: u32,
    key: Cell<Key>,
    woken: Cell<bool>,
    queue: WaitQueue,
}

type Waiters = BTreeMap<Key, VecDeque<Rc<Waiter>>>;
static WAITERS: Global<RefCell<Waiters>> = Global::new(RefCell::new(BTreeMap::new()));

/// `FUTEX_BITSET_MATCH_ANY`
pub const ANY: u32 = u32::MAX;

fn key(address: usize) -> Result<Key> {
    if !address.is_multiple_of(4) {
        return Err(Errno::INVAL);
    }
    let space = Space::current().ok_or(Errno::FAULT)?;
    if space.is_shared_at(address) {
        let frame = space.frame(address, false)?;
        return Ok(Key::Shared {
            physical: frame.physical() + address % PAGE,
        });
    }
    Ok(Key::Private {
        space: Rc::as_ptr(&space) as usize,
        address,
    })
}

/// Waits until someone wakes the futex at `address`, which must hold `expected`.
///
/// # Errors
/// `EAGAIN` if it does not hold it, `ETIMEDOUT`, [`Errno::RESTART`] for a signal.
pub fn wait_address(address: usize, expected: u32, bits: u32, deadline: Option<u64>) -> Result<()> {
    if bits == 0 {
        return Err(Errno::INVAL);
    }
    let key = key(address)?;
    if user::read::<u32>(address)? != expected {
        return Err(Errno::AGAIN);
    }
    let waiter = Rc::new(Waiter {
        bits,
        key: Cell::new(key),
        woken: Cell::new(false),
        queue: WaitQueue::new(),
    });
    WAITERS
        .borrow_mut()
        .entry(key)
        .or_default()
        .push_back(waiter.clone());
    let result = wait(&[&waiter.queue], deadline, || {
        waiter.woken.get().then_some(())
    });
    if waiter.woken.get() {
        return Ok(());
    }
    remove(&waiter);
    match result? {
        Some(()) => Ok(()),
        None => Err(Errno::TIMEDOUT),
    }
}

fn remove(waiter: &Rc<Waiter>) {
    let mut waiters = WAITERS.borrow_mut();
    let key = waiter.key.get();
    if let Some(list) = waiters.get_mut(&key) {
        list.retain(|other| !Rc::ptr_eq(other, waiter));
        if list.is_empty() {
            waiters.remove(&key);
        }
    }
}

fn wake_key(key: Key, most: usize, bits: u32) -> usize {
    let mut woken = 0;
    while woken < most {
        let next = {
            let mut waiters = WAITERS.borrow_mut();
            let Some(list) = waiters.get_mut(&key) else {
                break;
            };
            let index = list.iter().position(|waiter| waiter.bits & bits != 0);
            let next = index.and_then(|index| list.remove(index));
            if list.is_empty() {
                waiters.remove(&key);
            }
            next
        };
        let Some(waiter) = next else { break };
        waiter.woken.set(true);
        waiter.queue.wake();
        woken += 1;
    }
    woken
}

/// Wakes up to `most` waiters whose bits match; how many there were.
///
/// # Errors
/// `EINVAL`, `EFAULT`
pub fn wake_bits(address: usize, most: usize, bits: u32) -> Result {
    if bits == 0 {
        return Err(Errno::INVAL);
    }
    Ok(wake_key(key(address)?, most, bits))
}

/// Wakes up to `most` waiters; an address that is none wakes no one.
pub fn wake_address(address: usize, most: usize) {
    if let Ok(key) = key(address) {
        wake_key(key, most, ANY);
    }
}

/// Wakes up to `most` waiters and lets up to `moved` others wait at `target` instead.
///
/// # Errors
/// `EAGAIN` if the futex does not hold `expected`.
pub fn requeue(
    address: usize,
    most: usize,
    target: usize,
    moved: usize,
    expected: Option<u32>,
) -> Result<(usize, usize)> {
    let (from, to) = (key(address)?, key(target)?);
    if let Some(expected) = expected
        && user::read::<u32>(address)? != expected
    {
        return Err(Errno::AGAIN);
    }
    let woken = wake_key(from, most, ANY);
    let mut count = 0;
    if from != to {
        let mut waiters = WAITERS.borrow_mut();
        let mut list = waiters.remove(&from).unwrap_or_default();
        while count < moved {
            let Some(waiter) = list.pop_front() else {
                break;
            };
            waiter.key.set(to);
            waiters.entry(to).or_default().push_back(waiter);
            count += 1;
        }
        if !list.is_empty() {
            waiters.insert(from, list);
        }
    }
    Ok((woken, count))
}

/// Changes one futex and wakes waiters of it and of another (`FUTEX_WAKE_OP`).
///
/// # Errors
/// `EINVAL`, `EFAULT`, `ENOSYS` for an operation that there is not.
pub fn wake_operation(
    address: usize,
    most: usize,
    target: usize,
    most_target: usize,
    operation: u32,
) -> Result {
    let mut argument = (operation >> 12 & 0xfff) as i32;
    let compared = (operation << 20) as i32 >> 20;
    argument = (argument << 20) >> 20;
    if operation >> 28 & 8 != 0 {
        argument = 1_i32.wrapping_shl(argument as u32);
    }
    let old: u32 = user::read(target)?;
    let new = match operation >> 28 & 7 {
        0 => argument as u32,
        1 => old.wrapping_add(argument as u32),
        2 => old | argument as u32,
        3 => old & !(argument as u32),
        4 => old ^ argument as u32,
        _ => return Err(Errno::NOSYS),
    };
    user::write(target, &new)?;
    let old = old as i32;
    let holds = match operation >> 24 & 0xf {
        0 => old == compared,
        1 => old != compared,
        2 => old < compared,
        3 => old <= compared,
        4 => old > compared,
        5 => old >= compared,
        _ => return Err(Errno::NOSYS),
    };
    let mut woken = wake_bits(address, most, ANY)?;
    if holds {
        woken += wake_bits(target, most_target, ANY)?;
    }
    Ok(woken)
}

/// Takes a lock whose owner's number is in the futex (`FUTEX_LOCK_PI`); threads all have the
/// same priority, so that there is none to inherit.
///
/// # Errors
/// `EDEADLK` for a lock that the thread has, `ESRCH` if its owner is gone, `EAGAIN` if it is taken
/// and `deadline` has passed already, `ETIMEDOUT`.
pub fn lock_owned(address: usize, deadline: Option<u64>) -> Result<()> {
    let own = super::current().id().cast_unsigned();
    loop {
        let value: u32 = user::read(address)?;
        let owner = value & OWNER;
        if owner == 0 {
            let kept = value & (OWNER_DIED | WAITERS_BIT);
            return user::write(address, &(own | kept));
        }
        if owner == own {
            return Err(Errno::DEADLK);
        }
        if deadline == Some(0) {
            return Err(Errno::AGAIN);
        }
        if super::find_thread(owner.cast_signed()).is_none() {
            return Err(Errno::SRCH);
        }
        let waited = value | WAITERS_BIT;
        user::write(address, &waited)?;
        match wait_address(address, waited, ANY, deadline) {
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives such a lock back and wakes the first who waits for it.
///
/// # Errors
/// `EPERM` for the lock of another thread.
pub fn unlock_owned(address: usize) -> Result<()> {
    let own = super::current().id().cast_unsigned();
    let value: u32 = user::read(address)?;
    if value & OWNER != own {
        return Err(Errno::PERM);
    }
    let key = key(address)?;
    let others = WAITERS.borrow().get(&key).map_or(0, VecDeque::len);
    let left = if others > 1 { WAITERS_BIT } else { 0 };
    user::write(address, &left)?;
    wake_key(key, 1, ANY);
    Ok(())
}

/// The most entries of a robust list that are followed.
const MOST_ROBUST: usize = 2048;
const OWNER_DIED: u32 = 0x4000_0000;
const WAITERS_BIT: u32 = 0x8000_0000;
const OWNER: u32 = 0x3fff_ffff;

/// Marks the locks that a thread held when it ended, and wakes those who wait for them.
pub fn release_robust_list(thread: &Rc<Thread>) {
    let head = thread.robust_list.get();
    if head == 0 {
        return;
    }
    let mut words = [0_u64; 3];
    if user::read_words(head, &mut words).is_err() {
        return;
    }
    let [mut entry, offset, pending] = words.map(|word| word as usize);
    let release = |entry: usize| {
        let address = (entry & !1).wrapping_add(offset);
        let Ok(value) = user::read::<u32>(address) else {
            return;
        };
        if value & OWNER == thread.id() as u32
            && user::write(address, &(value & WAITERS_BIT | OWNER_DIED)).is_ok()
            && value & WAITERS_BIT != 0
        {
            wake_address(address, 1);
        }
    };
    for _ in 0..MOST_ROBUST {
        if entry & !1 == head {
            break;
        }
        let Ok(next) = user::read::<usize>(entry & !1) else {
            break;
        };
        if entry != pending {
            release(entry);
        }
        entry = next;
    }
    if pending != 0 {
        release(pending);
    }
}
