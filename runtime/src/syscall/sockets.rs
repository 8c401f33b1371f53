//! Calls on sockets.

use alloc::rc::Rc;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::files::{self, CLOSE_ON_EXEC};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::file::io::{Input, Output};
use crate::file::{Description, File, Flags, MOST_BYTES};
use crate::mm::user;
use crate::net::address::{Address, LONGEST};
use crate::net::socket::{Control, Message, NO_DELAY, PASS_CREDENTIALS, Received};
use crate::net::{self, Socket};
use crate::task::{self, Limit};
use crate::time::TimeSpec;

const NO_WAIT: usize = 0o4000;
/// The level of options of all sockets, and of control messages.
const SOCKET_LEVEL: i32 = 1;
const RIGHTS: i32 = 1;
const CREDENTIALS: i32 = 2;
/// The most open files in one message (`SCM_MAX_FD`).
const MOST_FILES: usize = 253;
/// The most bytes of control messages.
const MOST_CONTROL: usize = 64 << 10;
/// The most messages of one call.
const MOST_MESSAGES: usize = 1024;
/// Bytes of a control message's header.
const CONTROL_HEADER: usize = 16;

/// `struct msghdr`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    name: usize,
    name_length: u32,
    padding: u32,
    pieces: usize,
    piece_count: usize,
    control: usize,
    control_length: usize,
    flags: u32,
    more_padding: u32,
}

/// The open file behind a descriptor, which must be a socket.
fn get(fd: i32) -> Result<Rc<Description>> {
    let description = files::get(fd)?;
    if description.path_only {
        return Err(Errno::BADF);
    }
    socket(&description)?;
    Ok(description)
}

fn socket(description: &Description) -> Result<&dyn Socket> {
    description.file.socket().ok_or(Errno::NOTSOCK)
}

/// Tries something until it does not fail with `EAGAIN`, waiting in between unless the file
/// or `flags` say no.
fn wait_for<T>(
    description: &Description,
    flags: Message,
    deadline: Option<u64>,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    if flags.contains(Message::NO_WAIT) {
        return attempt();
    }
    match description.wait_for(deadline, attempt) {
        // A call with a time limit does not start again.
        Err(Errno::RESTART) if deadline.is_some() => Err(Errno::INTR),
        other => other,
    }
}

fn read_address(at: usize, length: usize) -> Result<Address> {
    if length > LONGEST {
        return Err(Errno::INVAL);
    }
    let mut bytes = alloc::vec![0; length];
    user::read_bytes(at, &mut bytes)?;
    Address::decode(&bytes)
}

