//! The directories of `/proc` about one process or one thread (`proc(5)`).

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::system;
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::file::io::{Input, Output};
use crate::file::{Description, File};
use crate::fs::generated::{
    FixedNode, GeneratedFile, Item, Source, Text, Tree, accept_truncation, content, read_from,
};
use crate::fs::{
    Change, DirectoryEntry, FileSystemStatus, Kind, Metadata, Node, OpenHow, Place, devices,
};
use crate::mm::{Area, Backing, Protection, Space};
use crate::put;
use crate::signal::Signal;
use crate::task::{self, Credentials, Limit, Process, Thread};
use crate::time::SECOND;

/// Nanoseconds of a unit of time in `stat`.
const TICK: u64 = SECOND / 100;

/// A process, or one of its threads.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Subject {
    process: i32,
    thread: Option<i32>,
}

impl Subject {
    fn process(self) -> Result<Rc<Process>> {
        task::find_process(self.process).ok_or(Errno::SRCH)
    }

    fn thread(self) -> Option<Rc<Thread>> {
        task::find_thread(self.thread.unwrap_or(self.process))
    }

    fn id(self) -> i32 {
        self.thread.unwrap_or(self.process)
    }

    /// The number of a node about the subject: what it is, and for descriptors which one.
    fn number(self, what: usize, descriptor: i32) -> u64 {
        let of_thread = u64::from(self.thread.is_some());
        1 << 62
            | of_thread << 61
            | (self.id() as u64 & 0x3f_ffff) << 36
            | (what as u64 & 0xff) << 28
            | descriptor as u64 & 0xfff_ffff
    }
}

/// What a file or a directory is about.
#[derive(Clone, Copy)]
enum Entry {
    Text(fn(Subject, &mut Text) -> Result<()>),
    /// A file that can be written too.
    Setting(
        fn(Subject, &mut Text) -> Result<()>,
        fn(Subject, &[u8]) -> Result<()>,
    ),
    Program,
    Directory,
    Root,
    Descriptors,
    DescriptorInfos,
    Tasks,
    Memory,
    Fixed(&'static Item),
}

/// Names with the permissions and what is behind them.
static ENTRIES: &[(&str, u32, Entry)] = &[
    ("auxv", 0o400, Entry::Text(auxiliary)),
    ("cgroup", 0o444, Entry::Text(control_group)),
    ("cmdline", 0o444, Entry::Text(arguments)),
    ("comm", 0o644, Entry::Setting(name, set_name)),
    ("coredump_filter", 0o644, Entry::Setting(zero, ignore)),
    ("cwd", 0o777, Entry::Directory),
    ("environ", 0o400, Entry::Text(environment)),
    ("exe", 0o777, Entry::Program),
    ("fd", 0o500, Entry::Descriptors),
    ("fdinfo", 0o555, Entry::DescriptorInfos),
    ("io", 0o400, Entry::Text(transfers)),
    ("limits", 0o444, Entry::Text(limits)),
    ("loginuid", 0o644, Entry::Setting(login, ignore)),
    ("maps", 0o444, Entry::Text(maps)),
    ("mem", 0o600, Entry::Memory),
    ("mountinfo", 0o444, Entry::Text(mount_info)),
    ("mounts", 0o444, Entry::Text(mounts)),
    ("net", 0o555, Entry::Fixed(&Item::Directory(system::NET))),
    ("oom_adj", 0o644, Entry::Setting(zero, ignore)),
    ("oom_score", 0o444, Entry::Text(zero)),
    (
        "oom_score_adj",
        0o644,
        Entry::Setting(memory_score, set_memory_score),
    ),
    ("personality", 0o400, Entry::Text(personality)),
    ("root", 0o777, Entry::Root),
    ("sessionid", 0o444, Entry::Text(login)),
    ("setgroups", 0o644, Entry::Setting(allow, ignore)),
    ("smaps", 0o444, Entry::Text(detailed_maps)),
    ("smaps_rollup", 0o444, Entry::Text(summed_maps)),
    ("stat", 0o444, Entry::Text(statistics)),
    ("statm", 0o444, Entry::Text(memory_statistics)),
    ("status", 0o444, Entry::Text(status)),
    ("wchan", 0o444, Entry::Text(wait_channel)),
    ("task", 0o555, Entry::Tasks),
];

/// What a node is.
#[derive(Clone, Copy)]
enum What {
    /// The directory of the process or of the thread.
    Whole,
    /// One of [`ENTRIES`].
    Entry(usize, Entry),
    /// The link of a descriptor.
    Descriptor(i32),
    /// The file about a descriptor.
    DescriptorInfo(i32),
}

/// A node about a process.
struct ProcessNode {
    tree: Tree,
    subject: Subject,
    what: What,
}

/// Whether the running process may see where another one stands.
fn may_see(process: &Process) -> bool {
    let caller = task::current_process();
    let own = caller.credentials.borrow();
    own.is_root() || own.user() == process.credentials.borrow().users[0]
}

/// The directory of a process.
pub fn directory(tree: Tree, process: i32) -> Rc<dyn Node> {
    let subject = Subject {
        process,
        thread: None,
    };
    Rc::new(ProcessNode {
        tree,
        subject,
        what: What::Whole,
    })
}

/// The entry of a process in the root.
pub fn entry(process: i32, next: u64) -> DirectoryEntry {
    let subject = Subject {
        process,
        thread: None,
    };
    DirectoryEntry {
        name: alloc::format!("{process}").into_bytes().into(),
        number: subject.number(0, 0),
        kind: Kind::Directory,
        next,
    }
}

fn kind_of(entry: Entry) -> Kind {
    match entry {
        Entry::Program | Entry::Directory | Entry::Root => Kind::Link,
        Entry::Descriptors | Entry::DescriptorInfos | Entry::Tasks | Entry::Fixed(_) => {
            Kind::Directory
        }
        Entry::Text(_) | Entry::Setting(..) | Entry::Memory => Kind::File,
    }
}

impl ProcessNode {
    fn node(&self, what: What) -> Rc<dyn Node> {
        Rc::new(ProcessNode {
            tree: self.tree,
            subject: self.subject,
            what,
        })
    }

