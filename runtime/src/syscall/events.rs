//! Calls on files that report events: epoll, counters, timers, signals, processes, watches.

use alloc::rc::Rc;

use super::{files, signals, times};
use crate::abi::errno::{Errno, Result};
use crate::file::epoll::{Epoll, Interest};
use crate::file::eventfd::EventFile;
use crate::file::inotify::WatchFile;
use crate::file::pidfd::ProcessFile;
use crate::file::signalfd::SignalFile;
use crate::file::timerfd::TimerFile;
use crate::file::{Description, Events, File, Flags};
use crate::mm::{frames, user};
use crate::signal::UNBLOCKABLE;
use crate::task;

/// The most events of one wait.
const MOST_EVENTS: usize = 4096;
/// `EPOLLET`, `EPOLLONESHOT`
const EDGE: u32 = 1 << 31;
const ONCE: u32 = 1 << 30;
/// Bytes of `struct epoll_event`, and where its data begins: it is packed on x86_64 only.
const EVENT_SIZE: usize = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
const EVENT_DATA: usize = EVENT_SIZE - 8;

/// Gives a new file without a path a descriptor. The flags are `O_NONBLOCK` and `O_CLOEXEC`,
/// which all the calls that make such files share.
pub fn add_file(file: Rc<dyn File>, writable: bool, flags: usize) -> Result {
    let no_wait = Flags::NO_WAIT.bits() as usize;
    if flags & !(files::CLOSE_ON_EXEC | no_wait) != 0 {
        return Err(Errno::INVAL);
    }
    frames::check_spare()?;
    let kept = Flags::from_bits_truncate(flags as u32) & Flags::NO_WAIT;
    let description = Description::new(file, true, writable, kept);
    files::add(description, flags & files::CLOSE_ON_EXEC != 0)
}

pub fn counter(value: usize, flags: usize) -> Result {
    const SEMAPHORE: usize = 1;
    let counter = EventFile::new(u64::from(value as u32), flags & SEMAPHORE != 0);
    add_file(counter, true, flags & !SEMAPHORE)
}

pub fn epoll(flags: usize) -> Result {
    if flags & !files::CLOSE_ON_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    add_file(Epoll::new(), true, flags)
}

fn read_interest(address: usize) -> Result<Interest> {
    let bits: u32 = user::read(address)?;
    Ok(Interest {
        events: Events::from_bits_truncate(bits),
        edge: bits & EDGE != 0,
        once: bits & ONCE != 0,
        data: user::read(address.wrapping_add(EVENT_DATA))?,
    })
}

pub fn epoll_control(fd: i32, operation: usize, watched: i32, event_at: usize) -> Result {
    const ADD: usize = 1;
    const REMOVE: usize = 2;
    const MODIFY: usize = 3;
    let (description, watched_file) = (files::get(fd)?, files::get(watched)?);
    if watched_file.path_only {
        return Err(Errno::BADF);
    }
    let epoll = Epoll::of(&description)?;
    match operation {
        ADD => epoll.add(watched, &watched_file, read_interest(event_at)?)?,
        REMOVE => epoll.remove(watched, &watched_file)?,
        MODIFY => epoll.modify(watched, &watched_file, read_interest(event_at)?)?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

pub fn epoll_wait(fd: i32, address: usize, most: usize, deadline: Option<u64>) -> Result {
    if most as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    let description = files::get(fd)?;
    let epoll = Epoll::of(&description)?;
    let queue = epoll.queue();
    let found = task::wait(queue.as_slice(), deadline, || {
        let found = epoll.take(most.min(MOST_EVENTS));
        (!found.is_empty()).then_some(found)
    });
    let found = found.map_err(|_| Errno::RESTART_WITHOUT_HANDLER)?;
    let found = found.unwrap_or_default();
    for (index, (events, data)) in found.iter().enumerate() {
        let mut bytes = [0; EVENT_SIZE];
        bytes[..4].copy_from_slice(&events.bits().to_le_bytes());
        bytes[EVENT_DATA..].copy_from_slice(&data.to_le_bytes());
        user::write_bytes(address.wrapping_add(index * EVENT_SIZE), &bytes)?;
    }
    Ok(found.len())
}

pub fn epoll_wait_with_mask(a: [usize; 6], deadline: Option<u64>) -> Result {
    signals::set_temporary_mask(a[4], a[5])?;
    let result = epoll_wait(a[0] as i32, a[1], a[2], deadline);
    signals::end_temporary_mask(result);
    result
}

pub fn timer(clock: usize, flags: usize) -> Result {
    let wall = match clock {
        0 | 8 => true,
        1 | 7 | 9 => false,
        _ => return Err(Errno::INVAL),
    };
    add_file(TimerFile::new(wall), false, flags)
}

pub fn set_timer(fd: i32, flags: usize, new_at: usize, old_at: usize) -> Result {
    const ABSOLUTE: usize = 1;
    const CANCEL_ON_SET: usize = 2;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let description = files::get(fd)?;
    let timer = TimerFile::of(&description)?;
    let schedule = times::read_schedule(new_at, flags & ABSOLUTE != 0, timer.is_wall())?;
    times::write_itimerspec(old_at, timer.set(schedule))?;
    Ok(0)
}

pub fn timer_setting(fd: i32, address: usize) -> Result {
    let description = files::get(fd)?;
    let setting = TimerFile::of(&description)?.get();
    if address == 0 {
        return Err(Errno::FAULT);
    }
    times::write_itimerspec(address, setting)?;
    Ok(0)
}

pub fn signals(fd: i32, set_at: usize, size: usize, flags: usize) -> Result {
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let set = user::read::<u64>(set_at)? & !UNBLOCKABLE;
    if fd == -1 {
        return add_file(SignalFile::new(set), false, flags);
    }
    SignalFile::of(&*files::get(fd)?)?.set(set);
    Ok(fd as usize)
}

pub fn process(id: i32, flags: usize) -> Result {
    if id <= 0 || flags & files::CLOSE_ON_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    let process = match task::find_process(id) {
        Some(process) => process,
        None if task::find_thread(id).is_some() => return Err(Errno::INVAL),
        None => return Err(Errno::SRCH),
    };
    add_file(
        ProcessFile::new(process),
        true,
        flags | files::CLOSE_ON_EXEC,
    )
}

pub fn file_of_process(fd: i32, other: i32, flags: usize) -> Result {
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let description = files::get(fd)?;
    let process = ProcessFile::process_of(&description)?;
    signals::check_permission(process, None)?;
    files::add(process.file_table().get(other)?, true)
}

pub fn watches(flags: usize) -> Result {
    add_file(WatchFile::new(), false, flags)
}

pub fn end_watch(fd: i32, number: i32) -> Result {
    let description = files::get(fd)?;
    WatchFile::of(&description)?.end(number)?;
    Ok(0)
}
