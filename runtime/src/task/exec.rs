//! Running a program: its memory is made again, its stack filled, its registers set.

use alloc::rc::Rc;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use super::elf::{self, Program};
use super::{Credentials, Limit, Process, Thread, exit, is_written, schedule};
use crate::abi::errno::{Errno, Result};
use crate::arch::{self, PAGE, Registers};
use crate::file::io::Output;
use crate::fs::{Follow, Kind, Node, Place, Walk};
use crate::mm::{Area, Backing, Protection, Space, page_end, page_start};
use crate::random;
use crate::signal::{AlternateStack, Signal};

/// Where programs lie that can lie anywhere.
const PROGRAM_START: usize = 0x5555_5555_4000;
/// Bits of the random numbers of pages by which programs and mappings, the stack, and `brk`
/// memory are moved.
const MAPPINGS_BITS: u32 = 28;
const STACK_BITS: u32 = 16;
const BRK_BITS: u32 = 13;
/// The most scripts whose interpreter is a script.
const MOST_SCRIPTS: u32 = 4;
/// Words on a new stack besides the addresses of arguments and environment.
const MOST_OTHER_WORDS: usize = 64;
/// Bytes of arguments and environment together.
pub const MOST_ARGUMENTS: usize = 2 << 20;
/// Bytes of a stack at most, whatever the limit says.
const LARGEST_STACK: usize = 256 << 20;

/// A program to run with its words.
pub struct Request {
    /// Where the program is.
    pub place: Rc<Place>,
    /// The path by which it was called: scripts receive it.
    pub path: Vec<u8>,
    /// The arguments.
    pub arguments: Vec<Vec<u8>>,
    /// The environment.
    pub environment: Vec<Vec<u8>>,
}

/// A program in memory.
struct Loaded {
    entry: usize,
    headers: usize,
    /// How far it was moved.
    base: usize,
    end: usize,
}

/// The auxiliary vector's numbers (`AT_*`).
mod auxiliary {
    pub const HEADERS: usize = 3;
    pub const HEADER_SIZE: usize = 4;
    pub const HEADER_COUNT: usize = 5;
    pub const PAGE_SIZE: usize = 6;
    pub const INTERPRETER: usize = 7;
    pub const FLAGS: usize = 8;
    pub const ENTRY: usize = 9;
    pub const USER: usize = 11;
    pub const EFFECTIVE_USER: usize = 12;
    pub const GROUP: usize = 13;
    pub const EFFECTIVE_GROUP: usize = 14;
    pub const PLATFORM: usize = 15;
    pub const CAPABILITIES: usize = 16;
    pub const CLOCK_TICKS: usize = 17;
    pub const SECURE: usize = 23;
    pub const RANDOM: usize = 25;
    pub const PROGRAM: usize = 31;
}

/// A random number of pages of `bits` bits.
fn pages(bits: u32) -> usize {
    random::number() as usize & ((1 << bits) - 1)
}

/// An empty list with room for `room` elements.
fn list<T>(room: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(room).map_err(|_| Errno::NOMEM)?;
    Ok(list)
}

fn read_file(node: &Rc<dyn Node>, offset: u64, bytes: &mut [u8]) -> Result {
    let length = bytes.len();
    let mut out = Output::kernel(bytes);
    while out.done() < length {
        let done = out.done();
        if node.read(offset + done as u64, &mut out)? == 0 {
            break;
        }
    }
    Ok(out.done())
}

/// Checks that a node can be run.
fn check(place: &Place, process: &Process) -> Result<()> {
    let metadata = place.node.metadata();
    let permitted = crate::fs::is_permitted(&metadata, &process.credentials.borrow(), 1);
    if metadata.kind != Kind::File || !permitted || metadata.permissions & 0o111 == 0 {
        return Err(Errno::ACCES);
    }
    Ok(())
}

