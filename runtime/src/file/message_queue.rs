//! POSIX message queues (mq_overview(7)): messages with priorities between processes that know the
//! name of the queue.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::{Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata};
use crate::mm::frames;
use crate::signal::{Info, Signal};
use crate::small::SmallMap;
use crate::sync::Global;
use crate::task::{Credentials, Process, WaitQueue};

/// The most queues (`fs.mqueue.queues_max`).
const MOST_QUEUES: usize = 256;
/// Bytes that a message counts beside its own.
const OVERHEAD: u64 = 64;
/// `si_code` of the signal that a message came.
const MESSAGE_CAME: i32 = -3;

/// How many messages fit into a queue, and bytes into each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: u32,
    /// Bytes of a message.
    pub bytes: u32,
}

impl Capacity {
    /// What a queue has when no one says.
    pub const USUAL: Capacity = Capacity {
        messages: 10,
        bytes: 8192,
    };
    /// The most that root may ask for.
    pub const MOST: Capacity = Capacity {
        messages: 65_536,
        bytes: 16 << 20,
    };

    /// The bytes that a full queue has.
    fn total(self) -> u64 {
        u64::from(self.messages).saturating_mul(u64::from(self.bytes) + OVERHEAD)
    }
}

/// Who is notified of the next message.
pub struct Notice {
    /// The process.
    pub process: Weak<Process>,
    /// The signal with its value; none where only the place is taken.
    pub signal: Option<(Signal, u64)>,
}

/// A queue.
pub struct MessageQueue {
    capacity: Capacity,
    /// By priority, the highest first, then by age.
    messages: RefCell<BTreeMap<(u32, u64), Vec<u8>>>,
    next: Cell<u64>,
    notice: RefCell<Option<Notice>>,
    queue: WaitQueue,
    metadata: Metadata,
}

type Names = SmallMap<Box<[u8]>, Rc<MessageQueue>>;

static NAMES: Global<RefCell<Names>> = Global::new(RefCell::new(Names::new()));

/// The queue with a name.
pub fn find(name: &[u8]) -> Option<Rc<MessageQueue>> {
    NAMES.borrow().get(name).cloned()
}

/// Makes a queue with a name that no other has. All queues together have at most `limit` bytes.
///
/// # Errors
/// `ENOSPC` where there are too many, `EMFILE` where they are too large.
pub fn create(
    name: &[u8],
    capacity: Capacity,
    permissions: u32,
    credentials: &Credentials,
    limit: u64,
) -> Result<Rc<MessageQueue>> {
    frames::check_spare()?;
    let mut names = NAMES.borrow_mut();
    if names.len() >= MOST_QUEUES {
        return Err(Errno::NOSPC);
    }
    let taken = names.iter().map(|(_, other)| other.capacity.total());
    let taken = taken.fold(capacity.total(), u64::saturating_add);
    if taken > limit {
        return Err(Errno::MFILE);
    }
    let queue = Rc::new(MessageQueue {
        capacity,
        messages: RefCell::default(),
        next: Cell::new(0),
        notice: RefCell::default(),
        queue: WaitQueue::new(),
        metadata: Metadata {
            permissions,
            user: credentials.user(),
            group: credentials.group(),
            ..Metadata::anonymous(Kind::File, super::anonymous::next_number())
        },
    });
    names
        .insert(name.into(), queue.clone())
        .map_err(|_| Errno::NOSPC)?;
    Ok(queue)
}

/// Takes the name from a queue, which lives as long as it is open.
///
/// # Errors
/// `ENOENT`; `EACCES` for the queue of another user.
pub fn remove(name: &[u8], credentials: &Credentials) -> Result<()> {
    let queue = find(name).ok_or(Errno::NOENT)?;
    if !credentials.is_root() && credentials.user() != queue.metadata.user {
        return Err(Errno::ACCES);
    }
    let gone = NAMES.borrow_mut().remove(name);
    drop(gone);
    Ok(())
}

impl MessageQueue {
    /// How much fits into it.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How many messages are in it.
    pub fn length(&self) -> usize {
        self.messages.borrow().len()
    }