    fn number(&self) -> u64 {
        match self.what {
            What::Whole => self.subject.number(0, 0),
            What::Entry(index, _) => self.subject.number(index + 1, 0),
            What::Descriptor(fd) => self.subject.number(0xf0, fd),
            What::DescriptorInfo(fd) => self.subject.number(0xf1, fd),
        }
    }

    fn description(&self, fd: i32) -> Result<Rc<Description>> {
        let process = self.subject.process()?;
        process.file_table().get(fd).map_err(|_| Errno::NOENT)
    }

    /// The place to which a link leads, for those who may see the process.
    fn place(&self) -> Option<Rc<Place>> {
        let process = self.subject.process().ok()?;
        if !may_see(&process) {
            return None;
        }
        match self.what {
            What::Entry(_, Entry::Program) => process.program.borrow().clone(),
            What::Entry(_, Entry::Directory) => Some(process.paths().directory),
            What::Entry(_, Entry::Root) => Some(process.paths().root),
            What::Descriptor(fd) => {
                let description = self.description(fd).ok()?;
                Some(match &description.place {
                    Some(place) => place.clone(),
                    None => Place::detached(Rc::new(Opened(description)), b"opened"),
                })
            }
            _ => None,
        }
    }
}

/// The entries of a list of numbers.
fn numbered(
    numbers: Vec<i32>,
    (from, most): (u64, usize),
    kind: Kind,
    number: impl Fn(i32) -> u64,
) -> Vec<DirectoryEntry> {
    numbers
        .into_iter()
        .filter(|&id| id as u64 >= from)
        .take(most)
        .map(|id| DirectoryEntry {
            name: alloc::format!("{id}").into_bytes().into(),
            number: number(id),
            kind,
            next: id as u64 + 1,
        })
        .collect()
}

impl Node for ProcessNode {
    fn metadata(&self) -> Metadata {
        let permissions = match self.what {
            What::Whole => 0o555,
            What::Entry(index, _) => ENTRIES.get(index).map_or(0, |entry| entry.1),
            What::Descriptor(fd) => match self.description(fd) {
                Ok(description) => {
                    0o100
                        | u32::from(description.readable) << 8
                        | u32::from(description.writable) << 7
                }
                Err(_) => 0o100,
            },
            What::DescriptorInfo(_) => 0o444,
        };
        let mut metadata = self
            .tree
            .metadata(self.number(), Node::kind(self), permissions);
        if let Ok(process) = self.subject.process() {
            let credentials = process.credentials.borrow();
            metadata.user = credentials.user();
            metadata.group = credentials.group();
        }
        metadata
    }

