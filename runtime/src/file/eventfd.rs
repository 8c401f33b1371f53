//! Event counters (`eventfd`).

use alloc::rc::Rc;
use core::cell::Cell;

use super::io::{Input, Output};
use super::{Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata};
use crate::task::WaitQueue;

/// The highest value of a counter.
const MOST: u64 = u64::MAX - 1;

/// A number that writes add to and reads take.
pub struct EventFile {
    value: Cell<u64>,
    /// Whether a read takes 1 instead of everything.
    semaphore: bool,
    queue: WaitQueue,
    number: u64,
}

impl EventFile {
    /// A counter with a first value.
    pub fn new(value: u64, semaphore: bool) -> Rc<EventFile> {
        Rc::new(EventFile {
            value: Cell::new(value),
            semaphore,
            queue: WaitQueue::new(),
            number: super::anonymous::next_number(),
        })
    }
}

impl File for EventFile {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        if out.room() < 8 {
            return Err(Errno::INVAL);
        }
        let value = self.value.get();
        if value == 0 {
            return Err(Errno::AGAIN);
        }
        let taken = if self.semaphore { 1 } else { value };
        out.put(&taken.to_le_bytes())?;
        self.value.set(value - taken);
        self.queue.wake();
        Ok(8)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        if input.left() < 8 {
            return Err(Errno::INVAL);
        }
        let mut bytes = [0; 8];
        input.clone().take(&mut bytes)?;
        let added = u64::from_le_bytes(bytes);
        if added > MOST {
            return Err(Errno::INVAL);
        }
        if added > MOST - self.value.get() {
            return Err(Errno::AGAIN);
        }
        input.skip();
        self.value.set(self.value.get() + added);
        self.queue.wake();
        Ok(8)
    }

    fn ready(&self) -> Events {
        let mut events = Events::empty();
        events.set(Events::IN, self.value.get() > 0);
        events.set(Events::OUT, self.value.get() < MOST);
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[eventfd]"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &EventFile) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read(0, &mut Output::kernel(&mut bytes))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(file: &EventFile, value: u64) -> Result {
        file.write(0, &mut Input::kernel(&value.to_le_bytes()))
    }

    #[test]
    fn a_read_takes_everything_or_one() {
        let counter = EventFile::new(2, false);
        assert_eq!(write(&counter, 3), Ok(8));
        assert_eq!(read(&counter), Ok(5));
        assert_eq!(read(&counter), Err(Errno::AGAIN));
        let semaphore = EventFile::new(2, true);
        assert_eq!((read(&semaphore), read(&semaphore)), (Ok(1), Ok(1)));
        assert_eq!(read(&semaphore), Err(Errno::AGAIN));
    }

    #[test]
    fn a_counter_that_is_full_waits() {
        let counter = EventFile::new(0, false);
        assert_eq!(write(&counter, u64::MAX), Err(Errno::INVAL));
        assert_eq!(write(&counter, MOST), Ok(8));
        assert_eq!(write(&counter, 1), Err(Errno::AGAIN));
        assert_eq!(counter.ready(), Events::IN);
    }
}