/// Replaces the program of the thread's process; the registers with which the new one starts.
///
/// # Errors
/// `ENOEXEC`, `EACCES`, `ENOENT` for the interpreter, `E2BIG`, `ENOMEM`. After an error the old
/// program continues.
pub fn execute(mut request: Request) -> Result<Registers> {
    let thread = schedule::current();
    let process = thread.process.clone();
    let paths = process.paths();
    let credentials = process.credentials.borrow().clone();
    let walk = Walk {
        root: paths.root.clone(),
        credentials: &credentials,
    };
    let mut scripts = 0;
    loop {
        check(&request.place, &process)?;
        let mut start = [0; 256];
        let length = read_file(&request.place.node, 0, &mut start)?;
        let Some((interpreter, argument)) = elf::script_interpreter(&start[..length]) else {
            break;
        };
        scripts += 1;
        if scripts > MOST_SCRIPTS {
            return Err(Errno::LOOP);
        }
        let mut arguments = list(request.arguments.len() + 2)?;
        arguments.push(interpreter.clone());
        arguments.extend(argument);
        arguments.push(request.path);
        arguments.extend(request.arguments.into_iter().skip(1));
        request.arguments = arguments;
        request.place = walk.resolve(&paths.directory, &interpreter, Follow::Yes)?;
        request.path = interpreter;
    }
    let node = request.place.node.clone();
    // Files without a path, which are made to be run, stay open for writing.
    if request.place.parent().is_some() && is_written(&node) {
        return Err(Errno::TXTBSY);
    }
    let program = elf::parse(arch::ELF_MACHINE, |offset, bytes| {
        read_file(&node, offset, bytes)
    })?;
    let interpreter = match program.interpreter {
        None => None,
        Some((offset, length)) => {
            let mut path = alloc::vec![0; length as usize];
            read_file(&node, offset, &mut path)?;
            path.truncate(
                path.iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(path.len()),
            );
            let place = walk.resolve(&paths.directory, &path, Follow::Yes)?;
            check(&place, &process)?;
            let program = elf::parse(arch::ELF_MACHINE, |offset, bytes| {
                read_file(&place.node, offset, bytes)
            })?;
            Some((place, program))
        }
    };
    let space = Space::new()?;
    space.move_down(pages(MAPPINGS_BITS), pages(STACK_BITS));
    let wish = if interpreter.is_some() || program.movable {
        PROGRAM_START + pages(MAPPINGS_BITS) * PAGE
    } else {
        0
    };
    let loaded = load(&space, &request.place, &program, wish)?;
    let started = match &interpreter {
        Some((place, program)) => Some(load(&space, place, program, 0)?),
        None => None,
    };
    space.set_brk_start(loaded.end + pages(BRK_BITS) * PAGE);
    let credentials = with_set_id(credentials, &request.place);
    let (stack, auxiliary) = fill_stack(
        &space,
        (&process, &credentials),
        &request,
        &program,
        &loaded,
        started.as_ref(),
    )?;

    if thread.must_end.get() {
        // Another thread replaces the program at the same time, and was first.
        return Err(Errno::AGAIN);
    }
    let mut files = process.file_table();
    if Rc::strong_count(&files) > 2 {
        files = Rc::new(files.copy()?);
    }
    // From here on nothing fails.
    *process.credentials.borrow_mut() = credentials;
    end_other_threads(&thread);
    // The locks that the thread holds and its number are in the memory that goes.
    exit::release_memory(&thread);
    let old = process.set_space(Some(space.clone()));
    space.activate();
    drop(old);
    exit::release_vfork_parent(&process);
    *process.files.borrow_mut() = files;
    process.file_table().close_for_exec();
    let handlers = Rc::new(process.handlers().copy());
    handlers.reset_caught();
    *process.handlers.borrow_mut() = handlers;
    thread.alternate.set(AlternateStack::NONE);
    process.has_executed.set(true);
    process.exit_signal.set(Signal::CHLD.number() as i32);
    process.posix_timers.clear();
    let name = request
        .path
        .rsplit(|&byte| byte == b'/')
        .next()
        .unwrap_or_default();
    *thread.name.borrow_mut() = name.iter().copied().take(15).collect();
    *process.program.borrow_mut() = Some(request.place);
    *process.arguments.borrow_mut() = Rc::new(request.arguments);
    *process.environment.borrow_mut() = Rc::new(request.environment);
    *process.auxiliary.borrow_mut() = auxiliary;
    thread.fpu.borrow_mut().reset();
    thread.fpu.borrow().load();
    arch::set_user_tls(0);
    let entry = started.map_or(loaded.entry, |interpreter| interpreter.entry);
    Ok(Registers::start(entry, stack))
}

