//! Terminals: the console, and pairs of a master and a slave (`/dev/ptmx`, `/dev/pts`).
//!
//! Input goes through the line discipline: editing and echo in canonical mode, signals for
//! the control characters. Source: POSIX, "General Terminal Interface", and `termios(3)`.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use self::remote::{Decoder, Received};
use super::io::{Input, Output};
use super::{Events, File};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::fs::{Kind, Metadata, devices};
use crate::mm::{frames, user};
use crate::signal::{Info, Signal};
use crate::sync::Global;
use crate::task::{self, WaitQueue};

/// Bytes of input that wait at most, and of a line that is edited.
const MOST_INPUT: usize = 4096;
/// The same at the console, where text may be pasted: Ctrl-C has to be seen behind it, so that a sender
/// who types does not wait for the program.
const MOST_SENT: usize = 1 << 20;
/// Bytes of output that wait for a master at most.
const MOST_OUTPUT: usize = 64 << 10;

/// The group `tty` of most systems.
const TERMINAL_GROUP: u32 = 5;

/// `struct termios` as `TCGETS` fills it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Settings {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    characters: [u8; 19],
}

const CR_TO_NL: u32 = 0o400;
const NL_TO_CR: u32 = 0o100;
const IGNORE_CR: u32 = 0o200;
const POST_PROCESS: u32 = 1;
const NL_TO_CRNL: u32 = 4;
const SIGNALS: u32 = 1;
const CANONICAL: u32 = 2;
const ECHO: u32 = 0o10;
const ECHO_ERASE: u32 = 0o20;
const ECHO_KILL: u32 = 0o40;
const ECHO_NL: u32 = 0o100;
const ECHO_CONTROL: u32 = 0o1000;

/// Indices of `c_cc`.
const INTERRUPT: usize = 0;
const QUIT: usize = 1;
const ERASE: usize = 2;
const KILL: usize = 3;
const END_OF_FILE: usize = 4;
const MINIMUM: usize = 6;
const SUSPEND: usize = 10;
const WORD_ERASE: usize = 14;

impl Settings {
    /// What a terminal starts with, as on Linux.
    fn new() -> Settings {
        let mut characters = [0; 19];
        for (index, character) in [
            (INTERRUPT, 3),
            (QUIT, 0x1c),
            (ERASE, 0x7f),
            (KILL, 0x15),
            (END_OF_FILE, 4),
            (MINIMUM, 1),
            (8, 0x11),
            (9, 0x13),
            (SUSPEND, 0x1a),
            (12, 0x12),
            (13, 0x0f),
            (WORD_ERASE, 0x17),
            (15, 0x16),
        ] {
            characters[index] = character;
        }
        Settings {
            input: CR_TO_NL | 0o2000,
            output: POST_PROCESS | NL_TO_CRNL,
            control: 0o2277,
            local: SIGNALS | CANONICAL | ECHO | ECHO_ERASE | ECHO_KILL | ECHO_CONTROL | 0o104000,
            line: 0,
            characters,
        }
    }
}

/// Where the output of a terminal goes.
enum Sink {
    Console,
    /// To the master, which reads it from here.
    Master(RefCell<VecDeque<u8>>),
}

/// A terminal.
pub struct Terminal {
    settings: Cell<Settings>,
    sink: Sink,
    number: u32,
    /// What programs can read.
    input: RefCell<VecDeque<u8>>,
    most_input: usize,
    /// Whether the input may come from a keyboard: what a program does not read is dropped, and else left
    /// to the sender.
    is_typed: Cell<bool>,
    /// The line that is being edited.
    line: RefCell<Vec<u8>>,
    /// How many ends of file wait to be read, each after that many bytes of `input`.
    ends: RefCell<VecDeque<usize>>,
    queue: WaitQueue,
    master_queue: WaitQueue,
    group: Cell<i32>,
    session: Cell<i32>,
    /// Rows, columns, and two numbers that no one uses.
    size: Cell<[u16; 4]>,
    locked: Cell<bool>,
    master_open: Cell<bool>,
    slaves: Cell<usize>,
    /// Whether a program has ever opened it.
    was_opened: Cell<bool>,
    /// User, group and permissions of its node.
    owner: Cell<(u32, u32, u32)>,
}

