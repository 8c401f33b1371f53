//! Calls on time.

use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::mm::user;
use crate::task;
use crate::time::{self, SECOND, TimeSpec};
use crate::timers::Setting;

const REALTIME: usize = 0;
const MONOTONIC: usize = 1;
/// `TIMER_ABSTIME`
const ABSOLUTE: usize = 1;

/// Nanoseconds of a `timeval`.
///
/// # Errors
/// `EINVAL` for a negative time or a wrong fraction.
pub fn from_microseconds(seconds: i64, micros: i64) -> Result<u64> {
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::INVAL);
    }
    TimeSpec {
        seconds,
        nanoseconds: micros * 1000,
    }
    .to_nanoseconds()
}

/// The time of the monotonic clock at which something is due.
pub fn deadline(time: u64, absolute: bool, wall: bool) -> u64 {
    match (absolute, wall) {
        (false, _) => arch::monotonic().saturating_add(time),
        (true, false) => time,
        (true, true) => time::monotonic_of_wall(time),
    }
}

/// What a clock shows.
///
/// # Errors
/// `EINVAL` for a clock that there is not.
pub fn read_clock(clock: usize) -> Result<u64> {
    Ok(match clock {
        REALTIME | 5 | 8 | 11 => time::wall_clock(),
        MONOTONIC | 4 | 6 | 7 | 9 => arch::monotonic(),
        2 => task::current_process().total_run_time() + task::current().running_time(),
        3 => task::current().run_time.get() + task::current().running_time(),
        // A process's clock has a negative number.
        other if (other as i32) < 0 => task::current_process().total_run_time(),
        _ => return Err(Errno::INVAL),
    })
}

pub fn clock(clock: usize, address: usize) -> Result {
    user::write(address, &TimeSpec::from_nanoseconds(read_clock(clock)?))?;
    Ok(0)
}

pub fn set_clock(clock: usize, address: usize) -> Result {
    let time = user::read::<TimeSpec>(address)?.to_nanoseconds()?;
    if clock != REALTIME {
        return Err(Errno::INVAL);
    }
    if !task::current_process().credentials.borrow().is_root() {
        return Err(Errno::PERM);
    }
    time::set_wall_clock(time);
    Ok(0)
}

pub fn resolution(clock: usize, address: usize) -> Result {
    read_clock(clock)?;
    if address != 0 {
        user::write(address, &TimeSpec::from_nanoseconds(1))?;
    }
    Ok(0)
}

pub fn time_of_day(address: usize, zone: usize) -> Result {
    if address != 0 {
        let now = time::wall_clock();
        user::write(address, &[now / SECOND, now % SECOND / 1000])?;
    }
    if zone != 0 {
        user::write(zone, &0_u64)?;
    }
    Ok(0)
}

pub fn seconds(address: usize) -> Result {
    let now = time::wall_clock() / SECOND;
    if address != 0 {
        user::write(address, &now)?;
    }
    Ok(now as usize)
}

fn sleep_until(deadline: u64, left_at: usize) -> Result {
    match task::sleep_until(deadline) {
        Ok(()) => Ok(0),
        Err(_) => {
            if left_at != 0 {
                let left = deadline.saturating_sub(arch::monotonic());
                user::write(left_at, &TimeSpec::from_nanoseconds(left))?;
            }
            Err(Errno::INTR)
        }
    }
}

pub fn sleep(address: usize, left_at: usize) -> Result {
    let wait = user::read::<TimeSpec>(address)?.to_nanoseconds()?;
    sleep_until(deadline(wait, false, false), left_at)
}

pub fn clock_sleep(clock: usize, flags: usize, address: usize, left_at: usize) -> Result {
    let time = user::read::<TimeSpec>(address)?.to_nanoseconds()?;
    read_clock(clock)?;
    let absolute = flags & ABSOLUTE != 0;
    let deadline = deadline(time, absolute, clock == REALTIME);
    sleep_until(deadline, if absolute { 0 } else { left_at })
}

pub fn alarm(seconds: usize) -> Result {
    let process = task::current_process();
    let left = (seconds as u32 as u64).saturating_mul(SECOND);
    let old = process
        .timers
        .set(&process, 0, Setting { left, interval: 0 });
    Ok(old.left.div_ceil(SECOND) as usize)
}

fn write_setting(address: usize, setting: Setting) -> Result<()> {
    let pair = |time: u64| [time / SECOND, time % SECOND / 1000];
    user::write(address, &[pair(setting.interval), pair(setting.left)])
}

pub fn set_interval_timer(which: usize, new_at: usize, old_at: usize) -> Result {
    if which > 2 {
        return Err(Errno::INVAL);
    }
    let process = task::current_process();
    let setting = if new_at == 0 {
        Setting::default()
    } else {
        let [[interval, micros], [left, left_micros]]: [[i64; 2]; 2] = user::read(new_at)?;
        Setting {
            left: from_microseconds(left, left_micros)?,
            interval: from_microseconds(interval, micros)?,
        }
    };
    let old = process.timers.set(&process, which, setting);
    if old_at != 0 {
        write_setting(old_at, old)?;
    }
    Ok(0)
}

pub fn interval_timer(which: usize, address: usize) -> Result {
    if which > 2 {
        return Err(Errno::INVAL);
    }
    write_setting(address, task::current_process().timers.get(which))?;
    Ok(0)
}
