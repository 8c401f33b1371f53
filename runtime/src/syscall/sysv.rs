//! Calls on shared memory, semaphores and message queues of System V.

use alloc::vec::Vec;

use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::mm::user;
use crate::sysv::messages::{self, Message};
use crate::sysv::semaphores::{self, Question, Step};
use crate::sysv::{memory, messages::LONGEST};
use crate::time::TimeSpec;

/// `IPC_RMID`, `IPC_SET`, `IPC_STAT`; an old flag of the commands is left out.
const REMOVE: usize = 0;
const SET: usize = 1;
const STATUS: usize = 2;
const OLD_FLAG: usize = 0x100;

pub fn get_memory(key: i32, size: usize, flags: usize) -> Result {
    memory::get(key, size, flags).map(|id| id as usize)
}

pub fn attach(id: i32, address: usize, flags: usize) -> Result {
    memory::attach(id, address, flags)
}

pub fn detach(address: usize) -> Result {
    memory::detach(address).map(|()| 0)
}

/// User, group and mode of a `struct ipc64_perm`.
fn read_owner(address: usize) -> Result<(u32, u32, u32)> {
    let [_, user, group, _, _, mode]: [u32; 6] = user::read(address)?;
    Ok((user, group, mode))
}

pub fn control_memory(id: i32, command: usize, address: usize) -> Result {
    const LOCK: usize = 11;
    const UNLOCK: usize = 12;
    match command & !OLD_FLAG {
        REMOVE => memory::remove(id)?,
        SET => {
            let (user, group, mode) = read_owner(address)?;
            memory::change(id, user, group, mode)?;
        }
        STATUS => user::write_words(address, &memory::status(id)?)?,
        LOCK | UNLOCK => {}
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

pub fn get_semaphores(key: i32, count: usize, flags: usize) -> Result {
    semaphores::get(key, count, flags).map(|id| id as usize)
}

pub fn operate(id: i32, steps_at: usize, count: usize, timeout: usize) -> Result {
    const MOST: usize = 500;
    if count == 0 {
        return Err(Errno::INVAL);
    }
    if count > MOST {
        return Err(Errno::TOO_BIG);
    }
    let steps: Vec<[u16; 3]> = user::read_array(steps_at, count, MOST)?;
    let steps: Vec<Step> = steps
        .into_iter()
        .map(|[index, change, flags]| Step {
            index,
            change: change as i16,
            flags,
        })
        .collect();
    let deadline = if timeout == 0 {
        None
    } else {
        let wait = user::read::<TimeSpec>(timeout)?.to_nanoseconds()?;
        Some(arch::monotonic().saturating_add(wait))
    };
    semaphores::operate(id, &steps, deadline).map(|()| 0)
}

pub fn control_semaphores(id: i32, index: usize, command: usize, argument: usize) -> Result {
    const GET_PROCESS: usize = 11;
    const GET_VALUE: usize = 12;
    const GET_ALL: usize = 13;
    const GET_GROWING: usize = 14;
    const GET_ZERO: usize = 15;
    const SET_VALUE: usize = 16;
    const SET_ALL: usize = 17;
    match command & !OLD_FLAG {
        REMOVE => semaphores::remove(id)?,
        SET => {
            let (user, group, mode) = read_owner(argument)?;
            semaphores::change(id, user, group, mode)?;
        }
        STATUS => user::write_words(argument, &semaphores::status(id)?)?,
        GET_PROCESS => return semaphores::ask(id, index, Question::Process),
        GET_VALUE => return semaphores::ask(id, index, Question::Value),
        GET_GROWING => return semaphores::ask(id, index, Question::Growing),
        GET_ZERO => return semaphores::ask(id, index, Question::Zero),
        GET_ALL => {
            let values = semaphores::values(id)?;
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            user::write_bytes(argument, &bytes)?;
        }
        SET_VALUE => semaphores::set_values(id, index, &[argument as i32])?,
        SET_ALL => {
            let count = semaphores::count(id)?;
            let values: Vec<u16> = user::read_array(argument, count, count)?;
            let values: Vec<i32> = values.into_iter().map(i32::from).collect();
            semaphores::set_values(id, 0, &values)?;
        }
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

pub fn get_messages(key: i32, flags: usize) -> Result {
    messages::get(key, flags).map(|id| id as usize)
}

pub fn send(id: i32, address: usize, length: usize, flags: usize) -> Result {
    let kind: i64 = user::read(address)?;
    if length > LONGEST || kind < 1 {
        return Err(Errno::INVAL);
    }
    let mut bytes = alloc::vec![0; length];
    user::read_bytes(address.wrapping_add(8), &mut bytes)?;
    messages::send(id, Message { kind, bytes }, flags).map(|()| 0)
}

pub fn receive([id, address, most, kind, flags, _]: [usize; 6]) -> Result {
    if (most as isize) < 0 {
        return Err(Errno::INVAL);
    }
    let message = messages::receive(id as i32, most, kind as i64, flags)?;
    user::write(address, &message.kind)?;
    user::write_bytes(address.wrapping_add(8), &message.bytes)?;
    Ok(message.bytes.len())
}

pub fn control_messages(id: i32, command: usize, address: usize) -> Result {
    match command & !OLD_FLAG {
        REMOVE => messages::remove(id)?,
        SET => {
            let (user, group, mode) = read_owner(address)?;
            let capacity: usize = user::read(address.wrapping_add(88))?;
            messages::change(id, user, group, mode, capacity)?;
        }
        STATUS => user::write_words(address, &messages::status(id)?)?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}