struct Terminals {
    console: RefCell<Option<Rc<Terminal>>>,
    /// Takes commands out of the input of the console.
    decoder: RefCell<Decoder>,
    pairs: RefCell<Vec<Weak<Terminal>>>,
}

static TERMINALS: Global<Terminals> = Global::new(Terminals {
    console: RefCell::new(None),
    decoder: RefCell::new(Decoder::new()),
    pairs: RefCell::new(Vec::new()),
});

/// The terminal of the machine's console.
pub fn console() -> Rc<Terminal> {
    TERMINALS
        .console
        .borrow_mut()
        .get_or_insert_with(|| Terminal::new(Sink::Console, 0))
        .clone()
}

/// How long the rest of what a restored machine gets may take, in nanoseconds.
const REST: u64 = 500_000_000;

/// The next byte of the console's input, if there is one. If the machine was restored, no program
/// may run before all is known about that: the rest is waited for.
fn next_byte() -> Option<u8> {
    let byte = arch::console_byte();
    if byte.is_some() || !TERMINALS.decoder.borrow().is_restored() {
        return byte;
    }
    let begun = arch::monotonic();
    while arch::monotonic().saturating_sub(begun) < REST {
        if let Some(byte) = arch::console_byte() {
            return Some(byte);
        }
    }
    None
}

/// Hands the input at the console to its terminal.
pub fn poll_console() {
    while console().has_room()
        && let Some(byte) = next_byte()
    {
        let received = TERMINALS.decoder.borrow_mut().take(byte);
        match received {
            Some(Received::Restored) => {
                let text = TERMINALS.decoder.borrow().text().to_vec();
                crate::restored::apply(&text);
            }
            None => {}
            Some(Received::Byte(byte)) => console().receive(&[byte]),
            Some(Received::Size(rows, columns)) => console().resize([rows, columns, 0, 0]),
            Some(Received::NotTyped) => console().take_as_it_is(),
            Some(Received::End) => console().end_input(),
            Some(Received::Terminate) => {
                if let Some(first) = task::find_process(1) {
                    first.send(Info::kernel(Signal::TERM));
                }
            }
        }
    }
}

/// Opens `/dev/tty` (minor 0 of 5), the console or `/dev/ptmx` (minor 2 of 5).
///
/// # Errors
/// `ENXIO` for `/dev/tty` without a terminal.
pub fn open_device(minor: u32) -> Result<Rc<dyn File>> {
    match minor {
        0 => {
            let terminal = task::current_process()
                .terminal
                .borrow()
                .clone()
                .ok_or(Errno::NXIO)?;
            Ok(Slave::open(terminal))
        }
        2 => {
            frames::check_spare()?;
            Ok(open_master())
        }
        _ => Ok(Slave::open(console())),
    }
}

fn open_master() -> Rc<dyn File> {
    let mut pairs = TERMINALS.pairs.borrow_mut();
    let free = pairs
        .iter()
        .position(|terminal| terminal.upgrade().is_none());
    let number = free.unwrap_or(pairs.len());
    let terminal = Terminal::new(Sink::Master(RefCell::default()), number as u32);
    terminal.locked.set(true);
    terminal.master_open.set(true);
    let process = task::current_process();
    let credentials = process.credentials.borrow();
    terminal
        .owner
        .set((credentials.user(), TERMINAL_GROUP, 0o620));
    match free {
        Some(index) => pairs[index] = Rc::downgrade(&terminal),
        None => pairs.push(Rc::downgrade(&terminal)),
    }
    Rc::new(Master(terminal))
}

/// Opens `/dev/pts/N`.
///
/// # Errors
/// `ENXIO` if there is none, `EIO` if its master has not unlocked it.
pub fn open_slave(number: u32) -> Result<Rc<dyn File>> {
    let terminal = pair(number).ok_or(Errno::NXIO)?;
    if terminal.locked.get() {
        return Err(Errno::IO);
    }
    Ok(Slave::open(terminal))
}

/// The numbers of the pairs that are open.
pub fn open_pairs() -> Vec<u32> {
    let pairs = TERMINALS.pairs.borrow();
    pairs
        .iter()
        .filter_map(|terminal| terminal.upgrade().map(|terminal| terminal.number))
        .collect()
}