/// Writes an address and its length; as much of it as there is room for.
fn write_address(
    socket: &dyn Socket,
    address: &Address,
    at: usize,
    length_at: usize,
) -> Result<()> {
    let room: i32 = user::read(length_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    let bytes = address.encode(socket.base().family);
    user::write_bytes(at, &bytes[..bytes.len().min(room)])?;
    user::write(length_at, &(bytes.len() as u32))
}

fn kept_flags(flags: usize) -> Result<(Flags, bool)> {
    if flags & !(NO_WAIT | CLOSE_ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let kept = if flags & NO_WAIT != 0 {
        Flags::NO_WAIT
    } else {
        Flags::empty()
    };
    Ok((kept, flags & CLOSE_ON_EXEC != 0))
}

fn add(file: Rc<dyn File>, flags: usize) -> Result {
    let (kept, close) = kept_flags(flags)?;
    files::add(Description::new(file, true, true, kept), close)
}

pub fn create(family: usize, kind: usize, protocol: usize) -> Result {
    kept_flags(kind & !0xf)?;
    add(net::new_socket(family, kind & 0xf, protocol)?, kind & !0xf)
}

pub fn create_pair(family: usize, kind: usize, protocol: usize, address: usize) -> Result {
    kept_flags(kind & !0xf)?;
    let [first, second] = net::socket_pair(family, kind & 0xf, protocol)?;
    let first = add(first, kind & !0xf)?;
    let second = add(second, kind & !0xf);
    let written = match second {
        Ok(second) => user::write(address, &[first as i32, second as i32]),
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        files::close(first as i32)?;
        if let Ok(second) = second {
            files::close(second as i32)?;
        }
        return Err(error);
    }
    Ok(0)
}

pub fn bind(fd: i32, address: usize, length: usize) -> Result {
    let description = get(fd)?;
    let address = read_address(address, length)?;
    socket(&description)?.bind(address).map(|()| 0)
}

pub fn listen(fd: i32, backlog: usize) -> Result {
    let description = get(fd)?;
    // A negative length is a very large one.
    let backlog = backlog as u32 as usize;
    socket(&description)?.listen(backlog).map(|()| 0)
}

pub fn accept(fd: i32, address: usize, length_at: usize, flags: usize) -> Result {
    let description = get(fd)?;
    kept_flags(flags)?;
    let listener = socket(&description)?;
    // Without a descriptor for it a connection continues waiting.
    let limit = task::current_process().limit(Limit::FILES);
    if files::table().descriptors().len() as u64 >= limit {
        return Err(Errno::MFILE);
    }
    let deadline = description.deadline(false);
    let (file, peer) = wait_for(&description, Message::empty(), deadline, || {
        listener.accept()
    })?;
    if address != 0 {
        write_address(listener, &peer, address, length_at)?;
    }
    add(file, flags)
}

pub fn connect(fd: i32, address: usize, length: usize) -> Result {
    let description = get(fd)?;
    let address = read_address(address, length)?;
    let socket = socket(&description)?;
    let deadline = description.deadline(true);
    let begun = wait_for(&description, Message::empty(), deadline, || {
        socket.connect(address.clone())
    });
    let under_way = matches!(begun, Err(Errno::INPROGRESS | Errno::ALREADY));
    if under_way && !description.no_wait() {
        let end = wait_for(&description, Message::empty(), deadline, || {
            socket.connected()
        });
        return match end {
            Err(Errno::AGAIN) => Err(Errno::INPROGRESS),
            other => other.map(|()| 0),
        };
    }
    begun.map(|()| 0)
}

pub fn own_name(fd: i32, address: usize, length_at: usize) -> Result {
    let description = get(fd)?;
    let socket = socket(&description)?;
    write_address(socket, &socket.local(), address, length_at).map(|()| 0)
}

pub fn peer_name(fd: i32, address: usize, length_at: usize) -> Result {
    let description = get(fd)?;
    let socket = socket(&description)?;
    write_address(socket, &socket.peer()?, address, length_at).map(|()| 0)
}

pub fn shut_down(fd: i32, how: usize) -> Result {
    let description = get(fd)?;
    let (receiving, sending) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::INVAL),
    };
    socket(&description)?
        .shutdown(receiving, sending)
        .map(|()| 0)
}

/// Sends everything, or what can be without waiting.
fn send(
    description: &Description,
    input: &mut Input<'_>,
    address: Option<&Address>,
    control: &mut Control,
    flags: Message,
) -> Result {
    if flags.contains(Message::URGENT) {
        return Err(Errno::OPNOTSUPP);
    }
    let socket = socket(description)?;
    let total = input.left();
    let result = wait_for(description, flags, description.deadline(true), || {
        loop {
            let part = socket.send(input, address, control, flags)?;
            if input.left() == 0 || part == 0 {
                return Ok(());
            }
        }
    });
    match (result, total - input.left()) {
        (Err(error), 0) => Err(error),
        (Err(error), _) if input.left() == total => Err(error),
        (_, done) => Ok(done),
    }
}

