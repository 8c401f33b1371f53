//! Calls on time.

use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::mm::user;
use crate::signal::Signal;
use crate::task;
use crate::time::{self, SECOND, TimeSpec};
use crate::timers::{Notice, Schedule, Setting};

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
        other if (other as i32) < 0 => run_time(other as i32)?,
        _ => return Err(Errno::INVAL),
    })
}

/// The time that a process or a thread has run: its clock is a negative number with its number.
fn run_time(clock: i32) -> Result<u64> {
    const KIND: i32 = 3;
    const OF_THREAD: i32 = 4;
    let id = !(clock >> 3);
    if clock & KIND == KIND {
        return Err(Errno::INVAL);
    }
    let current = task::current();
    if clock & OF_THREAD != 0 && id != 0 && id != current.id() {
        let thread = task::find_thread(id).ok_or(Errno::INVAL)?;
        return Ok(thread.run_time.get());
    }
    if clock & OF_THREAD != 0 {
        return Ok(current.run_time.get() + current.running_time());
    }
    if id == 0 || id == current.process.id {
        return Ok(current.process.total_run_time() + current.running_time());
    }
    let process = task::find_process(id).ok_or(Errno::INVAL)?;
    Ok(process.total_run_time())
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

/// Reads a `struct itimerspec`.
///
/// # Errors
/// `EINVAL` for a negative time or a wrong fraction.
pub fn read_schedule(address: usize, absolute: bool, wall: bool) -> Result<Schedule> {
    let [interval, first]: [TimeSpec; 2] = user::read(address)?;
    let (interval, first) = (interval.to_nanoseconds()?, first.to_nanoseconds()?);
    Ok(Schedule {
        deadline: (first > 0).then(|| deadline(first, absolute, wall)),
        interval,
    })
}

/// Writes a `struct itimerspec`, unless the address is 0.
pub fn write_itimerspec(address: usize, setting: Setting) -> Result<()> {
    if address == 0 {
        return Ok(());
    }
    let times = [setting.interval, setting.left].map(TimeSpec::from_nanoseconds);
    user::write(address, &times)
}

pub fn create_timer(clock: usize, event_at: usize, id_at: usize) -> Result {
    const NOTHING: i32 = 1;
    const OF_THREAD: i32 = 4;
    read_clock(clock)?;
    let process = task::current_process();
    let (notice, value) = if event_at == 0 {
        (Notice::Process(Signal::ALRM), None)
    } else {
        let value: u64 = user::read(event_at)?;
        let [number, kind, thread]: [i32; 3] = user::read(event_at.wrapping_add(8))?;
        let signal = || Signal::from_number(number as usize).ok_or(Errno::INVAL);
        let notice = match kind {
            0 | 2 => Notice::Process(signal()?),
            NOTHING => Notice::Nothing,
            OF_THREAD => {
                let target = task::find_thread(thread).ok_or(Errno::INVAL)?;
                if target.process.id != process.id {
                    return Err(Errno::INVAL);
                }
                Notice::Thread(thread, signal()?)
            }
            _ => return Err(Errno::INVAL),
        };
        (notice, Some(value))
    };
    let wall = matches!(clock, REALTIME | 8 | 11);
    let id = process.posix_timers.create(&process, wall, notice, value)?;
    user::write(id_at, &id).inspect_err(|_| {
        // The program cannot name it.
        let _ = process.posix_timers.delete(id);
    })?;
    Ok(0)
}

pub fn set_timer(id: i32, flags: usize, new_at: usize, old_at: usize) -> Result {
    let process = task::current_process();
    let timer = process.posix_timers.get(id)?;
    let schedule = read_schedule(new_at, flags & ABSOLUTE != 0, timer.is_wall())?;
    write_itimerspec(old_at, timer.set(schedule))?;
    Ok(0)
}

pub fn timer_setting(id: i32, address: usize) -> Result {
    let timer = task::current_process().posix_timers.get(id)?;
    if address == 0 {
        return Err(Errno::FAULT);
    }
    write_itimerspec(address, timer.left())?;
    Ok(0)
}

pub fn timer_overrun(id: i32) -> Result {
    Ok(task::current_process().posix_timers.get(id)?.overrun() as usize)
}

pub fn delete_timer(id: i32) -> Result {
    task::current_process().posix_timers.delete(id)?;
    Ok(0)
}
