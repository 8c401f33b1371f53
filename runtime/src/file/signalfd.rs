//! Signals that are read from a file (`signalfd`).

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::Cell;

use super::io::Output;
use super::{Description, Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata};
use crate::signal::{Info, Signal};
use crate::sync::Global;
use crate::task::{self, WaitQueue};

/// Bytes of `struct signalfd_siginfo`.
const SIZE: usize = 128;

/// Woken when a signal is sent to any process: such a file reads the signals of the process
/// that reads it, not of the one that opened it.
static QUEUE: Global<WaitQueue> = Global::new(WaitQueue::new());

/// A signal was sent to a process.
pub fn signal_sent() {
    QUEUE.wake();
}

/// Reads signals in a set.
pub struct SignalFile {
    set: Cell<u64>,
    number: u64,
}

impl SignalFile {
    /// A file for the signals of a set.
    pub fn new(set: u64) -> Rc<SignalFile> {
        Rc::new(SignalFile {
            set: Cell::new(set),
            number: super::anonymous::next_number(),
        })
    }

    /// The file for signals that an open file is.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn of(description: &Description) -> Result<&SignalFile> {
        let any: &dyn Any = &*description.file;
        any.downcast_ref::<SignalFile>().ok_or(Errno::INVAL)
    }

    /// Changes the set.
    pub fn set(&self, set: u64) {
        self.set.set(set);
        QUEUE.wake();
    }
}

/// `struct signalfd_siginfo`
fn encode(info: &Info) -> Vec<u8> {
    /// `SI_TIMER`
    const TIMER: i32 = -2;
    let [first, second, _] = info.fields();
    let (low, high) = (first as u32, (first >> 32) as u32);
    let signal = info.signal();
    let is_fault = info.code() > 0
        && matches!(
            signal,
            Signal::SEGV | Signal::BUS | Signal::FPE | Signal::ILL | Signal::TRAP
        );
    let mut words = [0_u32; SIZE / 4];
    words[0] = info.number() as u32;
    words[2] = info.code() as u32;
    if info.code() == TIMER {
        (words[6], words[8]) = (low, high);
    } else if is_fault {
        (words[18], words[19]) = (low, high);
    } else {
        (words[3], words[4]) = (low, high);
    }
    if signal == Signal::CHLD && info.code() > 0 {
        words[10] = second as u32;
    } else {
        words[11] = second as u32;
        (words[12], words[13]) = (second as u32, (second >> 32) as u32);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl File for SignalFile {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        if out.room() < SIZE {
            return Err(Errno::INVAL);
        }
        let thread = task::current();
        let set = self.set.get();
        let mut done = 0;
        while out.room() >= SIZE {
            let taken = thread
                .pending
                .take(set)
                .or_else(|| thread.process.pending.take(set));
            let Some(info) = taken else { break };
            done += out.put(&encode(&info))?;
        }
        if done == 0 {
            Err(Errno::AGAIN)
        } else {
            Ok(done)
        }
    }

    fn ready(&self) -> Events {
        let thread = task::current();
        let pending = thread.pending.set() | thread.process.pending.set();
        if pending & self.set.get() != 0 {
            Events::IN
        } else {
            Events::empty()
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&QUEUE)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[signalfd]"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_child_and_of_a_timer() {
        let word = |bytes: &[u8], index: usize| {
            u32::from_le_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap())
        };
        let child = encode(&Info::child(1, 42, 7, 3));
        assert_eq!(child.len(), SIZE);
        assert_eq!([0, 2, 3, 4, 10].map(|i| word(&child, i)), [17, 1, 42, 7, 3]);
        let timer = encode(&Info::with_value(Signal::ALRM, -2, 5 | 2 << 32, 9));
        assert_eq!([0, 6, 8, 11, 12].map(|i| word(&timer, i)), [14, 5, 2, 9, 9]);
    }
}