/// Who a process becomes by the set-id bits of its program.
fn with_set_id(mut credentials: Credentials, place: &Place) -> Credentials {
    let metadata = place.node.metadata();
    (credentials.keeps, credentials.kept) = (false, 0);
    if credentials.is_bound {
        return credentials;
    }
    if metadata.permissions & 0o4000 != 0 {
        credentials.users[1] = metadata.user;
    }
    if metadata.permissions & 0o2010 == 0o2010 {
        credentials.groups[1] = metadata.group;
    }
    credentials.users[2] = credentials.users[1];
    credentials.groups[2] = credentials.groups[1];
    credentials
}

/// Ends the other threads of the process and takes over its number.
fn end_other_threads(thread: &Rc<Thread>) {
    let process = &thread.process;
    for other in process.live_threads() {
        if !Rc::ptr_eq(&other, thread) {
            other.must_end.set(true);
            super::Wake::wake(&*other);
        }
    }
    while process.live_threads().len() > 1 && !process.is_ending() {
        // A signal does not stop this: the others end soon.
        let waiter: Rc<dyn super::Wake> = thread.clone();
        process.released.add(waiter.clone());
        schedule::block();
        process.released.remove(&waiter);
    }
    if thread.id() != process.id {
        thread.become_first();
    }
}

/// Maps a program; at `wish` if it can lie anywhere, else where it wants.
fn load(space: &Space, place: &Rc<Place>, program: &Program, wish: usize) -> Result<Loaded> {
    let first = program
        .segments
        .iter()
        .map(|segment| page_start(segment.address))
        .min()
        .unwrap_or(0);
    let last = program
        .segments
        .iter()
        .map(|segment| segment.address + segment.memory)
        .max()
        .unwrap_or(0);
    let length = page_end(last).ok_or(Errno::NOEXEC)? - first;
    let zeros = |protection| Area {
        end: 0,
        protection,
        shared: false,
        backing: Backing::Zeros,
    };
    let base = if program.movable {
        // Maps the whole range first, so that nothing else is put between the segments.
        let at = space.map(wish, length, zeros(Protection::empty()))?;
        space.unmap(at, length)?;
        at.wrapping_sub(first)
    } else {
        0
    };
    for segment in &program.segments {
        let address = segment.address.wrapping_add(base);
        let start = page_start(address);
        let within = address - start;
        let file_end = address + segment.length as usize;
        let memory_end = page_end(address + segment.memory).ok_or(Errno::NOEXEC)?;
        if segment.length > 0 {
            let backing = Backing::File {
                node: place.node.clone(),
                offset: segment.offset - within as u64,
                // Zeros follow in the last page only where the program wants memory there.
                end: if segment.memory as u64 > segment.length {
                    segment.offset + segment.length
                } else {
                    u64::MAX
                },
                place: Some(place.clone()),
                read_only: false,
            };
            let area = Area {
                end: 0,
                protection: segment.protection,
                shared: false,
                backing,
            };
            space.map_at(start, file_end - start, area)?;
        }
        let zeros_start = if segment.length > 0 {
            page_end(file_end).ok_or(Errno::NOEXEC)?
        } else {
            start
        };
        if memory_end > zeros_start {
            space.map_at(
                zeros_start,
                memory_end - zeros_start,
                zeros(segment.protection),
            )?;
        }
    }
    Ok(Loaded {
        entry: program.entry.wrapping_add(base),
        headers: if program.headers == 0 {
            0
        } else {
            program.headers.wrapping_add(base)
        },
        base,
        end: page_end(last.wrapping_add(base)).ok_or(Errno::NOEXEC)?,
    })
}