fn pair(number: u32) -> Option<Rc<Terminal>> {
    let pairs = TERMINALS.pairs.borrow();
    pairs.get(number as usize).and_then(Weak::upgrade)
}

/// Who has the terminal of a pair: user, group and permissions.
pub fn owner(number: u32) -> Option<(u32, u32, u32)> {
    pair(number).map(|terminal| terminal.owner.get())
}

/// Changes who has the terminal of a pair.
pub fn set_owner(number: u32, owner: (u32, u32, u32)) {
    if let Some(terminal) = pair(number) {
        terminal.owner.set(owner);
    }
}

/// The number of the terminal whose master an open file is.
///
/// # Errors
/// `ENOTTY`
pub fn number_of_master(file: &Rc<dyn File>) -> Result<u32> {
    let any: &dyn core::any::Any = &**file;
    any.downcast_ref::<Master>()
        .map(|master| master.0.number)
        .ok_or(Errno::NOTTY)
}

impl Terminal {
    fn new(sink: Sink, number: u32) -> Rc<Terminal> {
        let most_input = match sink {
            Sink::Console => MOST_SENT,
            Sink::Master(_) => MOST_INPUT,
        };
        Rc::new(Terminal {
            settings: Cell::new(Settings::new()),
            sink,
            number,
            input: RefCell::default(),
            most_input,
            is_typed: Cell::new(true),
            line: RefCell::default(),
            ends: RefCell::default(),
            queue: WaitQueue::new(),
            master_queue: WaitQueue::new(),
            group: Cell::new(0),
            session: Cell::new(0),
            size: Cell::new([24, 80, 0, 0]),
            locked: Cell::new(false),
            master_open: Cell::new(false),
            slaves: Cell::new(0),
            was_opened: Cell::new(false),
            owner: Cell::new((0, 0, 0o620)),
        })
    }

    /// Whether the last program has closed it.
    fn is_left(&self) -> bool {
        self.slaves.get() == 0 && self.was_opened.get()
    }

    /// The number of the device.
    pub fn device_number(&self) -> u64 {
        match self.sink {
            Sink::Console => devices::number(5, 1),
            Sink::Master(_) => devices::number(136, self.number),
        }
    }

    /// The process group in the foreground.
    pub fn foreground_group(&self) -> i32 {
        self.group.get()
    }

    /// The session that has this terminal is over.
    pub fn session_ended(&self) {
        self.signal(Signal::HUP);
        self.session.set(0);
        self.group.set(0);
    }

    /// Makes this the terminal of the first session.
    pub fn attach(self: &Rc<Terminal>, process: &task::Process) {
        self.session.set(process.session.get());
        self.group.set(process.group.get());
        *process.terminal.borrow_mut() = Some(self.clone());
    }

    fn has_local(&self, flag: u32) -> bool {
        self.settings.get().local & flag != 0
    }

    fn signal(&self, signal: Signal) {
        let group = self.group.get();
        if group == 0 {
            return;
        }
        for process in task::all_processes() {
            if process.group.get() == group {
                process.send(Info::kernel(signal));
            }
        }
    }

    fn resize(&self, size: [u16; 4]) {
        if size != self.size.replace(size) {
            self.signal(Signal::WINCH);
        }
    }

    /// Hands input on as it is: it is not typed.
    fn take_as_it_is(&self) {
        let mut settings = self.settings.get();
        settings.input &= !(CR_TO_NL | NL_TO_CR | IGNORE_CR);
        settings.local &= !(SIGNALS | CANONICAL | ECHO);
        self.settings.set(settings);
        self.is_typed.set(false);
        self.finish_line();
        self.queue.wake();
    }

    /// Whether the next byte can be received.
    fn has_room(&self) -> bool {
        self.is_typed.get() || self.input.borrow().len() < self.most_input
    }

    /// Ends the input after what was received, as the end of file character does in a line.
    fn end_input(&self) {
        self.finish_line();
        let length = self.input.borrow().len();
        let mut ends = self.ends.borrow_mut();
        if ends.len() < MOST_INPUT {
            ends.push_back(length);
        }
        drop(ends);
        self.queue.wake();
    }