    fn is_full(&self) -> bool {
        self.length() >= self.capacity.messages as usize
    }

    /// Takes the message out of `message` and puts it into the queue.
    ///
    /// # Errors
    /// `EAGAIN`
    pub fn send(&self, message: &mut Option<Vec<u8>>, priority: u32) -> Result<()> {
        if self.is_full() {
            return Err(Errno::AGAIN);
        }
        let Some(bytes) = message.take() else {
            return Ok(());
        };
        let was_empty = self.length() == 0;
        // Someone who waits for a message gets it without a signal.
        let awaited = !self.queue.is_empty();
        let order = self.next.get();
        self.next.set(order + 1);
        let key = (u32::MAX - priority, order);
        self.messages.borrow_mut().insert(key, bytes);
        self.queue.wake();
        if was_empty && !awaited {
            self.notify();
        }
        Ok(())
    }

    /// The next message with its priority.
    ///
    /// # Errors
    /// `EAGAIN`
    pub fn receive(&self) -> Result<(Vec<u8>, u32)> {
        let first = self.messages.borrow_mut().pop_first();
        let ((key, _), bytes) = first.ok_or(Errno::AGAIN)?;
        self.queue.wake();
        Ok((bytes, u32::MAX - key))
    }

    fn notify(&self) {
        let Some(notice) = self.notice.take() else {
            return;
        };
        if let (Some(process), Some((signal, value))) = (notice.process.upgrade(), notice.signal) {
            let sender = crate::net::socket::own_credentials();
            let who = u64::from(sender[0]) | u64::from(sender[1]) << 32;
            process.send(Info::with_value(signal, MESSAGE_CAME, who, value));
        }
    }

    /// Has someone notified of the next message; `None` withdraws that of `process`.
    ///
    /// # Errors
    /// `EBUSY` while someone else is.
    pub fn set_notice(&self, process: &Rc<Process>, notice: Option<Notice>) -> Result<()> {
        let holder = self.notice.borrow().as_ref().map(|one| one.process.clone());
        let holder = holder.and_then(|holder| holder.upgrade());
        match (holder, notice) {
            (Some(_), Some(_)) => Err(Errno::BUSY),
            (Some(holder), None) if !Rc::ptr_eq(&holder, process) => Ok(()),
            (_, notice) => {
                *self.notice.borrow_mut() = notice;
                Ok(())
            }
        }
    }
}

impl File for MessageQueue {
    fn ready(&self) -> Events {
        let mut events = Events::empty();
        events.set(Events::IN, self.length() > 0);
        events.set(Events::OUT, !self.is_full());
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        self.metadata
    }

    fn label(&self) -> &'static str {
        "mqueue"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::machine;

    fn queue(name: &[u8], messages: u32) -> Result<Rc<MessageQueue>> {
        let capacity = Capacity { messages, bytes: 8 };
        create(name, capacity, 0o600, &Credentials::default(), 10_000)
    }

    #[test]
    fn the_highest_priority_comes_first_and_then_the_oldest() {
        let _machine = machine();
        let queue = queue(b"order", 3).unwrap();
        let send = |text: &[u8], priority| queue.send(&mut Some(text.to_vec()), priority);
        for (text, priority) in [(b"a", 1), (b"b", 2), (b"c", 1)] {
            assert_eq!(send(text, priority), Ok(()));
        }
        assert_eq!(send(b"d", 9), Err(Errno::AGAIN));
        assert_eq!(queue.ready(), Events::IN);
        for (text, priority) in [(b"b", 2), (b"a", 1), (b"c", 1)] {
            assert_eq!(queue.receive(), Ok((text.to_vec(), priority)));
        }
        assert_eq!(queue.receive(), Err(Errno::AGAIN));
        remove(b"order", &Credentials::default()).unwrap();
    }

    #[test]
    fn queues_have_a_limit_together() {
        let _machine = machine();
        assert!(queue(b"large", 100).is_ok());
        assert_eq!(queue(b"larger", 100).err(), Some(Errno::MFILE));
        remove(b"large", &Credentials::default()).unwrap();
        assert_eq!(remove(b"large", &Credentials::default()), Err(Errno::NOENT));
    }
}
