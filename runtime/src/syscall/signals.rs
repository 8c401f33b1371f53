//! Calls on signals.

use alloc::rc::Rc;

use crate::abi::errno::{Errno, Result};
use crate::file::pidfd::ProcessFile;
use crate::mm::user;
use crate::signal::{Action, AlternateStack, FROM_THREAD, FROM_USER, Info, Signal, UNBLOCKABLE};
use crate::task::{self, Process, Thread, find_process, find_thread};
use crate::time::TimeSpec;

/// Bytes of a set of signals.
const SET_SIZE: usize = 8;
const MINIMUM_STACK: usize = 2048;

fn check_size(size: usize) -> Result<()> {
    if size == SET_SIZE {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

/// The signal with a number; 0 is none, for calls that only look whether it could be sent.
fn signal(number: usize) -> Result<Option<Signal>> {
    if number == 0 {
        return Ok(None);
    }
    Signal::from_number(number).map(Some).ok_or(Errno::INVAL)
}

pub fn check_permission(target: &Process, signal: Option<Signal>) -> Result<()> {
    let caller = task::current_process();
    let own = caller.credentials.borrow();
    let their = target.credentials.borrow();
    let same = [own.users[0], own.users[1]]
        .iter()
        .any(|user| *user == their.users[0] || *user == their.users[2]);
    let continues = signal == Some(Signal::CONT) && caller.session.get() == target.session.get();
    if own.is_root() || same || continues {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

fn info_of_caller(signal: Signal, code: i32) -> Info {
    let process = task::current_process();
    Info::sent(
        signal,
        code,
        process.id,
        process.credentials.borrow().users[0],
    )
}

pub fn kill(id: i32, number: usize) -> Result {
    let signal = signal(number)?;
    let caller = task::current_process();
    let group = match id {
        0 => Some(caller.group.get()),
        -1 => None,
        1.. => {
            let process = find_process(id).ok_or(Errno::SRCH)?;
            check_permission(&process, signal)?;
            if let Some(signal) = signal {
                process.send(info_of_caller(signal, FROM_USER));
            }
            return Ok(0);
        }
        _ => Some(id.checked_neg().ok_or(Errno::SRCH)?),
    };
    let targets: alloc::vec::Vec<Rc<Process>> = task::all_processes()
        .into_iter()
        .filter(|process| match group {
            Some(group) => process.group.get() == group,
            None => process.id != 1 && process.id != caller.id,
        })
        .collect();
    if targets.is_empty() {
        return Err(Errno::SRCH);
    }
    let mut result = Err(Errno::PERM);
    for process in targets {
        if check_permission(&process, signal).is_ok() {
            result = Ok(0);
            if let Some(signal) = signal {
                process.send(info_of_caller(signal, FROM_USER));
            }
        }
    }
    result
}

/// The thread with a number, of a certain process if one is given.
fn thread(process: Option<i32>, id: i32) -> Result<Rc<Thread>> {
    if id <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::INVAL);
    }
    find_thread(id)
        .filter(|thread| process.is_none_or(|process| thread.process.id == process))
        .ok_or(Errno::SRCH)
}

pub fn kill_thread(process: Option<i32>, id: i32, number: usize) -> Result {
    let signal = signal(number)?;
    let thread = thread(process, id)?;
    check_permission(&thread.process, signal)?;
    if let Some(signal) = signal {
        thread.send(info_of_caller(signal, FROM_THREAD));
    }
    Ok(0)
}

pub fn queue(process: i32, id: Option<i32>, number: usize, info_at: usize) -> Result {
    let signal = signal(number)?.ok_or(Errno::INVAL)?;
    let words: [u64; 16] = user::read(info_at)?;
    let info = Info::from_words(signal, &words);
    // The number of a thread stands for its process.
    let of_thread = || task::find_thread(process).map(|thread| thread.process.clone());
    let target = find_process(process).or_else(of_thread);
    let target = target.ok_or(Errno::SRCH)?;
    check_permission(&target, Some(signal))?;
    // Only the kernel speaks for itself.
    if info.code() >= 0 && target.id != task::current_process().id {
        return Err(Errno::PERM);
    }
    match id {
        Some(id) => thread(Some(process), id)?.send(info),
        None => target.send(info),
    }
    Ok(0)
}

pub fn send_by_descriptor(fd: i32, number: usize, info_at: usize, flags: usize) -> Result {
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let description = super::files::get(fd)?;
    let target = ProcessFile::process_of(&description)?.clone();
    let signal = signal(number)?;
    check_permission(&target, signal)?;
    if target.is_zombie.get() {
        return Err(Errno::SRCH);
    }
    let Some(signal) = signal else { return Ok(0) };
    let info = if info_at == 0 {
        info_of_caller(signal, FROM_USER)
    } else {
        let info = Info::from_words(signal, &user::read(info_at)?);
        if info.code() >= 0 && target.id != task::current_process().id {
            return Err(Errno::PERM);
        }
        info
    };
    target.send(info);
    Ok(0)
}

pub fn action(number: usize, new_at: usize, old_at: usize, size: usize) -> Result {
    check_size(size)?;
    let signal = signal(number)?.ok_or(Errno::INVAL)?;
    let process = task::current_process();
    let handlers = process.handlers();
    let old = handlers.get(signal);
    if new_at != 0 {
        if signal.bit() & UNBLOCKABLE != 0 {
            return Err(Errno::INVAL);
        }
        let mut new: Action = user::read(new_at)?;
        new.mask &= !UNBLOCKABLE;
        handlers.set(signal, new);
        if new.ignores(signal) {
            process.pending.remove(signal.bit());
            for thread in process.live_threads() {
                thread.pending.remove(signal.bit());
            }
        }
    }
    if old_at != 0 {
        user::write(old_at, &old)?;
    }
    Ok(0)
}

pub fn mask(how: usize, new_at: usize, old_at: usize, size: usize) -> Result {
    check_size(size)?;
    let thread = task::current();
    let old = thread.mask.get();
    if new_at != 0 {
        let set: u64 = user::read(new_at)?;
        let new = match how {
            0 => old | set,
            1 => old & !set,
            2 => set,
            _ => return Err(Errno::INVAL),
        };
        thread.mask.set(new & !UNBLOCKABLE);
    }
    if old_at != 0 {
        user::write(old_at, &old)?;
    }
    Ok(0)
}

pub fn pending(address: usize, size: usize) -> Result {
    check_size(size)?;
    let thread = task::current();
    let set = (thread.pending.set() | thread.process.pending.set()) & thread.mask.get();
    user::write(address, &set)?;
    Ok(0)
}

/// Replaces the mask for the length of a call, if an address is given.
pub fn set_temporary_mask(address: usize, size: usize) -> Result<()> {
    if address == 0 {
        return Ok(());
    }
    check_size(size)?;
    let set: u64 = user::read(address)?;
    let thread = task::current();
    thread.restore_mask.set(Some(thread.mask.get()));
    thread.mask.set(set & !UNBLOCKABLE);
    Ok(())
}

/// The call is over. When a signal ended it, its handler runs with the temporary mask, and
/// returning from it restores the old one; else the old one comes back now.
pub fn end_temporary_mask(result: Result) {
    let thread = task::current();
    if !matches!(result, Err(Errno::RESTART | Errno::RESTART_WITHOUT_HANDLER))
        && let Some(mask) = thread.restore_mask.take()
    {
        thread.mask.set(mask);
    }
}

pub fn suspend(address: usize, size: usize) -> Result {
    check_size(size)?;
    if address == 0 {
        return Err(Errno::FAULT);
    }
    set_temporary_mask(address, size)?;
    pause()
}

pub fn pause() -> Result {
    match task::wait(&[], None, || None::<()>) {
        Ok(_) => Ok(0),
        Err(_) => Err(Errno::RESTART_WITHOUT_HANDLER),
    }
}

pub fn timed_wait(set_at: usize, info_at: usize, timeout: usize, size: usize) -> Result {
    check_size(size)?;
    let set: u64 = user::read::<u64>(set_at)? & !UNBLOCKABLE;
    let deadline = if timeout == 0 {
        None
    } else {
        let wait = user::read::<TimeSpec>(timeout)?.to_nanoseconds()?;
        Some(crate::arch::monotonic().saturating_add(wait))
    };
    let thread = task::current();
    let process = thread.process.clone();
    // The signals are to wake the thread, but not to be delivered.
    let taken = task::wait(&[&process.signal_queue], deadline, || {
        thread
            .pending
            .take(set)
            .or_else(|| process.pending.take(set))
    });
    let info = match taken {
        Ok(Some(info)) => info,
        Ok(None) => return Err(Errno::AGAIN),
        Err(_) => return Err(Errno::INTR),
    };
    if info_at != 0 {
        user::write_words(info_at, &info.words())?;
    }
    Ok(info.number())
}

pub fn alternate_stack(new_at: usize, old_at: usize) -> Result {
    /// `SS_AUTODISARM`
    const AUTO_DISARM: u64 = 1 << 31;
    let thread = task::current();
    let mut old = thread.alternate.get();
    let active = old.contains(thread.registers().stack());
    if active {
        old.flags |= AlternateStack::ACTIVE;
    }
    if new_at != 0 {
        let new: AlternateStack = user::read(new_at)?;
        if active {
            return Err(Errno::PERM);
        }
        let flags = new.flags & 0xffff_ffff;
        if !matches!(
            flags & !AUTO_DISARM,
            0 | AlternateStack::ACTIVE | AlternateStack::DISABLED
        ) {
            return Err(Errno::INVAL);
        }
        if flags & AlternateStack::DISABLED != 0 {
            thread.alternate.set(AlternateStack::NONE);
        } else {
            if new.size < MINIMUM_STACK {
                return Err(Errno::NOMEM);
            }
            thread.alternate.set(AlternateStack { flags: 0, ..new });
        }
    }
    if old_at != 0 {
        user::write(old_at, &old)?;
    }
    Ok(0)
}