pub fn send_to([fd, address, length, flags, name, name_length]: [usize; 6]) -> Result {
    let description = get(super::descriptor(fd))?;
    let target = if name == 0 {
        None
    } else {
        Some(read_address(name, name_length)?)
    };
    send(
        &description,
        &mut Input::user(address, length.min(MOST_BYTES)),
        target.as_ref(),
        &mut Control::default(),
        Message::from_bits_retain(flags as u32),
    )
}

/// Reads control messages: open files and credentials.
fn read_control(at: usize, length: usize) -> Result<Control> {
    let mut control = Control::default();
    if at == 0 || length == 0 {
        return Ok(control);
    }
    if length > MOST_CONTROL {
        return Err(Errno::NOBUFS);
    }
    let mut bytes = alloc::vec![0; length];
    user::read_bytes(at, &mut bytes)?;
    let mut rest = &bytes[..];
    while rest.len() >= CONTROL_HEADER {
        let size = usize::from_le_bytes(rest[..8].try_into().map_err(|_| Errno::INVAL)?);
        let level = i32::from_le_bytes(rest[8..12].try_into().map_err(|_| Errno::INVAL)?);
        let kind = i32::from_le_bytes(rest[12..16].try_into().map_err(|_| Errno::INVAL)?);
        if size < CONTROL_HEADER || size > rest.len() {
            return Err(Errno::INVAL);
        }
        let data = &rest[CONTROL_HEADER..size];
        let numbers = data
            .chunks_exact(4)
            .map(|bytes| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        match (level, kind) {
            (SOCKET_LEVEL, RIGHTS) => {
                for fd in numbers {
                    if control.files.len() >= MOST_FILES {
                        return Err(Errno::INVAL);
                    }
                    control.files.push(files::get(fd)?);
                }
            }
            (SOCKET_LEVEL, CREDENTIALS) => {
                let numbers: Vec<u32> = numbers.map(|number| number as u32).collect();
                let given: [u32; 3] = numbers.try_into().map_err(|_| Errno::INVAL)?;
                let own = net::socket::own_credentials();
                if own[1] != 0 && given != own {
                    return Err(Errno::PERM);
                }
                control.credentials = Some(given);
            }
            // Where packets go out is no one's choice here.
            (SOCKET_LEVEL, _) => return Err(Errno::INVAL),
            _ => {}
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or(&[]);
    }
    Ok(control)
}

fn send_header(description: &Description, header: &Header, flags: Message) -> Result {
    let target = if header.name == 0 || header.name_length == 0 {
        None
    } else {
        Some(read_address(header.name, header.name_length as usize)?)
    };
    if header.piece_count > 1024 {
        return Err(Errno::MSGSIZE);
    }
    let pieces = files::pieces(header.pieces, header.piece_count)?;
    let mut control = read_control(header.control, header.control_length)?;
    send(
        description,
        &mut Input::user_pieces(pieces),
        target.as_ref(),
        &mut control,
        flags,
    )
}

pub fn send_message(fd: i32, header: usize, flags: usize) -> Result {
    let description = get(fd)?;
    let header: Header = user::read(header)?;
    send_header(
        &description,
        &header,
        Message::from_bits_retain(flags as u32),
    )
}

/// Bytes of a `struct mmsghdr`: a header and how many bytes went.
const MANY: usize = size_of::<Header>() + 8;

pub fn send_messages(fd: i32, address: usize, count: usize, flags: usize) -> Result {
    let description = get(fd)?;
    let flags = Message::from_bits_retain(flags as u32);
    let mut done = 0;
    while done < (count as u32 as usize).min(MOST_MESSAGES) {
        let at = address.wrapping_add(done * MANY);
        let sent = user::read::<Header>(at)
            .and_then(|header| send_header(&description, &header, flags))
            .and_then(|sent| user::write(at.wrapping_add(size_of::<Header>()), &(sent as u32)));
        match sent {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Receives once, or until there is no room for a stream with `MSG_WAITALL`.
fn receive(
    description: &Description,
    out: &mut Output<'_>,
    flags: Message,
    deadline: Option<u64>,
) -> Result<Received> {
    /// `MSG_ERRQUEUE`: there is never anything in it.
    const ERRORS: u32 = 0x2000;
    if flags.bits() & ERRORS != 0 {
        return Err(Errno::AGAIN);
    }
    let socket = socket(description)?;
    let all = flags.contains(Message::WAIT_ALL)
        && !flags.contains(Message::PEEK)
        && socket.base().kind == net::socket::Kind::Stream;
    let mut first: Option<Received> = None;
    let result = wait_for(description, flags, deadline, || {
        loop {
            let part = socket.receive(out, flags)?;
            let ended = part.length == 0;
            match &mut first {
                Some(first) => first.length += part.length,
                None => first = Some(part),
            }
            if !all || ended || out.room() == 0 {
                return Ok(());
            }
        }
    });
    match (result, first) {
        (_, Some(mut received)) => {
            received.whole = received.whole.max(received.length);
            Ok(received)
        }
        (Err(error), None) => Err(error),
        (Ok(()), None) => Ok(Received::default()),
    }
}

/// The result of receiving: with `MSG_TRUNC` the length of the whole message.
fn result_of(received: &Received, flags: Message) -> usize {
    if flags.contains(Message::CUT) {
        received.whole
    } else {
        received.length
    }
}

pub fn receive_from([fd, address, length, flags, name, length_at]: [usize; 6]) -> Result {
    let description = get(super::descriptor(fd))?;
    let flags = Message::from_bits_retain(flags as u32);
    if name != 0 && user::read::<i32>(length_at)? < 0 {
        return Err(Errno::INVAL);
    }
    let mut out = Output::user(address, length.min(MOST_BYTES));
    let received = receive(&description, &mut out, flags, description.deadline(false))?;
    if name != 0 {
        let socket = socket(&description)?;
        match &received.source {
            Some(source) => write_address(socket, source, name, length_at)?,
            None if length_at != 0 => user::write(length_at, &0_u32)?,
            None => {}
        }
    }
    Ok(result_of(&received, flags))
}

/// Control messages as they are written to a program.
struct ControlWriter {
    bytes: Vec<u8>,
    room: usize,
    cut: bool,
}

impl ControlWriter {
    /// Adds a message if there is room for all of it.
    fn put(&mut self, kind: i32, data: &[u8]) {
        let size = CONTROL_HEADER + data.len();
        if self.bytes.len() + size > self.room {
            self.cut = true;
            return;
        }
        self.bytes.extend_from_slice(&size.to_le_bytes());
        self.bytes.extend_from_slice(&SOCKET_LEVEL.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(data);
        let end = self.bytes.len().next_multiple_of(8).min(self.room);
        self.bytes.resize(end, 0);
    }
}

fn write_control(
    description: &Description,
    mut control: Control,
    header: &mut Header,
    flags: Message,
) -> Result<()> {
    let room = if header.control == 0 {
        0
    } else {
        header.control_length.min(MOST_CONTROL)
    };
    let mut writer = ControlWriter {
        bytes: Vec::new(),
        room,
        cut: false,
    };
    if let Some(credentials) = control.credentials
        && socket(description)?.base().is_on(PASS_CREDENTIALS)
    {
        writer.put(CREDENTIALS, credentials.as_bytes());
    }
    if !control.files.is_empty() {
        let places = room.saturating_sub(writer.bytes.len() + CONTROL_HEADER) / 4;
        let close = flags.contains(Message::CLOSE_ON_EXEC);
        let mut numbers: Vec<i32> = Vec::new();
        let wanted = control.files.len();
        // Files that find no space are closed.
        for file in control.files.drain(..).take(places) {
            match files::add(file, close) {
                Ok(fd) => numbers.push(fd as i32),
                Err(_) => break,
            }
        }
        writer.cut |= numbers.len() < wanted;
        if !numbers.is_empty() {
            writer.put(RIGHTS, numbers.as_bytes());
        }
    }
    if !writer.bytes.is_empty() {
        user::write_bytes(header.control, &writer.bytes)?;
    }
    header.control_length = writer.bytes.len();
    if writer.cut {
        header.flags |= Message::CONTROL_CUT.bits();
    }
    Ok(())
}

fn receive_header(
    description: &Description,
    at: usize,
    flags: Message,
    deadline: Option<u64>,
) -> Result {
    let mut header: Header = user::read(at)?;
    if (header.name_length as i32) < 0 {
        return Err(Errno::INVAL);
    }
    if header.piece_count > 1024 {
        return Err(Errno::MSGSIZE);
    }
    let mut out = Output::user_pieces(files::pieces(header.pieces, header.piece_count)?);
    let mut received = receive(description, &mut out, flags, deadline)?;
    let result = result_of(&received, flags);
    header.flags = 0;
    if received.whole > received.length {
        header.flags |= Message::CUT.bits();
    }
    let mut name_length = 0;
    if header.name != 0
        && let Some(source) = &received.source
    {
        let bytes = source.encode(socket(description)?.base().family);
        let room = bytes.len().min(header.name_length as usize);
        user::write_bytes(header.name, &bytes[..room])?;
        name_length = bytes.len() as u32;
    }
    header.name_length = name_length;
    let control = core::mem::take(&mut received.control);
    write_control(description, control, &mut header, flags)?;
    user::write(at, &header)?;
    Ok(result)
}

pub fn receive_message(fd: i32, header: usize, flags: usize) -> Result {
    let description = get(fd)?;
    let flags = Message::from_bits_retain(flags as u32);
    receive_header(&description, header, flags, description.deadline(false))
}

pub fn receive_messages([fd, address, count, flags, timeout, _]: [usize; 6]) -> Result {
    let description = get(super::descriptor(fd))?;
    let mut flags = Message::from_bits_retain(flags as u32);
    let mut deadline = description.deadline(false);
    if timeout != 0 {
        let wait = user::read::<TimeSpec>(timeout)?.to_nanoseconds()?;
        let end = arch::monotonic().saturating_add(wait);
        deadline = Some(deadline.map_or(end, |deadline| deadline.min(end)));
    }
    let mut done = 0;
    while done < (count as u32 as usize).min(MOST_MESSAGES) {
        let at = address.wrapping_add(done * MANY);
        let received = receive_header(&description, at, flags, deadline).and_then(|received| {
            user::write(at.wrapping_add(size_of::<Header>()), &(received as u32))
        });
        match received {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        if flags.contains(Message::WAIT_FOR_ONE) {
            flags |= Message::NO_WAIT;
        }
    }
    Ok(done)
}

/// A `struct timeval` as nanoseconds; zero is no limit.
fn patience([seconds, micros]: [i64; 2]) -> Result<Option<u64>> {
    let wait = super::times::from_microseconds(seconds, micros).map_err(|_| Errno::DOM)?;
    Ok((wait > 0).then_some(wait))
}

pub fn set_option(fd: i32, level: usize, name: usize, value_at: usize, length: usize) -> Result {
    let description = get(fd)?;
    let socket = socket(&description)?;
    let base = socket.base();
    let (level, name) = (level as i32, name as i32);
    match (level, name) {
        (1, 13) => {
            let [on, seconds]: [u32; 2] = user::read(value_at)?;
            base.linger.set((on != 0).then_some(seconds));
        }
        (1, 20 | 66) => base.receive_patience.set(patience(user::read(value_at)?)?),
        (1, 21 | 67) => base.send_patience.set(patience(user::read(value_at)?)?),
        (1, 32 | 33) => {
            // SO_SNDBUFFORCE and SO_RCVBUFFORCE.
            base.set_number((1, name - 25), user::read(value_at)?)?;
        }
        // Filters, devices, groups and congestion control: there is one card, and nothing to
        // choose.
        (1, 25..=27) | (6, 13 | 31) | (0, 32 | 35 | 36) | (41, 17 | 20 | 21) => {}
        (270, _) => {}
        _ => {
            // The options of IP may be a byte.
            let value = if length >= 4 {
                user::read::<i32>(value_at)?
            } else if length >= 1 && matches!(level, 0 | 41) {
                i32::from(user::read::<u8>(value_at)?)
            } else {
                base.number_option((level, name))?;
                return Err(Errno::INVAL);
            };
            if matches!(level, 0 | 6) && base.family == net::address::Family::Unix {
                return Err(Errno::OPNOTSUPP);
            }
            base.set_number((level, name), value)?;
            socket.options_changed();
        }
    }
    Ok(0)
}

/// The error for an option that does not exist: there may be no such level at all.
fn unknown_option(base: &net::socket::Base, level: i32, error: Errno) -> Errno {
    let known = match base.kind {
        _ if base.family == net::address::Family::Unix => level == SOCKET_LEVEL,
        net::socket::Kind::Stream => matches!(level, 0 | 1 | 6 | 41),
        _ => matches!(level, 0 | 1 | 17 | 41),
    };
    if known { error } else { Errno::OPNOTSUPP }
}

pub fn option(fd: i32, level: usize, name: usize, value_at: usize, length_at: usize) -> Result {
    let description = get(fd)?;
    let socket = socket(&description)?;
    let base = socket.base();
    let room: i32 = user::read(length_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    let number = |value: i32| value.to_le_bytes().to_vec();
    let time = |wait: Option<u64>| {
        let micros = wait.unwrap_or(0) / 1000;
        [micros / 1_000_000, micros % 1_000_000].as_bytes().to_vec()
    };
    let value = match (level as i32, name as i32) {
        (1, 3) => number(base.kind as i32),
        (1, 4) => number(socket.take_error().map_or(0, |error| i32::from(error.0))),
        (1, 13) => {
            let linger = base.linger.get();
            [u32::from(linger.is_some()), linger.unwrap_or(0)]
                .as_bytes()
                .to_vec()
        }
        (1, 17) => {
            let credentials = socket.peer_credentials().unwrap_or([0, u32::MAX, u32::MAX]);
            credentials.as_bytes().to_vec()
        }
        (1, 20 | 66) => time(base.receive_patience.get()),
        (1, 21 | 67) => time(base.send_patience.get()),
        (1, 30) => number(i32::from(socket.listens())),
        (1, 38) => number(base.protocol),
        (1, 39) => number(base.family as i32),
        (1, 59) | (1, 31) => return Err(Errno::OPNOTSUPP),
        (6, 11) => connection_state(socket),
        (6, 13) => b"reno\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        // Netlink sockets belong to no groups.
        (270, _) => number(0),
        (level, name) => {
            if (level, name) == NO_DELAY && base.family == net::address::Family::Unix {
                return Err(Errno::OPNOTSUPP);
            }
            let value = base.number_option((level, name));
            number(value.map_err(|error| unknown_option(base, level, error))?)
        }
    };
    let length = value.len().min(room);
    user::write_bytes(value_at, &value[..length])?;
    user::write(length_at, &(length as u32))?;
    Ok(0)
}

/// The beginning of `struct tcp_info`: the state, and zeros.
fn connection_state(socket: &dyn Socket) -> Vec<u8> {
    const ESTABLISHED: u8 = 1;
    const CLOSED: u8 = 7;
    const LISTEN: u8 = 10;
    let mut bytes = alloc::vec![0; 104];
    bytes[0] = if socket.listens() {
        LISTEN
    } else if socket.peer().is_ok() {
        ESTABLISHED
    } else {
        CLOSED
    };
    bytes
}