    fn kind(&self) -> Kind {
        match self.what {
            What::Whole => Kind::Directory,
            What::Entry(_, entry) => kind_of(entry),
            What::Descriptor(_) => Kind::Link,
            What::DescriptorInfo(_) => Kind::File,
        }
    }

    fn change(&self, change: &Change) -> Result<()> {
        accept_truncation(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        match self.what {
            What::Whole => {
                let index = ENTRIES
                    .iter()
                    .position(|entry| entry.0.as_bytes() == name)
                    .ok_or(Errno::NOENT)?;
                let entry = ENTRIES[index].2;
                if self.subject.thread.is_some() && matches!(entry, Entry::Tasks) {
                    return Err(Errno::NOENT);
                }
                if let Entry::Fixed(item) = entry {
                    return Ok(FixedNode::new(self.tree, item));
                }
                self.subject.process().map_err(|_| Errno::NOENT)?;
                Ok(self.node(What::Entry(index, entry)))
            }
            What::Entry(_, Entry::Descriptors | Entry::DescriptorInfos) => {
                let fd = super::number(name).ok_or(Errno::NOENT)?;
                self.description(fd)?;
                Ok(self.node(match self.what {
                    What::Entry(_, Entry::Descriptors) => What::Descriptor(fd),
                    _ => What::DescriptorInfo(fd),
                }))
            }
            What::Entry(_, Entry::Tasks) => {
                let id = super::number(name).ok_or(Errno::NOENT)?;
                let thread = task::find_thread(id).ok_or(Errno::NOENT)?;
                if thread.process.id != self.subject.process {
                    return Err(Errno::NOENT);
                }
                Ok(Rc::new(ProcessNode {
                    tree: self.tree,
                    subject: Subject {
                        process: self.subject.process,
                        thread: Some(id),
                    },
                    what: What::Whole,
                }))
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        let subject = self.subject;
        let process = subject.process().map_err(|_| Errno::NOENT)?;
        match self.what {
            What::Whole => Ok(ENTRIES
                .iter()
                .enumerate()
                .skip(from as usize)
                .filter(|(_, entry)| subject.thread.is_none() || !matches!(entry.2, Entry::Tasks))
                .map(|(index, &(name, _, entry))| DirectoryEntry {
                    name: name.as_bytes().into(),
                    number: subject.number(index + 1, 0),
                    kind: kind_of(entry),
                    next: index as u64 + 1,
                })
                .take(most)
                .collect()),
            What::Entry(_, Entry::Descriptors) => {
                let fds = process.file_table().descriptors();
                Ok(numbered(fds, (from, most), Kind::Link, |fd| {
                    subject.number(0xf0, fd)
                }))
            }
            What::Entry(_, Entry::DescriptorInfos) => {
                let fds = process.file_table().descriptors();
                Ok(numbered(fds, (from, most), Kind::File, |fd| {
                    subject.number(0xf1, fd)
                }))
            }
            What::Entry(_, Entry::Tasks) => {
                let mut ids = Vec::new();
                for thread in process.live_threads() {
                    let place = ids.partition_point(|&other| other < thread.id());
                    ids.insert(place, thread.id());
                }
                Ok(numbered(ids, (from, most), Kind::Directory, |id| {
                    let thread = Some(id);
                    Subject { thread, ..subject }.number(0, 0)
                }))
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    fn target(&self) -> Result<Vec<u8>> {
        let root = task::current_process().paths().root;
        if let What::Descriptor(fd) = self.what {
            return Ok(self.description(fd)?.describe(&root));
        }
        if !may_see(&*self.subject.process()?) {
            return Err(Errno::ACCES);
        }
        let place = self.place().ok_or(Errno::NOENT)?;
        Ok(place.path_from(&root))
    }

    fn jump(&self) -> Option<Rc<Place>> {
        self.place()
    }

    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        read_from(&content(self)?, offset, out)
    }

    fn open(self: Rc<Self>, how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        match self.what {
            What::Entry(_, Entry::Memory) => {
                let space = self.subject.process()?.space().ok_or(Errno::SRCH)?;
                Ok(Some(Rc::new(MemoryFile { space, node: self })))
            }
            What::Entry(_, Entry::Text(_)) | What::DescriptorInfo(_) if how.write => {
                Err(Errno::ACCES)
            }
            What::Entry(_, Entry::Text(_) | Entry::Setting(..)) | What::DescriptorInfo(_) => {
                Ok(Some(GeneratedFile::open(self)))
            }
            _ => Ok(None),
        }
    }

    fn file_system(&self) -> FileSystemStatus {
        self.tree.status()
    }
}

impl Source for ProcessNode {
    fn make(&self, text: &mut Text) -> Result<()> {
        match self.what {
            What::Entry(_, Entry::Text(make) | Entry::Setting(make, _)) => make(self.subject, text),
            What::DescriptorInfo(fd) => {
                let description = self.description(fd)?;
                let offset = description.offset.get();
                let flags = description.open_flags();
                put!(text, "pos:\t{offset}\nflags:\t0{flags:o}\nmnt_id:\t20\n");
                put!(text, "ino:\t{}\n", description.metadata().number);
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<()> {
        match self.what {
            What::Entry(_, Entry::Setting(_, take)) => take(self.subject, bytes),
            _ => Err(Errno::ACCES),
        }
    }
}

/// What opening the link of a descriptor without a path gives: the same file.
struct Opened(Rc<Description>);

impl Node for Opened {
    fn metadata(&self) -> Metadata {
        self.0.file.metadata()
    }

    fn open(self: Rc<Self>, _how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        if self.0.file.metadata().kind == Kind::Socket {
            return Err(Errno::NXIO);
        }
        Ok(Some(self.0.file.clone()))
    }

    fn file_system(&self) -> FileSystemStatus {
        FileSystemStatus {
            magic: 0x5049_5045,
            block_size: PAGE as u64,
            blocks: 0,
            free: 0,
            nodes: 0,
            free_nodes: 0,
        }
    }
}

/// The memory of a process: offsets are addresses.
struct MemoryFile {
    space: Rc<Space>,
    node: Rc<dyn Node>,
}

impl File for MemoryFile {
    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        let mut done = 0;
        while out.room() > 0 {
            let address = (offset as usize).wrapping_add(done);
            let Ok(frame) = self.space.frame(address, false) else {
                break;
            };
            let start = address % PAGE;
            let part = frame.with(|page| out.put(&page[start..]))?;
            if part == 0 {
                break;
            }
            done += part;
        }
        if done == 0 && out.room() > 0 {
            Err(Errno::IO)
        } else {
            Ok(done)
        }
    }

    fn write(&self, offset: u64, input: &mut Input<'_>) -> Result {
        let mut buffer = [0; 512];
        let mut done = 0;
        while input.left() > 0 {
            let got = input.take(&mut buffer)?;
            let address = (offset as usize).wrapping_add(done);
            if self.space.write(address, &buffer[..got]).is_err() {
                return if done == 0 { Err(Errno::IO) } else { Ok(done) };
            }
            done += got;
        }
        Ok(done)
    }

    fn node(&self) -> Option<&Rc<dyn Node>> {
        Some(&self.node)
    }

    fn metadata(&self) -> Metadata {
        self.node.metadata()
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

fn zero(_: Subject, text: &mut Text) -> Result<()> {
    text.put(b"0\n");
    Ok(())
}

fn ignore(_: Subject, _: &[u8]) -> Result<()> {
    Ok(())
}

fn allow(_: Subject, text: &mut Text) -> Result<()> {
    text.put(b"allow\n");
    Ok(())
}

fn login(_: Subject, text: &mut Text) -> Result<()> {
    put!(text, "{}", u32::MAX);
    Ok(())
}

fn personality(_: Subject, text: &mut Text) -> Result<()> {
    text.put(b"00000000\n");
    Ok(())
}

fn wait_channel(_: Subject, text: &mut Text) -> Result<()> {
    text.put(b"0");
    Ok(())
}

fn control_group(_: Subject, text: &mut Text) -> Result<()> {
    text.put(b"0::/\n");
    Ok(())
}

fn mounts(_: Subject, text: &mut Text) -> Result<()> {
    system::put_mounts(text, false);
    Ok(())
}

fn mount_info(_: Subject, text: &mut Text) -> Result<()> {
    system::put_mounts(text, true);
    Ok(())
}

fn auxiliary(subject: Subject, text: &mut Text) -> Result<()> {
    for word in subject.process()?.auxiliary.borrow().iter() {
        text.put(&word.to_le_bytes());
    }
    Ok(())
}

fn put_strings(text: &mut Text, strings: &[Vec<u8>]) {
    for string in strings {
        text.put(string);
        text.put(&[0]);
    }
}

fn arguments(subject: Subject, text: &mut Text) -> Result<()> {
    let process = subject.process()?;
    if process.space().is_some() {
        put_strings(text, &process.arguments.borrow());
    }
    Ok(())
}

fn environment(subject: Subject, text: &mut Text) -> Result<()> {
    let process = subject.process()?;
    if process.space().is_some() {
        put_strings(text, &process.environment.borrow());
    }
    Ok(())
}

/// The name of the thread; of a process without threads, that of its program.
fn name_of(subject: Subject) -> Result<Vec<u8>> {
    if let Some(thread) = subject.thread() {
        return Ok(thread.name.borrow().clone());
    }
    let process = subject.process()?;
    if let Some(thread) = process.live_threads().first() {
        return Ok(thread.name.borrow().clone());
    }
    let arguments = process.arguments.borrow();
    let path = arguments.first().map(|word| &word[..]).unwrap_or_default();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    Ok(name.iter().copied().take(15).collect())
}

fn name(subject: Subject, text: &mut Text) -> Result<()> {
    text.put(&name_of(subject)?);
    text.put(b"\n");
    Ok(())
}

fn memory_score(subject: Subject, text: &mut Text) -> Result<()> {
    put!(text, "{}\n", subject.process()?.memory_score.get());
    Ok(())
}

fn set_memory_score(subject: Subject, value: &[u8]) -> Result<()> {
    let value = core::str::from_utf8(value)
        .ok()
        .and_then(|value| value.trim().parse().ok());
    let score = value
        .filter(|score| (-1000..=1000).contains(score))
        .ok_or(Errno::INVAL)?;
    subject.process()?.memory_score.set(score);
    Ok(())
}

fn set_name(subject: Subject, bytes: &[u8]) -> Result<()> {
    let thread = subject.thread().ok_or(Errno::SRCH)?;
    if thread.process.id != task::current_process().id {
        return Err(Errno::INVAL);
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    *thread.name.borrow_mut() = bytes.iter().copied().take(15).collect();
    Ok(())
}

fn transfers(subject: Subject, text: &mut Text) -> Result<()> {
    subject.process()?;
    for name in [
        "rchar",
        "wchar",
        "syscr",
        "syscw",
        "read_bytes",
        "write_bytes",
        "cancelled_write_bytes",
    ] {
        put!(text, "{name}: 0\n");
    }
    Ok(())
}

fn limits(subject: Subject, text: &mut Text) -> Result<()> {
    /// In the order of their numbers.
    const NAMES: [(&str, &str); Limit::COUNT] = [
        ("cpu time", "seconds"),
        ("file size", "bytes"),
        ("data size", "bytes"),
        ("stack size", "bytes"),
        ("core file size", "bytes"),
        ("resident set", "bytes"),
        ("processes", "processes"),
        ("open files", "files"),
        ("locked memory", "bytes"),
        ("address space", "bytes"),
        ("file locks", "locks"),
        ("pending signals", "signals"),
        ("msgqueue size", "bytes"),
        ("nice priority", ""),
        ("realtime priority", ""),
        ("realtime timeout", "us"),
    ];
    let process = subject.process()?;
    let shown = |limit: u64| {
        if limit == u64::MAX {
            alloc::string::String::from("unlimited")
        } else {
            alloc::format!("{limit}")
        }
    };
    put!(
        text,
        "{:<26}{:<21}{:<21}{:<10}\n",
        "Limit",
        "Soft Limit",
        "Hard Limit",
        "Units"
    );
    for ((name, unit), limit) in NAMES.iter().zip(process.limits.borrow().iter()) {
        let name = alloc::format!("Max {name}");
        let (soft, hard) = (shown(limit.soft), shown(limit.hard));
        put!(text, "{name:<26}{soft:<21}{hard:<21}{unit:<10}\n");
    }
    Ok(())
}

/// The letter of the state of a process or a thread, and its name.
fn state(subject: Subject) -> Result<(char, &'static str)> {
    let process = subject.process()?;
    let threads = match subject.thread() {
        Some(thread) => alloc::vec![thread],
        None => process.live_threads(),
    };
    Ok(if process.is_zombie.get() {
        ('Z', "zombie")
    } else if process.is_stopped() {
        ('T', "stopped")
    } else if threads.iter().all(|thread| thread.is_waiting()) {
        ('S', "sleeping")
    } else {
        ('R', "running")
    })
}

fn parent_of(process: &Process) -> i32 {
    let parent = process.parent.borrow().upgrade();
    parent.map_or(0, |parent| parent.id)
}

/// The signals that a process ignores and those that it catches.
fn signal_sets(process: &Process) -> (u64, u64) {
    let handlers = process.handlers();
    let (mut ignored, mut caught) = (0, 0);
    for signal in (1..=Signal::COUNT).filter_map(Signal::from_number) {
        let action = handlers.get(signal);
        if action.is_caught() {
            caught |= signal.bit();
        } else if action.handler == crate::signal::Action::IGNORE {
            ignored |= signal.bit();
        }
    }
    (ignored, caught)
}

/// Pages of a process: all, present, its program's, its data's and its stack's.
struct Pages {
    all: usize,
    resident: usize,
    program: usize,
    data: usize,
    stack: usize,
}

fn pages(process: &Process) -> Pages {
    let mut pages = Pages {
        all: 0,
        resident: 0,
        program: 0,
        data: 0,
        stack: 0,
    };
    let Some(space) = process.space() else {
        return pages;
    };
    pages.resident = space.resident_bytes() / PAGE;
    for (start, area) in space.areas() {
        let size = (area.end - start) / PAGE;
        pages.all += size;
        if area.end == space.stack_end() {
            pages.stack += size;
        } else if area.protection.contains(Protection::EXECUTE) {
            pages.program += size;
        } else if area.protection.contains(Protection::WRITE) && !area.shared {
            pages.data += size;
        }
    }
    pages
}

fn memory_statistics(subject: Subject, text: &mut Text) -> Result<()> {
    let pages = pages(&*subject.process()?);
    put!(
        text,
        "{} {} 0 {} 0 {} 0\n",
        pages.all,
        pages.resident,
        pages.program,
        pages.data + pages.stack
    );
    Ok(())
}

fn statistics(subject: Subject, text: &mut Text) -> Result<()> {
    let process = subject.process()?;
    let thread = subject.thread();
    let (ran, children) = match (&thread, subject.thread) {
        (Some(thread), Some(_)) => (thread.run_time.get(), 0),
        _ => (process.total_run_time(), process.child_run_time.get()),
    };
    let (ignored, caught) = signal_sets(&process);
    let terminal = process.terminal.borrow().clone();
    let (device, foreground) = match &terminal {
        Some(terminal) => (terminal.device_number(), terminal.foreground_group()),
        None => (0, -1),
    };
    let pages = pages(&process);
    put!(text, "{} (", subject.id());
    text.put(&name_of(subject)?);
    put!(
        text,
        ") {} {} {} {} {device} {foreground} 4194304 0 0 0 0 ",
        state(subject)?.0,
        parent_of(&process),
        process.group.get(),
        process.session.get()
    );
    put!(
        text,
        "{} 0 {} 0 20 0 {} 0 {} {} {} {} ",
        ran / TICK,
        children / TICK,
        process.live_threads().len(),
        process.started / TICK,
        pages.all * PAGE,
        pages.resident,
        process.limit(5)
    );
    let (pending, blocked) = thread
        .as_ref()
        .map_or((0, 0), |thread| (thread.pending.set(), thread.mask.get()));
    // Old fields for signals have 31 bits.
    const OLD: u64 = 0x7fff_ffff;
    put!(
        text,
        "0 0 0 0 0 {} {} {} {} 0 0 0 {} 0 0 0 0 0 0 0 0 0 0 0 0 0 {}\n",
        pending & OLD,
        blocked & OLD,
        ignored & OLD,
        caught & OLD,
        process.exit_signal.get(),
        process
            .ending
            .get()
            .map_or(0, |ending| ending.wait_status())
    );
    Ok(())
}

fn status(subject: Subject, text: &mut Text) -> Result<()> {
    let process = subject.process()?;
    let thread = subject.thread();
    let (letter, state) = state(subject)?;
    let credentials = process.credentials.borrow().clone();
    let (ignored, caught) = signal_sets(&process);
    text.put(b"Name:\t");
    text.put(&name_of(subject)?);
    put!(text, "\nUmask:\t{:04o}\n", process.paths().mask);
    put!(text, "State:\t{letter} ({state})\n");
    put!(text, "Tgid:\t{}\nNgid:\t0\n", process.id);
    put!(text, "Pid:\t{}\n", subject.id());
    put!(text, "PPid:\t{}\nTracerPid:\t0\n", parent_of(&process));
    for (name, [real, effective, saved]) in
        [("Uid", credentials.users), ("Gid", credentials.groups)]
    {
        put!(text, "{name}:\t{real}\t{effective}\t{saved}\t{effective}\n");
    }
    put!(text, "FDSize:\t{}\nGroups:\t", {
        let descriptors = process.file_table().descriptors();
        descriptors.len().next_power_of_two().max(64)
    });
    for group in &credentials.others {
        put!(text, "{group} ");
    }
    text.put(b"\n");
    let id = subject.id();
    put!(text, "NStgid:\t{}\nNSpid:\t{id}\n", process.id);
    put!(
        text,
        "NSpgid:\t{}\nNSsid:\t{}\n",
        process.group.get(),
        process.session.get()
    );
    if process.space().is_some() {
        let pages = pages(&process);
        for (name, count) in [
            ("VmPeak", pages.all),
            ("VmSize", pages.all),
            ("VmLck", 0),
            ("VmPin", 0),
            ("VmHWM", pages.resident),
            ("VmRSS", pages.resident),
            ("RssAnon", pages.resident),
            ("RssFile", 0),
            ("RssShmem", 0),
            ("VmData", pages.data),
            ("VmStk", pages.stack),
            ("VmExe", pages.program),
            ("VmLib", 0),
            ("VmPTE", 0),
            ("VmSwap", 0),
        ] {
            put!(text, "{name}:\t{:>8} kB\n", count * (PAGE >> 10));
        }
    }
    put!(text, "Threads:\t{}\n", process.live_threads().len());
    put!(text, "SigQ:\t0/{}\n", 1024);
    let (pending, blocked) =
        thread.map_or((0, 0), |thread| (thread.pending.set(), thread.mask.get()));
    let all = credentials.capabilities();
    for (name, set) in [
        ("SigPnd", pending),
        ("ShdPnd", process.pending.set()),
        ("SigBlk", blocked),
        ("SigIgn", ignored),
        ("SigCgt", caught),
        ("CapInh", 0),
        ("CapPrm", all),
        ("CapEff", all),
        ("CapBnd", Credentials::ALL),
        ("CapAmb", 0),
    ] {
        put!(text, "{name}:\t{set:016x}\n");
    }
    let is_bound = u8::from(process.credentials.borrow().is_bound);
    put!(text, "NoNewPrivs:\t{is_bound}\n");
    text.put(b"Seccomp:\t0\nSeccomp_filters:\t0\n");
    text.put(b"Cpus_allowed:\t1\nCpus_allowed_list:\t0\n");
    text.put(b"Mems_allowed:\t1\nMems_allowed_list:\t0\n");
    text.put(b"voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
    Ok(())
}

/// Writes the first line of an area.
fn put_area(text: &mut Text, space: &Space, start: usize, area: &Area) {
    let letter = |flag, letter| {
        if area.protection.contains(flag) {
            letter
        } else {
            '-'
        }
    };
    let (read, write, execute) = (
        letter(Protection::READ, 'r'),
        letter(Protection::WRITE, 'w'),
        letter(Protection::EXECUTE, 'x'),
    );
    let shared = if area.shared { 's' } else { 'p' };
    let (mut offset, mut device, mut number) = (0, 0, 0);
    let mut path = Vec::new();
    match &area.backing {
        Backing::Zeros if area.end == space.stack_end() => path.extend_from_slice(b"[stack]"),
        Backing::Zeros => {
            let (first, end) = space.brk();
            if start < end && area.end > first {
                path.extend_from_slice(b"[heap]");
            }
        }
        Backing::File {
            node,
            offset: within,
            place,
            ..
        } => {
            let metadata = node.metadata();
            (offset, device, number) = (*within, metadata.device, metadata.number);
            match place {
                Some(place) => path = place.path_from(&task::current_process().paths().root),
                None => path.extend_from_slice(b"/dev/zero (deleted)"),
            }
        }
    }
    let (major, minor) = devices::parts(device);
    let line = alloc::format!(
        "{start:08x}-{:08x} {read}{write}{execute}{shared} {offset:08x} {major:02x}:{minor:02x} {number} ",
        area.end
    );
    if path.is_empty() {
        text.put(line.as_bytes());
    } else {
        put!(text, "{line:<73}");
        text.put(&path);
    }
    text.put(b"\n");
}

fn maps(subject: Subject, text: &mut Text) -> Result<()> {
    let Some(space) = subject.process()?.space() else {
        return Ok(());
    };
    for (start, area) in space.areas() {
        put_area(text, &space, start, &area);
    }
    Ok(())
}

/// Writes the sizes of an area, in kilobytes.
fn put_sizes(text: &mut Text, size: Option<usize>, resident: usize, shared: bool) {
    let (shared, private) = if shared { (resident, 0) } else { (0, resident) };
    if let Some(size) = size {
        put!(text, "Size:           {size:>8} kB\n");
        text.put(b"KernelPageSize:        4 kB\nMMUPageSize:           4 kB\n");
    }
    for (name, value) in [
        ("Rss", resident),
        ("Pss", resident),
        ("Shared_Clean", 0),
        ("Shared_Dirty", shared),
        ("Private_Clean", 0),
        ("Private_Dirty", private),
        ("Referenced", resident),
        ("Anonymous", private),
        ("AnonHugePages", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ] {
        put!(text, "{:<16}{value:>8} kB\n", alloc::format!("{name}:"));
    }
}

fn detailed_maps(subject: Subject, text: &mut Text) -> Result<()> {
    let Some(space) = subject.process()?.space() else {
        return Ok(());
    };
    for (start, area) in space.areas() {
        put_area(text, &space, start, &area);
        let resident = space.resident_in(start, area.end) >> 10;
        put_sizes(text, Some((area.end - start) >> 10), resident, area.shared);
        text.put(b"VmFlags:\n");
    }
    Ok(())
}

fn summed_maps(subject: Subject, text: &mut Text) -> Result<()> {
    let Some(space) = subject.process()?.space() else {
        return Ok(());
    };
    let areas = space.areas();
    let start = areas.first().map_or(0, |area| area.0);
    let end = areas.last().map_or(0, |area| area.1.end);
    put!(
        text,
        "{start:08x}-{end:08x} ---p 00000000 00:00 0 [rollup]\n"
    );
    put_sizes(text, None, space.resident_bytes() >> 10, false);
    Ok(())
}