    /// Takes bytes of the keyboard.
    fn receive(&self, bytes: &[u8]) {
        for &byte in bytes {
            self.receive_byte(byte);
        }
        self.queue.wake();
    }

    fn receive_byte(&self, mut byte: u8) {
        let settings = self.settings.get();
        if byte == b'\r' {
            if settings.input & IGNORE_CR != 0 {
                return;
            }
            if settings.input & CR_TO_NL != 0 {
                byte = b'\n';
            }
        } else if byte == b'\n' && settings.input & NL_TO_CR != 0 {
            byte = b'\r';
        }
        let is = |index: usize| byte != 0 && settings.characters[index] == byte;
        if self.has_local(SIGNALS) {
            let signal = if is(INTERRUPT) {
                Some(Signal::INT)
            } else if is(QUIT) {
                Some(Signal::QUIT)
            } else if is(SUSPEND) {
                Some(Signal::TSTP)
            } else {
                None
            };
            if let Some(signal) = signal {
                self.echo(byte);
                self.line.borrow_mut().clear();
                self.clear_input();
                self.signal(signal);
                return;
            }
        }
        if !self.has_local(CANONICAL) {
            let mut input = self.input.borrow_mut();
            if input.len() < self.most_input {
                input.push_back(byte);
                drop(input);
                self.echo(byte);
            }
            return;
        }
        if is(ERASE) || is(KILL) || is(WORD_ERASE) {
            self.erase(is(ERASE), is(WORD_ERASE));
        } else if is(END_OF_FILE) {
            self.end_input();
        } else if byte == b'\n' {
            self.line.borrow_mut().push(byte);
            if self.has_local(ECHO | ECHO_NL) {
                self.print(b"\n");
            }
            self.finish_line();
        } else if self.line.borrow().len() < MOST_INPUT {
            self.line.borrow_mut().push(byte);
            self.echo(byte);
        }
    }

    fn erase(&self, one: bool, word: bool) {
        loop {
            let Some(last) = self.line.borrow_mut().pop() else {
                break;
            };
            if self.has_local(ECHO) && self.has_local(ECHO_ERASE) {
                // The bytes of one character of UTF-8 take one column.
                let continues = last & 0xc0 == 0x80;
                if !continues {
                    self.print(if last < 0x20 {
                        b"\x08 \x08\x08 \x08"
                    } else {
                        b"\x08 \x08"
                    });
                } else {
                    continue;
                }
            }
            let before = self.line.borrow().last().copied();
            if one || (word && last != b' ' && before == Some(b' ')) {
                break;
            }
        }
    }

    /// Forgets what could be read.
    fn clear_input(&self) {
        self.input.borrow_mut().clear();
        self.ends.borrow_mut().clear();
    }

    fn finish_line(&self) {
        let line = core::mem::take(&mut *self.line.borrow_mut());
        let mut input = self.input.borrow_mut();
        if input.len() + line.len() <= self.most_input + MOST_INPUT {
            input.extend(line);
        }
    }

    fn echo(&self, byte: u8) {
        if !self.has_local(ECHO) {
            return;
        }
        if byte < 0x20 && byte != b'\n' && byte != b'\t' && self.has_local(ECHO_CONTROL) {
            self.print(&[b'^', byte + 0x40]);
        } else {
            self.print(&[byte]);
        }
    }

