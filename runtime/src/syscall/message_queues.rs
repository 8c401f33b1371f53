//! Calls on POSIX message queues.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;

use super::files;
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::message_queue::{self, Capacity, MessageQueue, Notice};
use crate::file::{Description, File, Flags};
use crate::fs::{LONGEST_NAME, is_permitted};
use crate::mm::user;
use crate::signal::Signal;
use crate::task::{self, Limit};
use crate::time::{self, TimeSpec};

/// The priorities are below this (`MQ_PRIO_MAX`).
const PRIORITIES: usize = 32_768;

/// The name of a queue, without the slash that the C library takes away.
fn read_name(address: usize) -> Result<Vec<u8>> {
    let name = user::read_string(address, LONGEST_NAME)?;
    match &name[..] {
        b"" => Err(Errno::INVAL),
        b"." | b".." => Err(Errno::ACCES),
        other if other.contains(&b'/') => Err(Errno::ACCES),
        _ => Ok(name),
    }
}

/// The capacity in a `struct mq_attr`.
fn read_capacity(address: usize) -> Result<Capacity> {
    if address == 0 {
        return Ok(Capacity::USUAL);
    }
    let [_, messages, bytes, _]: [i64; 4] = user::read(address)?;
    let within = |value: i64, most: u32| {
        let value = u32::try_from(value).ok();
        let value = value.filter(|&value| value > 0 && value <= most);
        value.ok_or(Errno::INVAL)
    };
    Ok(Capacity {
        messages: within(messages, Capacity::MOST.messages)?,
        bytes: within(bytes, Capacity::MOST.bytes)?,
    })
}

pub fn open(name_at: usize, flags: usize, mode: usize, attributes_at: usize) -> Result {
    const CREATE: usize = 0o100;
    const EXCLUSIVE: usize = 0o200;
    let name = read_name(name_at)?;
    let process = task::current_process();
    let credentials = process.credentials.borrow().clone();
    let (readable, writable) = match flags & 3 {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::INVAL),
    };
    let queue = match message_queue::find(&name) {
        Some(_) if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE => {
            return Err(Errno::EXIST);
        }
        Some(queue) => {
            let wanted = u32::from(readable) << 2 | u32::from(writable) << 1;
            if !is_permitted(&queue.metadata(), &credentials, wanted) {
                return Err(Errno::ACCES);
            }
            queue
        }
        None if flags & CREATE == 0 => return Err(Errno::NOENT),
        None => {
            let permissions = mode as u32 & 0o777 & !process.paths().mask;
            let capacity = read_capacity(attributes_at)?;
            let limit = process.limit(Limit::MESSAGE_QUEUES);
            message_queue::create(&name, capacity, permissions, &credentials, limit)?
        }
    };
    let kept = Flags::from_bits_truncate(flags as u32) & Flags::NO_WAIT;
    let description = Description::new(queue, readable, writable, kept);
    files::add(description, flags & files::CLOSE_ON_EXEC != 0)
}

pub fn remove(name_at: usize) -> Result {
    let credentials = task::current_process().credentials.borrow().clone();
    message_queue::remove(&read_name(name_at)?, &credentials)?;
    Ok(0)
}

/// The queue that a descriptor stands for.
fn queue(description: &Description) -> Result<&MessageQueue> {
    let any: &dyn Any = &*description.file;
    any.downcast_ref().ok_or(Errno::BADF)
}

/// The time at which a call gives up: a `timespec` of the wall clock.
fn deadline_at(address: usize) -> Result<Option<u64>> {
    if address == 0 {
        return Ok(None);
    }
    let time = user::read::<TimeSpec>(address)?.to_nanoseconds()?;
    Ok(Some(time::monotonic_of_wall(time)))
}

/// A call that waited too long does not try again.
fn timed_out(description: &Description, error: Errno) -> Errno {
    if error == Errno::AGAIN && !description.no_wait() {
        Errno::TIMEDOUT
    } else {
        error
    }
}

pub fn send([fd, message_at, length, priority, timeout, _]: [usize; 6]) -> Result {
    if priority as u32 as usize >= PRIORITIES {
        return Err(Errno::INVAL);
    }
    let deadline = deadline_at(timeout)?;
    let description = files::get(fd as i32)?;
    let queue = queue(&description)?;
    if !description.writable {
        return Err(Errno::BADF);
    }
    let longest = queue.capacity().bytes as usize;
    if length > longest {
        return Err(Errno::MSGSIZE);
    }
    crate::mm::frames::check_spare()?;
    let bytes = Input::user(message_at, length).take_all(longest)?;
    let mut message = Some(bytes);
    description
        .wait_for(deadline, || queue.send(&mut message, priority as u32))
        .map_err(|error| timed_out(&description, error))?;
    Ok(0)
}

pub fn receive([fd, message_at, length, priority_at, timeout, _]: [usize; 6]) -> Result {
    let deadline = deadline_at(timeout)?;
    let description = files::get(fd as i32)?;
    let queue = queue(&description)?;
    if !description.readable {
        return Err(Errno::BADF);
    }
    if length < queue.capacity().bytes as usize {
        return Err(Errno::MSGSIZE);
    }
    let (bytes, priority) = description
        .wait_for(deadline, || queue.receive())
        .map_err(|error| timed_out(&description, error))?;
    if priority_at != 0 {
        user::write(priority_at, &priority)?;
    }
    let done = Output::user(message_at, length).put(&bytes)?;
    if done < bytes.len() {
        return Err(Errno::FAULT);
    }
    Ok(done)
}

pub fn notify(fd: i32, event_at: usize) -> Result {
    const SIGNAL: i32 = 0;
    const NOTHING: i32 = 1;
    let process = task::current_process();
    let notice = if event_at == 0 {
        None
    } else {
        let value: u64 = user::read(event_at)?;
        let [number, kind]: [i32; 2] = user::read(event_at.wrapping_add(8))?;
        let signal = match kind {
            SIGNAL => {
                let signal = Signal::from_number(number as usize).ok_or(Errno::INVAL)?;
                Some((signal, value))
            }
            NOTHING => None,
            // A thread is notified by a socket of another kind, which does not exist.
            _ => return Err(Errno::INVAL),
        };
        Some(Notice {
            process: Rc::downgrade(&process),
            signal,
        })
    };
    let description = files::get(fd)?;
    queue(&description)?.set_notice(&process, notice)?;
    Ok(0)
}

pub fn attributes(fd: i32, new_at: usize, old_at: usize) -> Result {
    let description = files::get(fd)?;
    let queue = queue(&description)?;
    let no_wait = i64::from(Flags::NO_WAIT.bits());
    let new = if new_at == 0 {
        None
    } else {
        let [flags]: [i64; 1] = user::read(new_at)?;
        if flags & !no_wait != 0 {
            return Err(Errno::INVAL);
        }
        Some(flags != 0)
    };
    if old_at != 0 {
        let Capacity { messages, bytes } = queue.capacity();
        let flags = if description.no_wait() { no_wait } else { 0 };
        let length = queue.length() as i64;
        let mut words = [0_i64; 8];
        words[..4].copy_from_slice(&[flags, messages.into(), bytes.into(), length]);
        user::write(old_at, &words)?;
    }
    if let Some(new) = new {
        let mut flags = description.flags.get();
        flags.set(Flags::NO_WAIT, new);
        description.flags.set(flags);
    }
    Ok(0)
}
