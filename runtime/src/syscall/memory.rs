//! Calls on memory.

use alloc::rc::Rc;

use super::files;
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::file::io::{Input, Output};
use crate::fs::memory::{self, MemoryNode, Seals};
use crate::fs::{Kind, Node};
use crate::mm::{Area, Backing, Protection, Space, page_end, page_start, user};
use crate::task;

const SHARED: usize = 1;
/// As shared, but flags that no one knows are an error (`MAP_SHARED_VALIDATE`).
const VALIDATED: usize = 3;
/// The flags that Linux knows in all mappings.
const KNOWN: usize = 0x17_ff3f;
const FIXED: usize = 0x10;
const ANONYMOUS: usize = 0x20;
const POPULATE: usize = 0x8000;
const FIXED_NO_REPLACE: usize = 0x10_0000;

fn space() -> Result<Rc<Space>> {
    task::current_process().space().ok_or(Errno::NOMEM)
}

/// The protection that `PROT_*` mean.
fn protection(bits: usize) -> Protection {
    Protection::from_bits_truncate(bits as u32)
}

pub fn map([address, length, bits, flags, fd, offset]: [usize; 6]) -> Result {
    if length == 0 || offset % PAGE != 0 {
        return Err(Errno::INVAL);
    }
    let shared = match flags & 0xf {
        SHARED | VALIDATED => true,
        2 => false,
        _ => return Err(Errno::INVAL),
    };
    if flags & 0xf == VALIDATED && flags & !KNOWN != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let protection = protection(bits);
    let backing = if flags & ANONYMOUS != 0 {
        anonymous(shared, length)?
    } else {
        of_file(fd as i32, offset, shared, protection, length)?
    };
    let area = Area {
        end: 0,
        protection,
        shared,
        backing,
    };
    let space = space()?;
    let at = if flags & (FIXED | FIXED_NO_REPLACE) != 0 {
        if flags & FIXED_NO_REPLACE != 0
            && !space.is_free(address, page_end(length).ok_or(Errno::NOMEM)?)
        {
            return Err(Errno::EXIST);
        }
        space.map_at(address, length, area)?;
        address
    } else {
        space.map(address, length, area)?
    };
    if flags & POPULATE != 0 {
        for page in (at..at + length).step_by(PAGE) {
            // What cannot be brought in now is when it is touched.
            if space
                .frame(page, protection.contains(Protection::WRITE))
                .is_err()
            {
                break;
            }
        }
    }
    Ok(at)
}

/// Memory without a file: zeros, or a file without a name if it is shared.
fn anonymous(shared: bool, length: usize) -> Result<Backing> {
    if !shared {
        return Ok(Backing::Zeros);
    }
    let node: Rc<dyn Node> = memory::new_file(0o600);
    let size = page_end(length).ok_or(Errno::NOMEM)? as u64;
    node.change(&crate::fs::Change {
        size: Some(size),
        ..Default::default()
    })?;
    Ok(Backing::File {
        node,
        offset: 0,
        end: u64::MAX,
        place: None,
        read_only: false,
    })
}

fn of_file(
    fd: i32,
    offset: usize,
    shared: bool,
    protection: Protection,
    length: usize,
) -> Result<Backing> {
    let description = files::get(fd)?;
    if description.path_only {
        return Err(Errno::BADF);
    }
    if !description.readable
        || (shared && protection.contains(Protection::WRITE) && !description.writable)
    {
        return Err(Errno::ACCES);
    }
    if description.file.zeros_when_mapped() {
        return anonymous(shared, length);
    }
    let node = description.file.node().ok_or(Errno::NODEV)?;
    if node.kind() != Kind::File {
        return Err(Errno::NODEV);
    }
    let sealed = MemoryNode::of(node).is_some_and(|file| file.seals().intersects(Seals::WRITES));
    if shared && sealed && protection.contains(Protection::WRITE) {
        return Err(Errno::PERM);
    }
    Ok(Backing::File {
        node: node.clone(),
        offset: offset as u64,
        end: u64::MAX,
        place: description.place.clone(),
        read_only: shared && (sealed || !description.writable),
    })
}

pub fn unmap(address: usize, length: usize) -> Result {
    space()?.unmap(address, length)?;
    Ok(0)
}

pub fn protect(address: usize, length: usize, bits: usize) -> Result {
    space()?.protect(address, length, protection(bits))?;
    Ok(0)
}

pub fn remap([old, old_length, new_length, flags, new, _]: [usize; 6]) -> Result {
    const MAY_MOVE: usize = 1;
    const FIXED: usize = 2;
    if flags & !(MAY_MOVE | FIXED) != 0 || (flags & FIXED != 0 && flags & MAY_MOVE == 0) {
        return Err(Errno::INVAL);
    }
    let fixed = (flags & FIXED != 0).then_some(new);
    space()?.remap(old, old_length, new_length, flags & MAY_MOVE != 0, fixed)
}

