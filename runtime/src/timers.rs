//! Timers of a process: interval timers (`setitimer`, `alarm`) and those that a program makes
//! (`timer_create`).

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::mm::frames;
use crate::signal::{Info, Signal};
use crate::task::{self, Process, Wake};
use crate::time::{self, Alarm};

/// When a timer rings next and how often after that, in nanoseconds; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// How long it takes from now.
    pub left: u64,
    /// How long it takes after that, again and again.
    pub interval: u64,
}

/// The shortest time between two rings of a timer; those that are closer are counted as missed.
const SHORTEST: u64 = 50_000;

/// When a timer expires: at a time of the monotonic clock, and again after each interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When it expires next; `None` if it is off.
    pub deadline: Option<u64>,
    /// Nanoseconds from one expiration to the next; 0 for one expiration.
    pub interval: u64,
}

impl Schedule {
    /// How often the timer has expired by `now`; continues to the next expiration.
    pub fn expirations(&mut self, now: u64) -> u64 {
        let Some(deadline) = self.deadline.filter(|&deadline| deadline <= now) else {
            return 0;
        };
        if self.interval == 0 {
            self.deadline = None;
            return 1;
        }
        let count = (now - deadline) / self.interval + 1;
        self.deadline = deadline.checked_add(count.saturating_mul(self.interval));
        count
    }

    /// What is left of the timer.
    pub fn left(mut self, now: u64) -> Setting {
        if self.interval > 0 {
            self.expirations(now);
        }
        Setting {
            left: self
                .deadline
                .map_or(0, |deadline| deadline.saturating_sub(now)),
            interval: self.interval,
        }
    }
}

/// The interval timers of a process: real time; run time counts as real time.
#[derive(Default)]
pub struct Timers {
    timers: RefCell<[Option<Rc<Timer>>; 3]>,
}

struct Timer {
    process: Weak<Process>,
    signal: Signal,
    deadline: Cell<u64>,
    interval: u64,
    alarm: Cell<Option<Alarm>>,
    this: RefCell<Weak<Timer>>,
}

impl Timers {
    /// What is left of a timer.
    pub fn get(&self, which: usize) -> Setting {
        let timers = self.timers.borrow();
        match timers.get(which) {
            Some(Some(timer)) if timer.alarm.get().is_some() => Setting {
                left: timer
                    .deadline
                    .get()
                    .saturating_sub(arch::monotonic())
                    .max(1),
                interval: timer.interval,
            },
            _ => Setting::default(),
        }
    }

    /// Sets a timer; what was left of the old one.
    pub fn set(&self, process: &Rc<Process>, which: usize, setting: Setting) -> Setting {
        let old = self.get(which);
        let signal = [Signal::ALRM, Signal::VTALRM, Signal::PROF][which.min(2)];
        let new = (setting.left > 0).then(|| {
            let timer = Rc::new(Timer {
                process: Rc::downgrade(process),
                signal,
                deadline: Cell::new(arch::monotonic().saturating_add(setting.left)),
                interval: setting.interval,
                alarm: Cell::new(None),
                this: RefCell::default(),
            });
            *timer.this.borrow_mut() = Rc::downgrade(&timer);
            timer
                .alarm
                .set(Some(time::set_alarm(timer.deadline.get(), timer.clone())));
            timer
        });
        let replaced = match self.timers.borrow_mut().get_mut(which) {
            Some(slot) => core::mem::replace(slot, new),
            None => None,
        };
        if let Some(alarm) = replaced.and_then(|timer| timer.alarm.take()) {
            time::cancel_alarm(alarm);
        }
        old
    }

    /// Turns all timers off.
    pub fn clear(&self) {
        let timers = core::mem::take(&mut *self.timers.borrow_mut());
        for timer in timers.into_iter().flatten() {
            if let Some(alarm) = timer.alarm.take() {
                time::cancel_alarm(alarm);
            }
        }
    }
}

impl Wake for Timer {
    fn wake(&self) {
        self.alarm.set(None);
        if self.interval > 0
            && let Some(this) = self.this.borrow().upgrade()
        {
            // Rings that were missed are one.
            let next = self.deadline.get().saturating_add(self.interval);
            let next = next.max(arch::monotonic() + SHORTEST);
            self.deadline.set(next);
            self.alarm.set(Some(time::set_alarm(next, this)));
        }
        if let Some(process) = self.process.upgrade() {
            process.send(Info::kernel(self.signal));
        }
    }
}

/// What happens when a timer of a program expires.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// Nothing: the program asks.
    Nothing,
    /// The process gets a signal.
    Process(Signal),
    /// One thread gets a signal.
    Thread(i32, Signal),
}

/// The most timers of a process.
const MOST_TIMERS: usize = 4096;

/// The timers that a program made, by their numbers.
#[derive(Default)]
pub struct PosixTimers {
    timers: RefCell<BTreeMap<i32, Rc<PosixTimer>>>,
    next: Cell<i32>,
}