/// Maps the stack and puts arguments, environment and auxiliary vector on it; the stack
/// pointer and the vector.
fn fill_stack(
    space: &Space,
    (process, credentials): (&Process, &Credentials),
    request: &Request,
    program: &Program,
    loaded: &Loaded,
    interpreter: Option<&Loaded>,
) -> Result<(usize, Vec<u64>)> {
    let size = (process.limit(Limit::STACK) as usize).clamp(1 << 20, LARGEST_STACK);
    let size = page_start(size);
    let mut protection = Protection::READ | Protection::WRITE;
    protection.set(Protection::EXECUTE, program.executable_stack);
    let area = Area {
        end: 0,
        protection,
        shared: false,
        backing: Backing::Zeros,
    };
    let end = space.stack_end();
    space.map_at(end - size, size, area)?;

    let mut top = end - 8;
    let mut push = |bytes: &[u8], zero: bool| -> Result {
        top -= bytes.len() + usize::from(zero);
        space.write(top, bytes)?;
        Ok(top)
    };
    let total: usize = request
        .arguments
        .iter()
        .chain(&request.environment)
        .map(|word| word.len() + 9)
        .sum();
    if total > MOST_ARGUMENTS.min(size / 4) {
        return Err(Errno::TOO_BIG);
    }
    let path = push(&request.path, true)?;
    let platform = push(arch::NAME.as_bytes(), true)?;
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    let random = push(&bytes, false)?;
    let counts = [request.arguments.len(), request.environment.len()];
    let mut words = list(counts[0] + counts[1] + MOST_OTHER_WORDS)?;
    let mut environment = list(counts[1])?;
    for word in &request.environment {
        environment.push(push(word, true)?);
    }
    words.push(counts[0]);
    for word in &request.arguments {
        words.push(push(word, true)?);
    }

    let secure = credentials.users[0] != credentials.users[1]
        || credentials.groups[0] != credentials.groups[1];
    let vector: Vec<usize> = [
        (auxiliary::HEADERS, loaded.headers),
        (auxiliary::HEADER_SIZE, elf::PROGRAM_HEADER),
        (auxiliary::HEADER_COUNT, program.header_count),
        (auxiliary::PAGE_SIZE, PAGE),
        (
            auxiliary::INTERPRETER,
            interpreter.map_or(0, |interpreter| interpreter.base),
        ),
        (auxiliary::FLAGS, 0),
        (auxiliary::ENTRY, loaded.entry),
        (auxiliary::USER, credentials.users[0] as usize),
        (auxiliary::EFFECTIVE_USER, credentials.users[1] as usize),
        (auxiliary::GROUP, credentials.groups[0] as usize),
        (auxiliary::EFFECTIVE_GROUP, credentials.groups[1] as usize),
        (auxiliary::PLATFORM, platform),
        (auxiliary::CAPABILITIES, arch::hardware_capabilities()),
        (auxiliary::CLOCK_TICKS, 100),
        (auxiliary::SECURE, usize::from(secure)),
        (auxiliary::RANDOM, random),
        (auxiliary::PROGRAM, path),
        (0, 0),
    ]
    .into_iter()
    .flat_map(|(key, value)| [key, value])
    .collect();
    words.push(0);
    words.extend(environment);
    words.push(0);
    words.extend(&vector);
    let stack = (top - words.len() * 8) & !15;
    space.write(stack, words.as_bytes())?;
    Ok((stack, vector.into_iter().map(|word| word as u64).collect()))
}
