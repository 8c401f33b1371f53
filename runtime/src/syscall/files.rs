//! Calls on file descriptors.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::abi::calls::Call;
use crate::abi::errno::{Errno, Result};
use crate::abi::stat;
use crate::arch::PAGE;
use crate::file::inotify::{self, Changes};
use crate::file::io::{Input, Output};
use crate::file::locks::{self, Lock, Owner};
use crate::file::pipe::{self, PipeEnd};
use crate::file::regular::check_size;
use crate::file::terminal;
use crate::file::{Description, File, FileTable, Flags, MOST_BYTES, NodeFile};
use crate::fs::memory::{self, MemoryNode, Seals};
use crate::fs::{Change, Kind, Node, Place};
use crate::mm::user;
use crate::task::{self, Limit};

/// `O_CLOEXEC`
pub const CLOSE_ON_EXEC: usize = 0o2_000_000;
/// The most entries of a directory that one call looks at.
const MOST_ENTRIES: usize = 1024;
/// The most pieces of one call (`IOV_MAX`).
const MOST_PIECES: usize = 1024;

pub fn table() -> Rc<FileTable> {
    task::current_process().file_table()
}

/// The open file behind a descriptor.
pub fn get(fd: i32) -> Result<Rc<Description>> {
    table().get(fd)
}

/// Gives an open file a descriptor.
pub fn add(description: Rc<Description>, close_on_exec: bool) -> Result {
    let process = task::current_process();
    process
        .file_table()
        .add(description, close_on_exec, 0, process.limit(Limit::FILES))
}

/// The open file behind a descriptor that stands for more than a place.
pub fn get_open(fd: i32) -> Result<Rc<Description>> {
    let description = get(fd)?;
    if description.path_only {
        Err(Errno::BADF)
    } else {
        Ok(description)
    }
}

/// `struct iovec` pieces.
pub fn pieces(address: usize, count: usize) -> Result<Vec<(usize, usize)>> {
    let pieces: Vec<[usize; 2]> = user::read_array(address, count, MOST_PIECES)?;
    let mut left = MOST_BYTES;
    pieces
        .into_iter()
        .map(|[address, length]| {
            if length as isize == isize::MIN || (length as isize) < 0 {
                return Err(Errno::INVAL);
            }
            let length = length.min(left);
            left -= length;
            Ok((address, length))
        })
        .collect()
}

pub fn read(fd: i32, address: usize, length: usize) -> Result {
    get_open(fd)?.read(&mut Output::user(address, length.min(MOST_BYTES)))
}

pub fn write(fd: i32, address: usize, length: usize) -> Result {
    get_open(fd)?.write(&mut Input::user(address, length.min(MOST_BYTES)))
}

/// The offset of `preadv2` may be -1: the file's own position.
pub fn offset_or_current(call: Call, offset: usize) -> Option<u64> {
    let current = matches!(call, Call::Preadv2 | Call::Pwritev2) && offset == usize::MAX;
    (!current).then_some(offset as u64)
}

pub fn read_pieces(fd: i32, address: usize, count: usize, offset: Option<u64>) -> Result {
    let description = get_open(fd)?;
    let mut out = Output::user_pieces(pieces(address, count)?);
    match offset {
        None => description.read(&mut out),
        Some(offset) => read_from(&description, offset, &mut out),
    }
}

pub fn write_pieces(fd: i32, address: usize, count: usize, offset: Option<u64>) -> Result {
    let description = get_open(fd)?;
    let mut input = Input::user_pieces(pieces(address, count)?);
    match offset {
        None => description.write(&mut input),
        Some(offset) => write_to(&description, offset, &mut input),
    }
}

pub fn read_at(fd: i32, address: usize, length: usize, offset: u64) -> Result {
    read_from(
        &*get_open(fd)?,
        offset,
        &mut Output::user(address, length.min(MOST_BYTES)),
    )
}

pub fn write_at(fd: i32, address: usize, length: usize, offset: u64) -> Result {
    write_to(
        &*get_open(fd)?,
        offset,
        &mut Input::user(address, length.min(MOST_BYTES)),
    )
}

