//! Timers that are files (`timerfd`): a read returns how often the timer expired.

use alloc::rc::{Rc, Weak};
use core::any::Any;
use core::cell::Cell;

use super::io::Output;
use super::{Description, Events, File};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::fs::{Kind, Metadata};
use crate::task::{WaitQueue, Wake};
use crate::time::{self, Alarm};
use crate::timers::{Schedule, Setting};

/// A timer that is read.
pub struct TimerFile {
    /// Whether absolute times are dates.
    wall: bool,
    schedule: Cell<Schedule>,
    alarm: Cell<Option<Alarm>>,
    queue: WaitQueue,
    number: u64,
    this: Weak<TimerFile>,
}

/// The alarm does not keep the timer: a closed one is gone.
struct Ring(Weak<TimerFile>);

impl Wake for Ring {
    fn wake(&self) {
        if let Some(timer) = self.0.upgrade() {
            timer.alarm.set(None);
            timer.queue.wake();
        }
    }
}

impl TimerFile {
    /// A timer that is off; `wall` if absolute times are dates.
    pub fn new(wall: bool) -> Rc<TimerFile> {
        Rc::new_cyclic(|this| TimerFile {
            wall,
            schedule: Cell::default(),
            alarm: Cell::new(None),
            queue: WaitQueue::new(),
            number: super::anonymous::next_number(),
            this: this.clone(),
        })
    }

    /// The timer that an open file is.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn of(description: &Description) -> Result<&TimerFile> {
        let any: &dyn Any = &*description.file;
        any.downcast_ref::<TimerFile>().ok_or(Errno::INVAL)
    }

    /// Whether absolute times are dates.
    pub fn is_wall(&self) -> bool {
        self.wall
    }

    /// What is left of the timer.
    pub fn get(&self) -> Setting {
        self.schedule.get().left(arch::monotonic())
    }

    /// Sets the timer; what was left of it.
    pub fn set(&self, schedule: Schedule) -> Setting {
        let old = self.get();
        self.schedule.set(schedule);
        self.arm();
        old
    }

    fn arm(&self) {
        if let Some(alarm) = self.alarm.take() {
            time::cancel_alarm(alarm);
        }
        if let Some(deadline) = self.schedule.get().deadline {
            let ring = Rc::new(Ring(self.this.clone()));
            self.alarm.set(Some(time::set_alarm(deadline, ring)));
        }
    }
}

impl Drop for TimerFile {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            time::cancel_alarm(alarm);
        }
    }
}

impl File for TimerFile {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        if out.room() < 8 {
            return Err(Errno::INVAL);
        }
        let mut schedule = self.schedule.get();
        let count = schedule.expirations(arch::monotonic());
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        out.put(&count.to_le_bytes())?;
        self.schedule.set(schedule);
        self.arm();
        Ok(8)
    }

    fn ready(&self) -> Events {
        let due = self.schedule.get().deadline;
        if due.is_some_and(|deadline| deadline <= arch::monotonic()) {
            Events::IN
        } else {
            Events::empty()
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::File, self.number)
    }

    fn label(&self) -> &'static str {
        "anon_inode:[timerfd]"
    }
}
