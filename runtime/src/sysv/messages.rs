//! Message queues (`msgget`, `msgsnd`, `msgrcv`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::{Identity, NO_WAIT, Object, READ, Registry, WRITE};
use crate::abi::errno::{Errno, Result};
use crate::mm::frames;
use crate::sync::Global;
use crate::task::{self, WaitQueue};

/// Bytes of a message at most.
pub const LONGEST: usize = 8192;
/// Bytes that a queue holds at most.
const CAPACITY: usize = 16_384;
/// `MSG_NOERROR`, `MSG_EXCEPT`
const CUT: usize = 0o10_000;
const EXCEPT: usize = 0o20_000;

/// A message.
pub struct Message {
    /// Its type, above 0.
    pub kind: i64,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// A queue of messages.
pub struct Queue {
    identity: Identity,
    messages: RefCell<VecDeque<Message>>,
    used: Cell<usize>,
    capacity: Cell<usize>,
    /// When a message was sent and received last, and by whom.
    sent: Cell<(u64, i32)>,
    received: Cell<(u64, i32)>,
    removed: Cell<bool>,
    queue: WaitQueue,
}

static QUEUES: Global<Registry<Queue>> = Global::new(Registry::new(128));

impl Object for Queue {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Finds or makes a queue (`msgget`); its number.
///
/// # Errors
/// Those of [`Registry::get`].
pub fn get(key: i32, flags: usize) -> Result<i32> {
    let make = |identity| {
        Ok(Queue {
            identity,
            messages: RefCell::default(),
            used: Cell::new(0),
            capacity: Cell::new(CAPACITY),
            sent: Cell::default(),
            received: Cell::default(),
            removed: Cell::new(false),
            queue: WaitQueue::new(),
        })
    };
    QUEUES.get(key, flags, make, |_| Ok(()))
}

/// Sends a message (`msgsnd`), and waits for space.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`, `EINTR`, `EAGAIN` when it would wait.
pub fn send(id: i32, message: Message, flags: usize) -> Result<()> {
    let queue = QUEUES.find(id)?;
    queue.identity.check(WRITE)?;
    frames::check_spare()?;
    let length = message.bytes.len();
    let mut message = Some(message);
    let result = task::wait(&[&queue.queue], None, || {
        if queue.removed.get() {
            return Some(Err(Errno::IDRM));
        }
        let mut messages = queue.messages.borrow_mut();
        // Empty messages count too, as on Linux.
        if queue.used.get() + length <= queue.capacity.get()
            && messages.len() < queue.capacity.get()
        {
            messages.extend(message.take());
            queue.used.set(queue.used.get() + length);
            return Some(Ok(()));
        }
        (flags & NO_WAIT != 0).then_some(Err(Errno::AGAIN))
    });
    result
        .map_err(|_| Errno::INTR)?
        .unwrap_or(Err(Errno::AGAIN))?;
    let process = task::current_process().id;
    queue.sent.set((super::now(), process));
    queue.queue.wake();
    Ok(())
}

/// Which message is wanted: any, one of a type, or the lowest type up to a bound.
fn choose(messages: &VecDeque<Message>, kind: i64, flags: usize) -> Option<usize> {
    match kind {
        0 => (!messages.is_empty()).then_some(0),
        1.. => messages
            .iter()
            .position(|message| (message.kind == kind) != (flags & EXCEPT != 0)),
        _ => {
            let most = kind.checked_neg().unwrap_or(i64::MAX);
            messages
                .iter()
                .enumerate()
                .filter(|(_, message)| message.kind <= most)
                .min_by_key(|(_, message)| message.kind)
                .map(|(index, _)| index)
        }
    }
}

/// Receives a message of at most `most` bytes (`msgrcv`), and waits for it.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`, `EINTR`, `E2BIG`, `ENOMSG` when it would wait.
pub fn receive(id: i32, most: usize, kind: i64, flags: usize) -> Result<Message> {
    let queue = QUEUES.find(id)?;
    queue.identity.check(READ)?;
    let result = task::wait(&[&queue.queue], None, || {
        if queue.removed.get() {
            return Some(Err(Errno::IDRM));
        }
        let mut messages = queue.messages.borrow_mut();
        let Some(index) = choose(&messages, kind, flags) else {
            return (flags & NO_WAIT != 0).then_some(Err(Errno::NOMSG));
        };
        let length = messages.get(index).map_or(0, |message| message.bytes.len());
        if length > most && flags & CUT == 0 {
            return Some(Err(Errno::TOO_BIG));
        }
        queue.used.set(queue.used.get() - length);
        messages.remove(index).map(Ok)
    });
    let mut message = result
        .map_err(|_| Errno::INTR)?
        .unwrap_or(Err(Errno::NOMSG))?;
    message.bytes.truncate(most);
    let process = task::current_process().id;
    queue.received.set((super::now(), process));
    queue.queue.wake();
    Ok(message)
}

/// `struct msqid64_ds` of a queue (`IPC_STAT`).
///
/// # Errors
/// `EINVAL`, `EACCES`
pub fn status(id: i32) -> Result<[u64; 15]> {
    let queue = QUEUES.find(id)?;
    queue.identity.check(READ)?;
    let (sent, sender) = queue.sent.get();
    let (received, receiver) = queue.received.get();
    let mut words = [0; 15];
    words[..6].copy_from_slice(&queue.identity.words(0));
    words[6..13].copy_from_slice(&[
        sent,
        received,
        queue.identity.changed.get(),
        queue.used.get() as u64,
        queue.messages.borrow().len() as u64,
        queue.capacity.get() as u64,
        sender as u64 | (receiver as u64) << 32,
    ]);
    Ok(words)
}

/// Changes owner, permissions and how many bytes the queue holds (`IPC_SET`).
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn change(id: i32, user: u32, group: u32, mode: u32, capacity: usize) -> Result<()> {
    let queue = QUEUES.find(id)?;
    queue.identity.check_owner()?;
    queue.identity.change(user, group, mode);
    queue.capacity.set(capacity.clamp(1, CAPACITY));
    queue.queue.wake();
    Ok(())
}

/// Removes a queue (`IPC_RMID`); who waits for it learns that it is gone.
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn remove(id: i32) -> Result<()> {
    let queue = QUEUES.find(id)?;
    queue.identity.check_owner()?;
    queue.removed.set(true);
    QUEUES.remove(id);
    queue.queue.wake();
    Ok(())
}

/// Forgets all of them, for the next test.
#[cfg(test)]
pub(super) fn forget_all() {
    QUEUES.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_chosen_by_type() {
        let messages: VecDeque<Message> = [3, 1, 2, 1]
            .map(|kind| Message {
                kind,
                bytes: Vec::new(),
            })
            .into();
        assert_eq!(choose(&messages, 0, 0), Some(0));
        assert_eq!(choose(&messages, 1, 0), Some(1));
        assert_eq!(choose(&messages, 3, EXCEPT), Some(1));
        assert_eq!(choose(&messages, -2, 0), Some(1));
        assert_eq!(choose(&messages, 9, 0), None);
        assert_eq!(choose(&messages, i64::MIN, 0), Some(1));
    }
}
