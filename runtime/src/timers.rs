//! Interval timers of a process (`setitimer`, `alarm`).

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};

use crate::arch;
use crate::signal::{Info, Signal};
use crate::task::{Process, Wake};
use crate::time::{self, Alarm};

/// When a timer rings next and how often after that, in nanoseconds; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// How long it takes from now.
    pub left: u64,
    /// How long it takes after that, again and again.
    pub interval: u64,
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
            let next = (self.deadline.get() + self.interval).max(arch::monotonic());
            self.deadline.set(next);
            self.alarm.set(Some(time::set_alarm(next, this)));
        }
        if let Some(process) = self.process.upgrade() {
            process.send(Info::kernel(self.signal));
        }
    }
}