pub fn set_break(end: usize) -> Result {
    Ok(space()?.set_brk(end))
}

pub fn advise(address: usize, length: usize, advice: usize) -> Result {
    const DONT_NEED: usize = 4;
    const FREE: usize = 8;
    const REMOVE: usize = 9;
    match advice {
        DONT_NEED | FREE => space()?.forget(address, length).map(|()| 0),
        REMOVE => Err(Errno::INVAL),
        0..=3 | 10..=25 => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

/// `mlock`: brings pages in, which stay for ever.
pub fn lock(address: usize, length: usize, flags: usize) -> Result {
    /// `MLOCK_ONFAULT`
    const WHEN_TOUCHED: usize = 1;
    if flags & !WHEN_TOUCHED != 0 {
        return Err(Errno::INVAL);
    }
    let space = space()?;
    let start = page_start(address);
    let end = address.checked_add(length).and_then(page_end);
    let end = end.ok_or(Errno::INVAL)?;
    if !space.is_mapped(start, end) {
        return Err(Errno::NOMEM);
    }
    if flags & WHEN_TOUCHED == 0 {
        for page in (start..end).step_by(PAGE) {
            space.frame(page, false).map_err(|_| Errno::NOMEM)?;
        }
    }
    Ok(0)
}

pub fn sync(address: usize, length: usize, flags: usize) -> Result {
    const LATER: usize = 1;
    const INVALIDATE: usize = 2;
    const NOW: usize = 4;
    let both = LATER | NOW;
    if !address.is_multiple_of(PAGE) || flags & !(both | INVALIDATE) != 0 || flags & both == both {
        return Err(Errno::INVAL);
    }
    let end = address.checked_add(length).and_then(page_end);
    let end = end.ok_or(Errno::NOMEM)?;
    let space = space()?;
    for (start, area) in space.areas() {
        if start < end
            && area.end > address
            && area.shared
            && let Backing::File { node, .. } = &area.backing
        {
            node.sync()?;
        }
    }
    if !space.is_mapped(address, end) {
        return Err(Errno::NOMEM);
    }
    Ok(0)
}

pub fn resident(address: usize, length: usize, vector: usize) -> Result {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::INVAL);
    }
    let space = space()?;
    let end = address
        .checked_add(length)
        .and_then(page_end)
        .ok_or(Errno::NOMEM)?;
    if !space.is_mapped(address, end) {
        return Err(Errno::NOMEM);
    }
    for (index, page) in (address..end).step_by(PAGE).enumerate() {
        user::write(
            vector.wrapping_add(index),
            &u8::from(space.is_present(page)),
        )?;
    }
    Ok(0)
}

/// The memory of another process, which the caller may see.
fn other_space(id: usize) -> Result<Rc<Space>> {
    let process = task::find_process(id as i32).ok_or(Errno::SRCH)?;
    super::signals::check_permission(&process, None)?;
    process.space().ok_or(Errno::SRCH)
}

/// `process_vm_readv`
pub fn read_other([id, own, own_count, other, other_count, flags]: [usize; 6]) -> Result {
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let mut out = Output::user_pieces(files::pieces(own, own_count)?);
    let space = other_space(id)?;
    let mut done = 0;
    for (address, length) in files::pieces(other, other_count)? {
        let mut at = 0;
        while at < length && out.room() > 0 {
            let from = address.wrapping_add(at);
            let Ok(frame) = space.frame(from, false) else {
                return if done > 0 {
                    Ok(done)
                } else {
                    Err(Errno::FAULT)
                };
            };
            let start = from % PAGE;
            let part = (PAGE - start).min(length - at);
            let copied = frame.with(|page| out.put(&page[start..start + part]))?;
            at += copied;
            done += copied;
            if copied < part {
                return Ok(done);
            }
        }
    }
    Ok(done)
}

/// `process_vm_writev`
pub fn write_other([id, own, own_count, other, other_count, flags]: [usize; 6]) -> Result {
    if flags != 0 {
        return Err(Errno::INVAL);
    }
    let mut input = Input::user_pieces(files::pieces(own, own_count)?);
    let space = other_space(id)?;
    let mut buffer = [0; 512];
    let mut done = 0;
    for (address, length) in files::pieces(other, other_count)? {
        let mut at = 0;
        while at < length && input.left() > 0 {
            let part = buffer.len().min(length - at);
            let got = input.take(&mut buffer[..part])?;
            let to = address.wrapping_add(at);
            if space.write(to, &buffer[..got]).is_err() {
                return if done > 0 {
                    Ok(done)
                } else {
                    Err(Errno::FAULT)
                };
            }
            at += got;
            done += got;
        }
    }
    Ok(done)
}