/// A timer that a program made.
pub struct PosixTimer {
    process: Weak<Process>,
    id: i32,
    /// Whether absolute times are dates.
    wall: bool,
    notice: Notice,
    /// What the signal carries.
    value: u64,
    schedule: Cell<Schedule>,
    alarm: Cell<Option<Alarm>>,
    overrun: Cell<u64>,
    this: Weak<PosixTimer>,
}

impl PosixTimers {
    /// Makes a timer that is off; its number. Without a value the signal carries the number.
    ///
    /// # Errors
    /// `EAGAIN` for too many.
    pub fn create(
        &self,
        process: &Rc<Process>,
        wall: bool,
        notice: Notice,
        value: Option<u64>,
    ) -> Result<i32> {
        let mut timers = self.timers.borrow_mut();
        if timers.len() >= MOST_TIMERS || frames::check_spare().is_err() {
            return Err(Errno::AGAIN);
        }
        let mut id = self.next.get();
        while timers.contains_key(&id) {
            id = id.wrapping_add(1) & i32::MAX;
        }
        self.next.set(id.wrapping_add(1) & i32::MAX);
        let timer = Rc::new_cyclic(|this| PosixTimer {
            process: Rc::downgrade(process),
            id,
            wall,
            notice,
            value: value.unwrap_or(id as u64),
            schedule: Cell::default(),
            alarm: Cell::new(None),
            overrun: Cell::new(0),
            this: this.clone(),
        });
        timers.insert(id, timer);
        Ok(id)
    }

    /// The timer with a number.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn get(&self, id: i32) -> Result<Rc<PosixTimer>> {
        self.timers.borrow().get(&id).cloned().ok_or(Errno::INVAL)
    }

    /// Removes a timer.
    ///
    /// # Errors
    /// `EINVAL`
    pub fn delete(&self, id: i32) -> Result<()> {
        let timer = self.timers.borrow_mut().remove(&id).ok_or(Errno::INVAL)?;
        timer.disarm();
        Ok(())
    }

    /// Removes all timers.
    pub fn clear(&self) {
        for timer in self.timers.take().into_values() {
            timer.disarm();
        }
    }
}

impl PosixTimer {
    /// Whether absolute times are dates.
    pub fn is_wall(&self) -> bool {
        self.wall
    }

    /// What is left of the timer.
    pub fn left(&self) -> Setting {
        self.schedule.get().left(arch::monotonic())
    }

    /// How many expirations the last signal stands for, without the first one.
    pub fn overrun(&self) -> u64 {
        self.overrun.get().min(i32::MAX as u64)
    }

    /// Sets the timer; what was left of it.
    pub fn set(&self, schedule: Schedule) -> Setting {
        let old = self.left();
        self.schedule.set(schedule);
        self.overrun.set(0);
        self.disarm();
        self.arm(0);
        old
    }

    fn arm(&self, earliest: u64) {
        if let (Some(deadline), Some(this)) = (self.schedule.get().deadline, self.this.upgrade()) {
            let alarm = time::set_alarm(deadline.max(earliest), this);
            self.alarm.set(Some(alarm));
        }
    }

    fn disarm(&self) {
        if let Some(alarm) = self.alarm.take() {
            time::cancel_alarm(alarm);
        }
    }

    fn notify(&self, count: u64) {
        /// `SI_TIMER`
        const TIMER: i32 = -2;
        let Some(process) = self.process.upgrade() else {
            return;
        };
        let (thread, signal) = match self.notice {
            Notice::Nothing => return,
            Notice::Process(signal) => (None, signal),
            Notice::Thread(id, signal) => match task::find_thread(id) {
                Some(thread) => (Some(thread), signal),
                None => return,
            },
        };
        let pending = match &thread {
            Some(thread) => thread.pending.set(),
            None => process.pending.set(),
        };
        // One signal of a timer waits at a time; the others are counted.
        if pending & signal.bit() != 0 {
            self.overrun.set(self.overrun.get().saturating_add(count));
            return;
        }
        self.overrun.set(count - 1);
        let first = u64::from(self.id as u32) | self.overrun() << 32;
        let info = Info::with_value(signal, TIMER, first, self.value);
        match thread {
            Some(thread) => thread.send(info),
            None => process.send(info),
        }
    }
}

impl Wake for PosixTimer {
    fn wake(&self) {
        self.alarm.set(None);
        let now = arch::monotonic();
        let mut schedule = self.schedule.get();
        let count = schedule.expirations(now);
        self.schedule.set(schedule);
        self.arm(now + SHORTEST);
        if count > 0 {
            self.notify(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_expirations_are_counted() {
        let mut once = Schedule {
            deadline: Some(10),
            interval: 0,
        };
        assert_eq!((once.expirations(9), once.expirations(10)), (0, 1));
        assert_eq!(once.deadline, None);
        let mut often = Schedule {
            deadline: Some(10),
            interval: 5,
        };
        assert_eq!(often.left(12).left, 3);
        assert_eq!(often.expirations(21), 3);
        assert_eq!(often.deadline, Some(25));
        assert_eq!(
            often.left(22),
            Setting {
                left: 3,
                interval: 5
            }
        );
    }
}
