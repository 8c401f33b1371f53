//! Waiting for several files at once.

use alloc::rc::Rc;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{files, signals, times};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::file::{Description, Events};
use crate::mm::user;
use crate::task::{self, WaitQueue};
use crate::time::TimeSpec;

/// The most files of one call.
const MOST: usize = 65_536;

/// `struct pollfd`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PollEntry {
    fd: i32,
    wanted: u16,
    found: u16,
}

/// A deadline from a number of milliseconds; negative ones have none.
pub fn milliseconds(argument: usize) -> Option<u64> {
    let milliseconds = argument as i32;
    let wait = u64::try_from(milliseconds).ok()?;
    Some(arch::monotonic().saturating_add(wait.saturating_mul(1_000_000)))
}

/// Files with the events that are wanted of them.
type Wanted = Vec<(Option<Rc<Description>>, Events)>;

/// Waits until one of the files has an event; the events of each.
fn wait_for(wanted: &Wanted, deadline: Option<u64>) -> Result<Vec<Events>> {
    let queues: Vec<&WaitQueue> = wanted
        .iter()
        .filter_map(|(file, _)| file.as_ref()?.file.queue())
        .collect();
    let look = || {
        let found: Vec<Events> = wanted
            .iter()
            .map(|(file, events)| match file {
                Some(file) => file.events(*events),
                None => Events::empty(),
            })
            .collect();
        found
            .iter()
            .any(|events| !events.is_empty())
            .then_some(found)
    };
    let found = task::wait(&queues, deadline, look).map_err(|_| Errno::RESTART_WITHOUT_HANDLER)?;
    Ok(found.unwrap_or_else(|| alloc::vec![Events::empty(); wanted.len()]))
}

pub fn poll(address: usize, count: usize, deadline: Option<u64>) -> Result {
    let mut entries: Vec<PollEntry> = user::read_array(address, count, MOST)?;
    let mut missing = 0;
    let wanted: Wanted = entries
        .iter_mut()
        .map(|entry| {
            entry.found = 0;
            if entry.fd < 0 {
                return (None, Events::empty());
            }
            match files::get(entry.fd) {
                Ok(file) => (Some(file), Events::from_bits_truncate(entry.wanted.into())),
                Err(_) => {
                    entry.found = Events::INVALID.bits() as u16;
                    missing += 1;
                    (None, Events::empty())
                }
            }
        })
        .collect();
    let deadline = if missing > 0 { Some(0) } else { deadline };
    let found = wait_for(&wanted, deadline)?;
    let mut count = missing;
    for (index, (entry, events)) in entries.iter_mut().zip(found).enumerate() {
        if !events.is_empty() {
            entry.found = events.bits() as u16;
            count += 1;
        }
        let at = address.wrapping_add(index * size_of::<PollEntry>());
        user::write(at.wrapping_add(6), &entry.found)?;
    }
    Ok(count)
}

/// The deadline that a `timespec` at an address gives; none at address 0.
pub fn deadline_at(address: usize) -> Result<Option<u64>> {
    if address == 0 {
        return Ok(None);
    }
    let wait = user::read::<TimeSpec>(address)?.to_nanoseconds()?;
    Ok(Some(arch::monotonic().saturating_add(wait)))
}

/// Writes back how much of the time is left.
fn write_left(address: usize, deadline: Option<u64>) {
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(arch::monotonic());
        // A program that gave constant memory does not get it.
        let _ = user::write(address, &TimeSpec::from_nanoseconds(left));
    }
}

pub fn poll_with_mask([address, count, timeout, mask, size, _]: [usize; 6]) -> Result {
    let deadline = deadline_at(timeout)?;
    signals::set_temporary_mask(mask, size)?;
    let result = poll(address, count, deadline);
    signals::end_temporary_mask(result);
    write_left(timeout, deadline);
    result
}

pub fn select([count, read, write, except, timeout, _]: [usize; 6]) -> Result {
    let deadline = if timeout == 0 {
        None
    } else {
        let [seconds, micros]: [i64; 2] = user::read(timeout)?;
        let wait = times::from_microseconds(seconds, micros)?;
        Some(arch::monotonic().saturating_add(wait))
    };
    let result = select_until(count, [read, write, except], deadline);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(arch::monotonic()) / 1000;
        let _ = user::write(timeout, &[left / 1_000_000, left % 1_000_000]);
    }
    result
}

pub fn select_with_mask([count, read, write, except, timeout, mask]: [usize; 6]) -> Result {
    let deadline = deadline_at(timeout)?;
    if mask != 0 {
        let [mask_at, size]: [usize; 2] = user::read(mask)?;
        signals::set_temporary_mask(mask_at, size)?;
    }
    let result = select_until(count, [read, write, except], deadline);
    signals::end_temporary_mask(result);
    write_left(timeout, deadline);
    result
}

fn select_until(count: usize, sets: [usize; 3], deadline: Option<u64>) -> Result {
    if count as i32 as isize != count as isize || (count as i32) < 0 || count > MOST {
        return Err(Errno::INVAL);
    }
    let words = count.div_ceil(64);
    let mut given = [const { Vec::new() }; 3];
    for (set, &address) in given.iter_mut().zip(&sets) {
        *set = alloc::vec![0_u64; words];
        if address != 0 {
            user::read_words(address, set)?;
        }
    }
    let has = |set: &Vec<u64>, fd: usize| set[fd / 64] & 1 << (fd % 64) != 0;
    let mut numbers = Vec::new();
    let mut wanted: Wanted = Vec::new();
    for fd in 0..count {
        let mut events = Events::empty();
        events.set(Events::IN, has(&given[0], fd));
        events.set(Events::OUT, has(&given[1], fd));
        events.set(Events::URGENT, has(&given[2], fd));
        if !events.is_empty() {
            wanted.push((Some(files::get(fd as i32)?), events));
            numbers.push(fd);
        }
    }
    let found = wait_for(&wanted, deadline)?;
    let mut count = 0;
    let mut results = [
        alloc::vec![0_u64; words],
        alloc::vec![0_u64; words],
        alloc::vec![0_u64; words],
    ];
    for ((fd, events), (_, wanted)) in numbers.into_iter().zip(found).zip(&wanted) {
        let readable = Events::IN | Events::HANG_UP | Events::ERROR;
        let writable = Events::OUT | Events::ERROR;
        for (result, of, shown) in [
            (0, Events::IN, readable),
            (1, Events::OUT, writable),
            (2, Events::URGENT, Events::URGENT),
        ] {
            if wanted.contains(of) && events.intersects(shown) {
                results[result][fd / 64] |= 1 << (fd % 64);
                count += 1;
            }
        }
    }
    for (result, &address) in results.iter().zip(&sets) {
        if address != 0 {
            user::write_words(address, result)?;
        }
    }
    Ok(count)
}