fn check_offset(description: &Description, offset: u64) -> Result<()> {
    if !description.file.is_seekable() {
        return Err(Errno::SPIPE);
    }
    if (offset as i64) < 0 {
        Err(Errno::INVAL)
    } else {
        Ok(())
    }
}

fn read_from(description: &Description, offset: u64, out: &mut Output<'_>) -> Result {
    check_offset(description, offset)?;
    if !description.readable {
        return Err(Errno::BADF);
    }
    let done = description.file.read(offset, out)?;
    report(description, Changes::READ);
    Ok(done)
}

fn write_to(description: &Description, offset: u64, input: &mut Input<'_>) -> Result {
    check_offset(description, offset)?;
    if !description.writable {
        return Err(Errno::BADF);
    }
    let appends = description.flags.get().contains(Flags::APPEND);
    let offset = if appends {
        description.file.metadata().size
    } else {
        offset
    };
    description.write_all(offset, input)
}

pub fn seek(fd: i32, offset: i64, whence: usize) -> Result {
    let description = get_open(fd)?;
    if !description.file.is_seekable() {
        return Err(Errno::SPIPE);
    }
    let size = || description.file.metadata().size as i64;
    let next = |hole| match (u64::try_from(offset), description.file.node()) {
        (Ok(at), Some(node)) if offset < size() => Ok(node.next(at, hole).map(|at| at as i64)),
        _ => Err(Errno::NXIO),
    };
    let target = match whence {
        0 => Some(offset),
        1 => (description.offset.get() as i64).checked_add(offset),
        2 => size().checked_add(offset),
        3 => Some(next(false)?.ok_or(Errno::NXIO)?),
        4 => Some(next(true)?.unwrap_or(size())),
        _ => None,
    };
    let target = target.filter(|&target| target >= 0).ok_or(Errno::INVAL)?;
    description.offset.set(target as u64);
    Ok(target as usize)
}

pub fn close(fd: i32) -> Result {
    let closed = table().take(fd)?;
    drop(closed);
    Ok(0)
}