    /// Writes output as it is to be shown; how much of it was taken.
    fn print(&self, bytes: &[u8]) -> usize {
        let settings = self.settings.get();
        let translates = settings.output & POST_PROCESS != 0 && settings.output & NL_TO_CRNL != 0;
        match &self.sink {
            Sink::Console => {
                for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                    match line.split_last() {
                        Some((b'\n', text)) if translates => {
                            arch::console_write(text);
                            arch::console_write(b"\r\n");
                        }
                        _ => arch::console_write(line),
                    }
                }
                bytes.len()
            }
            Sink::Master(output) => {
                let mut taken = 0;
                {
                    let mut output = output.borrow_mut();
                    for &byte in bytes {
                        if output.len() >= MOST_OUTPUT {
                            break;
                        }
                        if byte == b'\n' && translates {
                            output.push_back(b'\r');
                        }
                        output.push_back(byte);
                        taken += 1;
                    }
                }
                self.master_queue.wake();
                taken
            }
        }
    }

    fn can_read(&self) -> bool {
        if self.ends.borrow().front() == Some(&0) {
            return true;
        }
        let length = self.input.borrow().len();
        if self.has_local(CANONICAL) {
            length > 0
        } else {
            length >= usize::from(self.settings.get().characters[MINIMUM]).max(1)
        }
    }

    fn read(&self, out: &mut Output<'_>) -> Result {
        let waits_for_none = {
            let settings = self.settings.get();
            settings.local & CANONICAL == 0 && settings.characters[MINIMUM] == 0
        };
        if out.room() == 0 {
            return Ok(0);
        }
        if self.ends.borrow().front() == Some(&0) {
            self.ends.borrow_mut().pop_front();
            return Ok(0);
        }
        let taken: Vec<u8> = {
            let mut input = self.input.borrow_mut();
            let mut most = out.room().min(input.len());
            if self.has_local(CANONICAL) {
                if let Some(end) = input.iter().position(|&byte| byte == b'\n') {
                    most = most.min(end + 1);
                }
                if let Some(&end) = self.ends.borrow().front() {
                    most = most.min(end);
                }
            }
            input.drain(..most).collect()
        };
        if taken.is_empty() {
            return if waits_for_none {
                Ok(0)
            } else {
                Err(Errno::AGAIN)
            };
        }
        let mut ends = self.ends.borrow_mut();
        for end in ends.iter_mut() {
            // Without lines more is read than up to the first end.
            *end = end.saturating_sub(taken.len());
        }
        // In a line, an end directly after what was read belongs to it.
        if self.has_local(CANONICAL) && ends.front() == Some(&0) && taken.last() != Some(&b'\n') {
            ends.pop_front();
        }
        drop(ends);
        out.put(&taken)
    }

    fn control(self: &Rc<Terminal>, request: usize, argument: usize) -> Result {
        let process = task::current_process();
        match request {
            0x5401 => user::write(argument, &self.settings.get())?,
            0x5402..=0x5404 => {
                let new: Settings = user::read(argument)?;
                if request == 0x5404 {
                    self.clear_input();
                }
                let leaves_lines = self.has_local(CANONICAL) && new.local & CANONICAL == 0;
                self.settings.set(new);
                if leaves_lines {
                    self.finish_line();
                    self.queue.wake();
                }
            }
            0x540b => {
                if argument != 1 {
                    self.clear_input();
                    self.line.borrow_mut().clear();
                }
            }
            0x5409 | 0x540a | 0x540c | 0x540d | 0x5425 => {}
            0x540e => {
                if process.session.get() != process.id {
                    return Err(Errno::PERM);
                }
                self.attach(&process);
            }
            0x540f => {
                let group = if self.group.get() == 0 {
                    process.group.get()
                } else {
                    self.group.get()
                };
                user::write(argument, &group)?;
            }
            0x5410 => {
                let group: i32 = user::read(argument)?;
                if process.session.get() != self.session.get() {
                    return Err(Errno::NOTTY);
                }
                let exists = task::all_processes().iter().any(|other| {
                    other.group.get() == group && other.session.get() == process.session.get()
                });
                if !exists {
                    return Err(Errno::PERM);
                }
                self.group.set(group);
            }
            0x5413 => user::write(argument, &self.size.get())?,
            0x5414 => {
                self.resize(user::read(argument)?);
            }
            0x541b => user::write(argument, &(self.input.borrow().len() as u32))?,
            0x5411 => user::write(argument, &0_u32)?,
            0x5422 => *process.terminal.borrow_mut() = None,
            0x5429 => user::write(argument, &self.session.get())?,
            0x8004_5430 => user::write(argument, &self.number)?,
            0x4004_5431 => self.locked.set(user::read::<u32>(argument)? != 0),
            0x8004_5439 => user::write(argument, &u32::from(self.locked.get()))?,
            _ => return Err(Errno::NOTTY),
        }
        Ok(0)
    }

    /// Stops a process of the background that reads, as job control wants it.
    fn check_foreground(&self) -> Result<()> {
        let process = task::current_process();
        let group = self.group.get();
        if group == 0 || process.session.get() != self.session.get() || process.group.get() == group
        {
            return Ok(());
        }
        let handlers = process.handlers();
        if handlers.get(Signal::TTIN).handler == crate::signal::Action::IGNORE {
            return Err(Errno::IO);
        }
        for other in task::all_processes() {
            if other.group.get() == process.group.get() {
                other.send(Info::kernel(Signal::TTIN));
            }
        }
        Err(Errno::RESTART)
    }
}

