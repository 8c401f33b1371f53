//! Dates, clocks and the list of alarms.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::sync::Global;
use crate::task::{self, Wake};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// `struct timespec`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeSpec {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds below a second.
    pub nanoseconds: i64,
}

impl TimeSpec {
    /// The time that lasts that many nanoseconds.
    pub fn from_nanoseconds(nanoseconds: u64) -> TimeSpec {
        TimeSpec {
            seconds: (nanoseconds / SECOND) as i64,
            nanoseconds: (nanoseconds % SECOND) as i64,
        }
    }

    /// The time in nanoseconds; very long times are cut.
    ///
    /// # Errors
    /// `EINVAL` for a negative time or a wrong fraction.
    pub fn to_nanoseconds(self) -> Result<u64> {
        if self.seconds < 0 || !(0..SECOND as i64).contains(&self.nanoseconds) {
            return Err(Errno::INVAL);
        }
        Ok((self.seconds as u64)
            .saturating_mul(SECOND)
            .saturating_add(self.nanoseconds as u64))
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, in seconds.
pub fn seconds_of_date(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is the last one.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.saturating_sub(719_468) * 86_400
}

/// What is added to the machine's clock, in nanoseconds, after someone set it.
static CORRECTION: Global<Cell<i64>> = Global::new(Cell::new(0));

/// Nanoseconds since 1970-01-01 (UTC).
pub fn wall_clock() -> u64 {
    (arch::wall_clock_at_boot() + arch::monotonic()).saturating_add_signed(CORRECTION.get())
}

/// Sets the date.
pub fn set_wall_clock(nanoseconds: u64) {
    let machine = arch::wall_clock_at_boot() + arch::monotonic();
    CORRECTION.set((nanoseconds as i64).wrapping_sub(machine as i64));
}

/// The time of a monotonic clock at which the wall clock shows `nanoseconds`.
pub fn monotonic_of_wall(nanoseconds: u64) -> u64 {
    nanoseconds
        .saturating_add(arch::monotonic())
        .saturating_sub(wall_clock())
}

/// Names an alarm, to turn it off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm(u64, u64);

struct Alarms {
    next: Cell<u64>,
    list: RefCell<BTreeMap<Alarm, Rc<dyn Wake>>>,
}

static ALARMS: Global<Alarms> = Global::new(Alarms {
    next: Cell::new(0),
    list: RefCell::new(BTreeMap::new()),
});

/// Wakes someone when the monotonic clock reaches `deadline`.
pub fn set_alarm(deadline: u64, target: Rc<dyn Wake>) -> Alarm {
    let alarm = Alarm(deadline, ALARMS.next.get());
    ALARMS.next.set(alarm.1 + 1);
    ALARMS.list.borrow_mut().insert(alarm, target);
    task::arm(deadline);
    alarm
}

/// Turns an alarm off; one that has rung is gone already.
pub fn cancel_alarm(alarm: Alarm) {
    let gone = ALARMS.list.borrow_mut().remove(&alarm);
    drop(gone);
}

/// Wakes everyone whose time has come; returns when the next alarm rings.
pub fn ring_alarms() -> Option<u64> {
    let now = arch::monotonic();
    let mut due = Vec::new();
    let next = {
        let mut list = ALARMS.list.borrow_mut();
        while let Some(entry) = list.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
        list.keys().next().map(|alarm| alarm.0)
    };
    for target in due {
        target.wake();
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(seconds_of_date(1970, 1, 1), 0);
        assert_eq!(seconds_of_date(2000, 3, 1), 951_868_800);
        assert_eq!(seconds_of_date(2024, 2, 29), 1_709_164_800);
    }

    #[test]
    fn a_time_with_a_wrong_fraction_is_refused() {
        let wrong = TimeSpec {
            seconds: 1,
            nanoseconds: 1_000_000_000,
        };
        assert_eq!(wrong.to_nanoseconds(), Err(Errno::INVAL));
        let longest = TimeSpec {
            seconds: i64::MAX,
            nanoseconds: 0,
        };
        assert_eq!(longest.to_nanoseconds(), Ok(u64::MAX));
    }
}