pub fn close_range(first: u32, last: u32, flags: usize) -> Result {
    const UNSHARE: usize = 2;
    const ON_EXEC: usize = 4;
    if first > last || flags & !(UNSHARE | ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let process = task::current_process();
    if flags & UNSHARE != 0 {
        let copy = Rc::new(process.file_table().copy()?);
        *process.files.borrow_mut() = copy;
    }
    let table = process.file_table();
    for fd in table.descriptors() {
        if (first..=last).contains(&(fd as u32)) {
            if flags & ON_EXEC != 0 {
                table.set_close_on_exec(fd, true)?;
            } else {
                drop(table.take(fd)?);
            }
        }
    }
    Ok(0)
}

pub fn duplicate(fd: i32) -> Result {
    add(get(fd)?, false)
}

pub fn duplicate_to(fd: i32, new: i32, flags: Option<usize>) -> Result {
    if flags.is_some_and(|flags| fd == new || flags & !CLOSE_ON_EXEC != 0) {
        return Err(Errno::INVAL);
    }
    let description = get(fd)?;
    if fd == new {
        return Ok(new as usize);
    }
    let flags = flags.unwrap_or(0);
    let process = task::current_process();
    let limit = process.limit(Limit::FILES);
    process
        .file_table()
        .put(new, description, flags & CLOSE_ON_EXEC != 0, limit)?;
    Ok(new as usize)
}

pub fn control(fd: i32, command: usize, argument: usize) -> Result {
    let description = get(fd)?;
    let process = task::current_process();
    let table = process.file_table();
    match command {
        0 | 1030 => {
            let limit = process.limit(Limit::FILES);
            if argument as u64 >= limit {
                return Err(Errno::INVAL);
            }
            table.add(description, command == 1030, argument, limit)
        }
        1 => Ok(usize::from(table.close_on_exec(fd)?)),
        2 => table.set_close_on_exec(fd, argument & 1 != 0).map(|()| 0),
        3 => Ok(description.open_flags()),
        4 => {
            description
                .flags
                .set(Flags::from_bits_truncate(argument as u32));
            Ok(0)
        }
        5..=7 | 36..=38 => lock_range(&description, command, argument),
        8 => {
            description.owner.set(argument as i32);
            Ok(0)
        }
        9 => Ok(description.owner.get() as usize),
        10 | 11 | 15 | 16 => Ok(0),
        // A lease for reading cannot be had of what is open for writing.
        1024 if argument == 0 && description.writable => Err(Errno::AGAIN),
        1024..=1026 => Ok(0),
        1031 => end_of_pipe(&description, |end| end.set_capacity(argument)),
        1032 => end_of_pipe(&description, |end| Ok(end.capacity())),
        1033 => add_seals(&description, argument),
        1034 => Ok(sealable(&description)?.seals().bits() as usize),
        _ => Err(Errno::INVAL),
    }
}

/// The file in memory that may have seals.
fn sealable(description: &Description) -> Result<&MemoryNode> {
    let node = description.file.node().ok_or(Errno::INVAL)?;
    let file = MemoryNode::of(node).filter(|_| node.kind() == Kind::File);
    file.ok_or(Errno::INVAL)
}

fn add_seals(description: &Description, bits: usize) -> Result {
    let seals = u32::try_from(bits).ok().and_then(Seals::from_bits);
    let seals = seals.ok_or(Errno::INVAL)?;
    let file = sealable(description)?;
    if !description.writable {
        return Err(Errno::PERM);
    }
    if seals.contains(Seals::WRITE)
        && let Some(node) = description.file.node()
        && task::can_write_mapped(node)
    {
        return Err(Errno::BUSY);
    }
    file.seal(seals)?;
    Ok(0)
}

fn end_of_pipe(description: &Description, body: impl FnOnce(&PipeEnd) -> Result) -> Result {
    body(pipe::end(&*description.file).ok_or(Errno::BADF)?)
}

/// `l_type` of `struct flock`.
const READ_LOCK: u16 = 0;
const WRITE_LOCK: u16 = 1;
const UNLOCK: u16 = 2;

/// Locks of ranges: `F_GETLK`, `F_SETLK`, `F_SETLKW` (5 to 7) and `F_OFD_*` (36 to 38).
fn lock_range(description: &Description, command: usize, at: usize) -> Result {
    let of_description = command >= 36;
    let [kind, whence]: [u16; 2] = user::read(at)?;
    let [offset, length]: [i64; 2] = user::read(at.wrapping_add(8))?;
    let process_at = at.wrapping_add(24);
    if of_description && user::read::<i32>(process_at)? != 0 {
        return Err(Errno::INVAL);
    }
    let base = match whence {
        0 => 0,
        1 => description.offset.get() as i64,
        2 => description.metadata().size as i64,
        _ => return Err(Errno::INVAL),
    };
    let first = base.checked_add(offset).ok_or(Errno::OVERFLOW)?;
    // A negative length locks what lies before the offset.
    let last = first.checked_add(length).ok_or(Errno::OVERFLOW)?;
    let (start, end) = match length {
        0 => (first, i64::MAX),
        1.. => (first, last),
        _ => (last, first),
    };
    let start = u64::try_from(start).map_err(|_| Errno::INVAL)?;
    let owner = if of_description {
        Owner::description(description)
    } else {
        Owner::Process(task::current_process().id)
    };
    let lock = Lock {
        owner,
        exclusive: kind == WRITE_LOCK,
        start,
        end: if length == 0 { u64::MAX } else { end as u64 },
    };
    let key = locks::Key::new(description, false);
    if matches!(command, 5 | 36) {
        if kind > WRITE_LOCK {
            return Err(Errno::INVAL);
        }
        let Some(other) = locks::conflict(key, &lock) else {
            user::write(at, &UNLOCK)?;
            return Ok(0);
        };
        let kind = if other.exclusive {
            WRITE_LOCK
        } else {
            READ_LOCK
        };
        let length = if other.end == u64::MAX {
            0
        } else {
            other.end - other.start
        };
        user::write(at, &[kind, 0])?;
        user::write(at.wrapping_add(8), &[other.start, length])?;
        let process = match other.owner {
            Owner::Process(process) => process,
            Owner::Description(_) => -1,
        };
        user::write(process_at, &process)?;
        return Ok(0);
    }
    match kind {
        READ_LOCK if !description.readable => return Err(Errno::BADF),
        WRITE_LOCK if !description.writable => return Err(Errno::BADF),
        READ_LOCK | WRITE_LOCK if matches!(command, 7 | 38) => locks::wait_and_set(key, lock)?,
        READ_LOCK | WRITE_LOCK => locks::set(key, lock)?,
        UNLOCK => locks::clear(key, &lock),
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// `flock`
pub fn lock(fd: i32, operation: usize) -> Result {
    const SHARED: usize = 1;
    const EXCLUSIVE: usize = 2;
    const NO_WAIT: usize = 4;
    const UNLOCK: usize = 8;
    let description = get_open(fd)?;
    let key = locks::Key::new(&description, true);
    let owner = Owner::description(&description);
    let no_wait = operation & NO_WAIT != 0;
    let lock = match operation & !NO_WAIT {
        SHARED => Lock::whole(owner, false),
        EXCLUSIVE => Lock::whole(owner, true),
        UNLOCK => {
            locks::clear(key, &Lock::whole(owner, false));
            return Ok(0);
        }
        _ => return Err(Errno::INVAL),
    };
    if locks::conflict(key, &lock).is_some() {
        // A lock that is to change its kind goes first, as on Linux.
        locks::clear(key, &lock);
    }
    if no_wait {
        locks::set(key, lock)?;
    } else {
        locks::wait_and_set(key, lock)?;
    }
    Ok(0)
}

pub fn device_control(fd: i32, request: usize, argument: usize) -> Result {
    let description = get_open(fd)?;
    match request & 0xffff_ffff {
        0x5421 => {
            let mut flags = description.flags.get();
            flags.set(Flags::NO_WAIT, user::read::<u32>(argument)? != 0);
            description.flags.set(flags);
            Ok(0)
        }
        0x5441 => open_other_side(&description, argument),
        0x5452 => {
            let mut flags = description.flags.get();
            flags.set(Flags::ASYNC, user::read::<u32>(argument)? != 0);
            description.flags.set(flags);
            Ok(0)
        }
        0x5450 => table().set_close_on_exec(fd, false).map(|()| 0),
        0x5451 => table().set_close_on_exec(fd, true).map(|()| 0),
        0x541b if description.file.metadata().kind == Kind::File => {
            let left = description
                .file
                .metadata()
                .size
                .saturating_sub(description.offset.get());
            user::write(argument, &(left as u32))?;
            Ok(0)
        }
        request => description.file.control(request, argument),
    }
}

/// Opens the slave of a terminal by its master (`TIOCGPTPEER`).
fn open_other_side(master: &Description, flags: usize) -> Result {
    let number = terminal::number_of_master(&master.file)?;
    let slave = terminal::open_slave(number)?;
    let place = super::paths::find(alloc::format!("/dev/pts/{number}").as_bytes());
    let kept = Flags::from_bits_truncate(flags as u32) & Flags::NO_WAIT;
    let (readable, writable) = (flags & 3 != 1, flags & 3 != 0);
    let description = Description::at(slave, place.ok(), readable, writable, kept);
    add(description, flags & CLOSE_ON_EXEC != 0)
}

pub fn pipe(address: usize, flags: usize) -> Result {
    let mut kept = Flags::from_bits_truncate(flags as u32) & (Flags::NO_WAIT | Flags::DIRECT);
    if flags & !(CLOSE_ON_EXEC | kept.bits() as usize) != 0 {
        return Err(Errno::INVAL);
    }
    kept.remove(Flags::DIRECT);
    let (reader, writer) = pipe::new();
    let close = flags & CLOSE_ON_EXEC != 0;
    let first = add(Description::new(reader, true, false, kept), close)?;
    let second = add(Description::new(writer, false, true, kept), close);
    let written = second
        .and_then(|second| user::write(address, &[first as i32, second as i32]).map(|()| second));
    if let Err(error) = written {
        let _ = close_both(first, second.ok());
        return Err(error);
    }
    Ok(0)
}

fn close_both(first: usize, second: Option<usize>) -> Result {
    if let Some(second) = second {
        close(second as i32)?;
    }
    close(first as i32)
}

pub fn sync(fd: i32) -> Result {
    match get_open(fd)?.file.node() {
        Some(node) if matches!(node.kind(), Kind::File | Kind::Directory) => {
            node.sync().map(|()| 0)
        }
        _ => Err(Errno::INVAL),
    }
}

pub fn exists(fd: i32) -> Result {
    get_open(fd).map(|_| 0)
}

pub fn status(fd: i32, address: usize) -> Result {
    user::write_bytes(address, &stat::stat(&get(fd)?.metadata()))?;
    Ok(0)
}

pub fn file_system(fd: i32, address: usize) -> Result {
    let description = get(fd)?;
    let node = description
        .file
        .node()
        .cloned()
        .or_else(|| description.place.as_ref().map(|place| place.node.clone()));
    let status = match node {
        Some(node) => node.file_system(),
        None => task::current_process().paths().root.node.file_system(),
    };
    user::write_bytes(address, &stat::statfs(&status))?;
    Ok(0)
}

/// The node of a file that may be written.
fn writable_node(description: &Description) -> Result<&Rc<dyn Node>> {
    if !description.writable {
        return Err(Errno::INVAL);
    }
    description.file.node().ok_or(Errno::INVAL)
}

/// Reports what happened to an open file to those who watch it.
fn report(description: &Description, changes: Changes) {
    if let Some(place) = &description.place {
        inotify::report_place(place, changes);
    }
}

pub fn truncate(fd: i32, length: i64) -> Result {
    let description = get_open(fd)?;
    let size = u64::try_from(length).map_err(|_| Errno::INVAL)?;
    let node = writable_node(&description)?;
    check_size(size)?;
    node.change(&Change {
        size: Some(size),
        ..Change::default()
    })?;
    report(&description, Changes::WRITTEN);
    Ok(0)
}

pub fn allocate(fd: i32, mode: usize, offset: i64, length: i64) -> Result {
    const KEEP_SIZE: usize = 1;
    const PUNCH_HOLE: usize = 2;
    const ZERO_RANGE: usize = 0x10;
    let description = get_open(fd)?;
    let (Ok(offset), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
        return Err(Errno::INVAL);
    };
    if !description.writable {
        return Err(Errno::BADF);
    }
    let node = description.file.node().ok_or(Errno::SPIPE)?;
    if length == 0 {
        return Err(Errno::INVAL);
    }
    let end = offset.checked_add(length);
    let end = end
        .filter(|&end| end <= i64::MAX as u64)
        .ok_or(Errno::FBIG)?;
    let size = node.metadata().size;
    if mode & (PUNCH_HOLE | ZERO_RANGE) != 0 {
        let zeros = [0; PAGE];
        let mut at = offset;
        // What is in a hole has no memory, and needs none.
        while let Some(data) = node.next(at, false).filter(|&data| data < end.min(size)) {
            let rest = (end.min(size) - data) as usize;
            let part = rest.min(PAGE - data as usize % PAGE);
            at = data + node.write(data, &mut Input::kernel(&zeros[..part]))? as u64;
        }
    }
    if mode & KEEP_SIZE == 0 && end > size {
        node.change(&Change {
            size: Some(end),
            ..Change::default()
        })?;
    }
    Ok(0)
}

/// `getdents`, with the older layout of entries: the kind is the last byte.
pub fn old_directory_entries(fd: i32, address: usize, length: usize) -> Result {
    list_directory(fd, address, length, stat::old_directory_entry)
}

pub fn directory_entries(fd: i32, address: usize, length: usize) -> Result {
    list_directory(fd, address, length, stat::directory_entry)
}

fn list_directory(
    fd: i32,
    address: usize,
    length: usize,
    encode: fn(&crate::fs::DirectoryEntry) -> Vec<u8>,
) -> Result {
    let description = get_open(fd)?;
    let node = description.file.node().ok_or(Errno::NOTDIR)?;
    // No more than fit are asked for: a directory may have many.
    let most = (length / stat::SHORTEST_ENTRY + 1).min(MOST_ENTRIES);
    // Positions 0 and 1 stand for `.` and `..`; those of the node follow.
    let mut position = description.offset.get();
    let own = node.metadata();
    let dots = [
        (&b"."[..], own.number),
        (b"..", parent_number(&description).unwrap_or(own.number)),
    ];
    let mut entries = Vec::new();
    for (index, (name, number)) in dots.iter().enumerate().skip(position as usize) {
        entries.push(crate::fs::DirectoryEntry {
            name: (*name).into(),
            number: *number,
            kind: Kind::Directory,
            next: index as u64 + 1,
        });
    }
    let from = position.saturating_sub(2);
    entries.extend(node.entries(from, most)?.into_iter().map(|mut entry| {
        entry.next = entry.next.saturating_add(2);
        entry
    }));
    let mut done = 0;
    for entry in entries {
        let bytes = encode(&entry);
        if done + bytes.len() > length {
            if done == 0 {
                return Err(Errno::INVAL);
            }
            break;
        }
        user::write_bytes(address.wrapping_add(done), &bytes)?;
        done += bytes.len();
        position = entry.next;
    }
    description.offset.set(position);
    Ok(done)
}

fn parent_number(description: &Description) -> Option<u64> {
    let place = description.place.as_ref()?;
    Some(place.parent()?.node.metadata().number)
}

/// Moves bytes from one open file to another by a buffer of the kernel.
fn transfer(
    from: &Description,
    from_offset: &mut Option<u64>,
    to: &Description,
    to_offset: &mut Option<u64>,
    length: usize,
) -> Result {
    const BUFFER: usize = 64 << 10;
    if !from.readable || !to.writable {
        return Err(Errno::BADF);
    }
    let mut buffer = alloc::vec![0; length.min(BUFFER)];
    let mut done = 0;
    while done < length {
        let part = buffer.len().min(length - done);
        let mut out = Output::kernel(&mut buffer[..part]);
        let at = from_offset.unwrap_or(from.offset.get());
        let read = from.wait_for(None, || from.file.read(at, &mut out));
        let got = match read {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        let mut input = Input::kernel(&buffer[..got]);
        let written = match to_offset {
            Some(offset) => to.write_all(*offset, &mut input),
            None => to.write(&mut input),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        match from_offset {
            Some(offset) => *offset += written as u64,
            None if from.file.is_seekable() => from.offset.set(at + written as u64),
            None => {}
        }
        if let Some(offset) = to_offset {
            *offset += written as u64;
        }
        done += written;
        if written < got || !from.file.is_seekable() || task::current().is_interrupted() {
            break;
        }
        task::pause();
    }
    Ok(done)
}

/// The offset at `address`, for a file that has positions; none at address 0.
fn read_offset(description: &Description, address: usize) -> Result<Option<u64>> {
    if address == 0 {
        return Ok(None);
    }
    let offset = user::read(address)?;
    check_offset(description, offset)?;
    Ok(Some(offset))
}

fn write_offset(address: usize, offset: Option<u64>) -> Result<()> {
    match offset {
        Some(offset) if address != 0 => user::write(address, &offset),
        _ => Ok(()),
    }
}

pub fn send_file(to: i32, from: i32, offset_at: usize, length: usize) -> Result {
    let (to, from) = (get_open(to)?, get_open(from)?);
    let mut offset = read_offset(&from, offset_at)?;
    let done = transfer(&from, &mut offset, &to, &mut None, length.min(MOST_BYTES))?;
    write_offset(offset_at, offset)?;
    Ok(done)
}

/// As [`transfer`], with offsets that the program keeps at addresses; at 0 it keeps none.
fn transfer_at(
    from: &Description,
    from_at: usize,
    to: &Description,
    to_at: usize,
    length: usize,
) -> Result {
    let mut from_offset = read_offset(from, from_at)?;
    let mut to_offset = read_offset(to, to_at)?;
    let done = transfer(from, &mut from_offset, to, &mut to_offset, length)?;
    write_offset(from_at, from_offset)?;
    write_offset(to_at, to_offset)?;
    Ok(done)
}

pub fn copy_range(from: i32, from_at: usize, to: i32, to_at: usize, length: usize) -> Result {
    let (from, to) = (get_open(from)?, get_open(to)?);
    if !from.file.is_seekable() || !to.file.is_seekable() {
        return Err(Errno::INVAL);
    }
    transfer_at(&from, from_at, &to, to_at, length.min(MOST_BYTES))
}

pub fn splice(
    from: i32,
    from_at: usize,
    to: i32,
    to_at: usize,
    length: usize,
    _flags: usize,
) -> Result {
    let (from, to) = (get_open(from)?, get_open(to)?);
    if pipe::end(&*from.file).or(pipe::end(&*to.file)).is_none() {
        return Err(Errno::INVAL);
    }
    transfer_at(&from, from_at, &to, to_at, length.min(64 << 10))
}

/// Copies what a pipe has into another one (`tee`).
pub fn copy_pipe(from: i32, to: i32, length: usize) -> Result {
    let (from, to) = (get_open(from)?, get_open(to)?);
    let (Some(source), Some(end)) = (pipe::end(&*from.file), pipe::end(&*to.file)) else {
        return Err(Errno::INVAL);
    };
    if source.has_pipe_of(end) {
        return Err(Errno::INVAL);
    }
    let length = length.min(64 << 10);
    let bytes = from.wait_for(None, || source.peek(length))?;
    to.write(&mut Input::kernel(&bytes))
}

pub fn change_permissions(fd: i32, mode: usize) -> Result {
    let description = get_open(fd)?;
    let node = description.file.node().ok_or(Errno::INVAL)?;
    super::paths::change_permissions_of(node, mode)?;
    report(&description, Changes::METADATA);
    Ok(0)
}

pub fn change_owner(fd: i32, user: u32, group: u32) -> Result {
    let description = get_open(fd)?;
    match description.file.node() {
        Some(node) => super::paths::change_owner_of(node, user, group)?,
        None => 0,
    };
    report(&description, Changes::METADATA);
    Ok(0)
}

/// Checks the flags of `preadv2` and `pwritev2`: those that ask for what happens anyway.
pub fn check_flags(call: Call, flags: usize) -> Result<()> {
    const HIGH_PRIORITY: usize = 1;
    const DATA_SYNC: usize = 2;
    const SYNC: usize = 4;
    let known = HIGH_PRIORITY | DATA_SYNC | SYNC;
    if matches!(call, Call::Preadv2 | Call::Pwritev2) && flags & !known != 0 {
        Err(Errno::OPNOTSUPP)
    } else {
        Ok(())
    }
}

/// Moves memory into a pipe, or what a pipe has into memory (`vmsplice`).
pub fn splice_memory(fd: i32, address: usize, count: usize) -> Result {
    let description = get_open(fd)?;
    end_of_pipe(&description, |_| Ok(0))?;
    if description.writable {
        write_pieces(fd, address, count, None)
    } else {
        read_pieces(fd, address, count, None)
    }
}

pub fn memory_file(name_at: usize, flags: usize) -> Result {
    const CLOSE: usize = 1;
    const SEALS: usize = 2;
    const NOT_EXECUTABLE: usize = 8;
    const EXECUTABLE: usize = 0x10;
    let executable = flags & NOT_EXECUTABLE == 0;
    if flags & !(CLOSE | SEALS | NOT_EXECUTABLE | EXECUTABLE) != 0
        || (!executable && flags & EXECUTABLE != 0)
    {
        return Err(Errno::INVAL);
    }
    let name = user::read_string(name_at, 249)?;
    let file = memory::new_file(if executable { 0o777 } else { 0o666 });
    if flags & SEALS != 0 || !executable {
        file.allow_seals();
    }
    if !executable {
        file.seal(Seals::EXECUTE)?;
    }
    let node: Rc<dyn Node> = file;
    let place = Place::detached(
        node.clone(),
        &[b"/memfd:", &name[..], b" (deleted)"].concat(),
    );
    let file: Rc<dyn File> = Rc::new(NodeFile(node));
    let description = Description::at(file, Some(place), true, true, Flags::empty());
    add(description, flags & CLOSE != 0)
}