/// The side of a terminal that programs use.
pub struct Slave(Rc<Terminal>);

impl Slave {
    /// Opens the side for programs.
    pub fn open(terminal: Rc<Terminal>) -> Rc<dyn File> {
        terminal.slaves.set(terminal.slaves.get() + 1);
        terminal.was_opened.set(true);
        Rc::new(Slave(terminal))
    }

    /// The terminal.
    pub fn terminal(&self) -> &Rc<Terminal> {
        &self.0
    }

    fn is_hung_up(&self) -> bool {
        matches!(self.0.sink, Sink::Master(_)) && !self.0.master_open.get()
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.0.slaves.set(self.0.slaves.get() - 1);
        self.0.master_queue.wake();
    }
}

impl File for Slave {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        if self.is_hung_up() {
            return Ok(0);
        }
        self.0.check_foreground()?;
        let done = self.0.read(out);
        if !self.0.is_typed.get() {
            // The sender may wait until there is space.
            poll_console();
        }
        done
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        if self.is_hung_up() {
            return Err(Errno::IO);
        }
        let mut done = 0;
        let mut buffer = [0; 512];
        if let Sink::Master(output) = &self.0.sink
            && output.borrow().len() + 2 * buffer.len() > MOST_OUTPUT
        {
            return Err(Errno::AGAIN);
        }
        while input.left() > 0 {
            let got = input.take(&mut buffer)?;
            done += self.0.print(&buffer[..got]);
            if matches!(self.0.sink, Sink::Master(_)) {
                break;
            }
        }
        Ok(done)
    }

    fn ready(&self) -> Events {
        if self.is_hung_up() {
            return Events::IN | Events::OUT | Events::HANG_UP;
        }
        if self.0.can_read() {
            Events::IN | Events::OUT
        } else {
            Events::OUT
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.queue)
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::anonymous(Kind::CharacterDevice, u64::from(self.0.number) + 3);
        metadata.permissions = 0o620;
        metadata.device_number = self.0.device_number();
        metadata
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        self.0.control(request, argument)
    }

    fn label(&self) -> &'static str {
        "/dev/console"
    }
}

/// The side of a terminal that a terminal emulator uses.
struct Master(Rc<Terminal>);

impl Drop for Master {
    fn drop(&mut self) {
        self.0.master_open.set(false);
        self.0.signal(Signal::HUP);
        self.0.queue.wake();
    }
}

impl File for Master {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        let Sink::Master(output) = &self.0.sink else {
            return Err(Errno::IO);
        };
        let mut output = output.borrow_mut();
        if output.is_empty() {
            return if self.0.is_left() {
                Err(Errno::IO)
            } else {
                Err(Errno::AGAIN)
            };
        }
        let length = output.len().min(out.room());
        let bytes: Vec<u8> = output.drain(..length).collect();
        drop(output);
        self.0.queue.wake();
        out.put(&bytes)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        let mut buffer = [0; 512];
        if self.0.input.borrow().len() + buffer.len() > MOST_INPUT {
            return Err(Errno::AGAIN);
        }
        let got = input.take(&mut buffer)?;
        self.0.receive(&buffer[..got]);
        Ok(got)
    }

    fn ready(&self) -> Events {
        let mut events = Events::OUT;
        if let Sink::Master(output) = &self.0.sink
            && !output.borrow().is_empty()
        {
            events |= Events::IN;
        }
        if self.0.is_left() {
            events |= Events::HANG_UP;
        }
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.master_queue)
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::anonymous(Kind::CharacterDevice, 2);
        metadata.device_number = devices::number(5, 2);
        metadata
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        self.0.control(request, argument)
    }

    fn label(&self) -> &'static str {
        "/dev/ptmx"
    }
}

mod remote;
#[cfg(test)]
mod tests;
