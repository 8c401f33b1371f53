//! Processes.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::{Thread, WaitQueue};
use crate::arch;
use crate::file::FileTable;
use crate::file::terminal::Terminal;
use crate::fs::{Node, Place};
use crate::mm::{Backing, Protection, Space};
use crate::signal::{Handlers, Info, Pending, Signal};
use crate::sync::Global;

/// How a process ended, in the form of `wait`'s status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned a status.
    Exited(u8),
    /// A signal ended it.
    Killed(Signal),
}

impl Ending {
    /// The status as `wait` gives it.
    pub fn wait_status(self) -> i32 {
        match self {
            Ending::Exited(status) => i32::from(status) << 8,
            Ending::Killed(signal) => signal.number() as i32,
        }
    }

    /// The exit status that a shell would show.
    pub fn shell_status(self) -> u8 {
        match self {
            Ending::Exited(status) => status,
            Ending::Killed(signal) => 128 + signal.number() as u8,
        }
    }
}

/// Who a process is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Real, effective and saved user.
    pub users: [u32; 3],
    /// Real, effective and saved group.
    pub groups: [u32; 3],
    /// Other groups.
    pub others: Vec<u32>,
    /// Whether capabilities stay when root becomes another user (`PR_SET_KEEPCAPS`).
    pub keeps: bool,
    /// The capabilities that stayed; root has all.
    pub kept: u64,
    /// Whether the set-id bits of programs do not count (`PR_SET_NO_NEW_PRIVS`).
    pub is_bound: bool,
}

impl Credentials {
    /// The effective user.
    pub fn user(&self) -> u32 {
        self.users[1]
    }

    /// The effective group.
    pub fn group(&self) -> u32 {
        self.groups[1]
    }

    /// Whether it is in a group.
    pub fn has_group(&self, group: u32) -> bool {
        group == self.group() || self.others.contains(&group)
    }

    /// Whether it may become another user or group.
    pub fn may_change(&self) -> bool {
        /// `CAP_SETGID` and `CAP_SETUID`
        const SET_IDS: u64 = 1 << 6 | 1 << 7;
        self.is_root() || self.kept & SET_IDS == SET_IDS
    }

    /// The capabilities.
    pub fn capabilities(&self) -> u64 {
        if self.is_root() {
            Credentials::ALL
        } else {
            self.kept
        }
    }

    /// All capabilities that there are.
    pub const ALL: u64 = 0x1ff_ffff_ffff;

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        self.user() == 0
    }
}

/// A resource limit: the one that holds and the highest that it may become.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The limit.
    pub soft: u64,
    /// Its ceiling.
    pub hard: u64,
}

impl Limit {
    /// Which limit is that of the size of files.
    pub const FILE_SIZE: usize = 1;
    /// Which limit counts file descriptors.
    pub const FILES: usize = 7;
    /// The highest limit of file descriptors (`fs.nr_open`).
    pub const MOST_FILES: u64 = 1 << 20;
    /// Which limit is the stack's size.
    pub const STACK: usize = 3;
    /// Which limit is that of the bytes in POSIX message queues.
    pub const MESSAGE_QUEUES: usize = 12;
    /// How many limits there are.
    pub const COUNT: usize = 16;

    /// The limits with which the first process starts.
    pub fn defaults() -> [Limit; Limit::COUNT] {
        let mut limits = [Limit {
            soft: u64::MAX,
            hard: u64::MAX,
        }; Limit::COUNT];
        limits[Limit::FILES] = Limit {
            soft: 1024,
            hard: Limit::MOST_FILES,
        };
        limits[Limit::STACK] = Limit {
            soft: 8 << 20,
            hard: u64::MAX,
        };
        limits[Limit::MESSAGE_QUEUES] = Limit {
            soft: 819_200,
            hard: 819_200,
        };
        limits
    }
}

/// Where a process is in the file system.
#[derive(Clone)]
pub struct Paths {
    /// The working directory.
    pub directory: Rc<Place>,
    /// What it takes for `/`.
    pub root: Rc<Place>,
    /// The permissions that new files do not get.
    pub mask: u32,
}

/// A process.
pub struct Process {
    /// The number, unique in the machine.
    pub id: i32,
    /// Who waits for it.
    pub parent: RefCell<Weak<Process>>,
    /// For whom it can wait.
    pub children: RefCell<Vec<Rc<Process>>>,
    /// Its threads that live.
    pub threads: RefCell<Vec<Weak<Thread>>>,
    space: RefCell<Option<Rc<Space>>>,
    /// Its file descriptors.
    pub files: RefCell<Rc<FileTable>>,
    /// Where it is in the file system.
    pub paths: RefCell<Rc<RefCell<Paths>>>,
    /// What it does with signals.
    pub handlers: RefCell<Rc<Handlers>>,
    /// Signals for any of its threads.
    pub pending: Pending,
    /// Woken when a signal comes (`signalfd`, `sigtimedwait`).
    pub signal_queue: WaitQueue,
    /// The process group.
    pub group: Cell<i32>,
    /// The session.
    pub session: Cell<i32>,
    /// The terminal of its session.
    pub terminal: RefCell<Option<Rc<Terminal>>>,
    /// Who it is.
    pub credentials: RefCell<Credentials>,
    /// Its limits.
    pub limits: RefCell<[Limit; Limit::COUNT]>,
    /// The ending, once it is decided; threads end when they see it.
    pub ending: Cell<Option<Ending>>,
    /// Whether all threads have ended: only the status is left.
    pub is_zombie: Cell<bool>,
    /// The signal that stopped it.
    pub stopped: Cell<Option<Signal>>,
    /// Whether its parent has not seen the stop or the continuation.
    pub unreported: Cell<Option<ChildChange>>,
    /// Woken when a child changes.
    pub child_queue: WaitQueue,
    /// Woken when the process stops being a `vfork` child, or continues after a stop.
    pub released: WaitQueue,
    /// Whether the parent waits until this process has memory of its own.
    pub borrows_space: Cell<bool>,
    /// The signal for the parent at the end; 0 for none.
    pub exit_signal: Cell<i32>,
    /// The program.
    pub program: RefCell<Option<Rc<Place>>>,
    /// The arguments that the program was given; forked processes share them.
    pub arguments: RefCell<Rc<Vec<Vec<u8>>>>,
    /// The environment that the program was given, shared as well.
    pub environment: RefCell<Rc<Vec<Vec<u8>>>>,
    /// The auxiliary vector that the program was given.
    pub auxiliary: RefCell<Vec<u64>>,
    /// When it began.
    pub started: u64,
    /// Nanoseconds that its ended threads ran.
    pub run_time: Cell<u64>,
    /// Nanoseconds that its children ran for which it waited.
    pub child_run_time: Cell<u64>,
    /// Interval timers (`setitimer`).
    pub timers: crate::timers::Timers,
    /// Timers that the program made (`timer_create`).
    pub posix_timers: crate::timers::PosixTimers,
    /// Set by `prctl(PR_SET_CHILD_SUBREAPER)`.
    pub is_reaper: Cell<bool>,
    /// The signal at the parent's end (`PR_SET_PDEATHSIG`).
    pub parent_death_signal: Cell<i32>,
    /// How likely the process is to end when memory runs out, as it set it (`oom_score_adj`).
    pub memory_score: Cell<i32>,
    /// Whether the program has been replaced since the process began.
    pub has_executed: Cell<bool>,
}

/// A change of a child that `wait` may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildChange {
    /// It stopped.
    Stopped(Signal),
    /// It continued.
    Continued,
}

static PROCESSES: Global<RefCell<BTreeMap<i32, Rc<Process>>>> =
    Global::new(RefCell::new(BTreeMap::new()));
static NEXT_ID: Global<Cell<i32>> = Global::new(Cell::new(1));

/// A number for a process or a thread.
pub fn next_id() -> i32 {
    loop {
        let id = NEXT_ID.get();
        NEXT_ID.set(if id >= 4_194_303 { 300 } else { id + 1 });
        if find_process(id).is_none() && super::find_thread(id).is_none() {
            return id;
        }
    }
}

/// The number that was given last.
pub fn last_id() -> i32 {
    NEXT_ID.get() - 1
}

/// The process with a number.
pub fn find_process(id: i32) -> Option<Rc<Process>> {
    PROCESSES.borrow().get(&id).cloned()
}

/// All processes, zombies too.
pub fn all_processes() -> Vec<Rc<Process>> {
    PROCESSES.borrow().values().cloned().collect()
}

/// Whether a file is the program of a process.
pub fn is_running(node: &Rc<dyn Node>) -> bool {
    let identity = node.identity();
    all_processes().iter().any(|process| {
        let program = process.program.borrow();
        let runs = program
            .as_ref()
            .is_some_and(|place| place.node.identity() == identity);
        runs && !process.is_zombie.get()
    })
}

/// Whether someone has a file open for writing.
pub fn is_written(node: &Rc<dyn Node>) -> bool {
    let identity = node.identity();
    all_processes().iter().any(|process| {
        let files = process.file_table();
        files.descriptors().into_iter().any(|fd| {
            files.get(fd).is_ok_and(|description| {
                description.writable
                    && description
                        .file
                        .node()
                        .is_some_and(|node| node.identity() == identity)
            })
        })
    })
}

/// Whether a program has mapped a file so that it can write to it.
pub fn can_write_mapped(node: &Rc<dyn Node>) -> bool {
    let identity = node.identity();
    let spaces = all_processes()
        .into_iter()
        .filter_map(|process| process.space());
    spaces.into_iter().any(|space| {
        space.areas().iter().any(|(_, area)| {
            let writes = area.shared && area.allows(Protection::WRITE);
            writes
                && matches!(&area.backing, Backing::File { node, .. } if node.identity() == identity)
        })
    })
}

/// Notifies all programs that a file has become shorter, the file by its address.
pub fn forget_file(node: *const (), length: u64) {
    for process in all_processes() {
        if let Some(space) = process.space() {
            space.forget_file(node, length);
        }
    }
}

impl Process {
    /// The first process, without memory and threads yet.
    pub fn first(root: Rc<Place>, files: FileTable) -> Rc<Process> {
        let paths = Paths {
            directory: root.clone(),
            root,
            mask: 0o22,
        };
        Process::alone(Rc::new(files), Rc::new(RefCell::new(paths))).register()
    }

    /// A process that has nothing of a parent, not yet among the others.
    fn alone(files: Rc<FileTable>, paths: Rc<RefCell<Paths>>) -> Process {
        Process {
            id: next_id(),
            parent: RefCell::default(),
            children: RefCell::default(),
            threads: RefCell::default(),
            space: RefCell::default(),
            files: RefCell::new(files),
            paths: RefCell::new(paths),
            handlers: RefCell::default(),
            pending: Pending::default(),
            signal_queue: WaitQueue::new(),
            group: Cell::new(1),
            session: Cell::new(1),
            terminal: RefCell::default(),
            credentials: RefCell::default(),
            limits: RefCell::new(Limit::defaults()),
            ending: Cell::new(None),
            is_zombie: Cell::new(false),
            stopped: Cell::new(None),
            unreported: Cell::new(None),
            child_queue: WaitQueue::new(),
            released: WaitQueue::new(),
            borrows_space: Cell::new(false),
            exit_signal: Cell::new(0),
            program: RefCell::default(),
            arguments: RefCell::default(),
            environment: RefCell::default(),
            auxiliary: RefCell::default(),
            started: arch::monotonic(),
            run_time: Cell::new(0),
            child_run_time: Cell::new(0),
            timers: crate::timers::Timers::default(),
            posix_timers: crate::timers::PosixTimers::default(),
            is_reaper: Cell::new(false),
            parent_death_signal: Cell::new(0),
            memory_score: Cell::new(0),
            has_executed: Cell::new(false),
        }
    }

    /// Adds the process to those of the machine.
    fn register(self) -> Rc<Process> {
        let process = Rc::new(self);
        PROCESSES.borrow_mut().insert(process.id, process.clone());
        process
    }

    /// A child of this process that shares or copies what `clone`'s caller decided.
    pub fn child(
        self: &Rc<Process>,
        parent: &Rc<Process>,
        space: Rc<Space>,
        files: Rc<FileTable>,
        paths: Rc<RefCell<Paths>>,
        handlers: Rc<Handlers>,
        exit_signal: i32,
    ) -> Rc<Process> {
        let child = Process {
            parent: RefCell::new(Rc::downgrade(parent)),
            space: RefCell::new(Some(space)),
            handlers: RefCell::new(handlers),
            group: self.group.clone(),
            session: self.session.clone(),
            terminal: self.terminal.clone(),
            credentials: self.credentials.clone(),
            limits: self.limits.clone(),
            exit_signal: Cell::new(exit_signal),
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            auxiliary: self.auxiliary.clone(),
            memory_score: self.memory_score.clone(),
            ..Process::alone(files, paths)
        }
        .register();
        parent.children.borrow_mut().push(child.clone());
        child
    }

    /// Forgets a process whose status has been taken.
    pub fn forget(&self) {
        let gone = PROCESSES.borrow_mut().remove(&self.id);
        drop(gone);
    }

    /// The memory; `None` when the process has ended.
    pub fn space(&self) -> Option<Rc<Space>> {
        self.space.borrow().clone()
    }

    /// Replaces the memory; the old one is returned.
    pub fn set_space(&self, space: Option<Rc<Space>>) -> Option<Rc<Space>> {
        self.space.replace(space)
    }

    /// The file descriptors.
    pub fn file_table(&self) -> Rc<FileTable> {
        self.files.borrow().clone()
    }

    /// Where the process is in the file system.
    pub fn paths(&self) -> Paths {
        self.paths.borrow().borrow().clone()
    }

    /// Changes where the process is in the file system.
    pub fn change_paths(&self, change: impl FnOnce(&mut Paths)) {
        let paths = self.paths.borrow().clone();
        change(&mut paths.borrow_mut());
    }

    /// What it does with signals.
    pub fn handlers(&self) -> Rc<Handlers> {
        self.handlers.borrow().clone()
    }

    /// The threads that live.
    pub fn live_threads(&self) -> Vec<Rc<Thread>> {
        self.threads
            .borrow()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Whether its threads are to end.
    pub fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Whether a signal stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// The limit of one resource.
    pub fn limit(&self, which: usize) -> u64 {
        self.limits
            .borrow()
            .get(which)
            .map_or(u64::MAX, |limit| limit.soft)
    }

    /// Nanoseconds that the process ran.
    pub fn total_run_time(&self) -> u64 {
        self.run_time.get()
            + self
                .live_threads()
                .iter()
                .map(|thread| thread.run_time.get())
                .sum::<u64>()
    }

    /// Sends a signal to the process: the first thread that does not block it takes it.
    pub fn send(&self, info: Info) {
        let signal = info.signal();
        if self.is_zombie.get() {
            return;
        }
        let threads = self.live_threads();
        let blocked = threads
            .iter()
            .all(|thread| thread.mask.get() & signal.bit() != 0);
        if super::signals::is_ignored(self, signal) && !blocked {
            super::signals::before_sending(self, signal);
            return;
        }
        super::signals::before_sending(self, signal);
        self.pending.add(info);
        self.signal_queue.wake();
        crate::file::signalfd::signal_sent();
        let takers = threads.iter().filter(|thread| thread.deliverable() != 0);
        for thread in takers {
            super::wait::Wake::wake(&**thread);
            if signal != Signal::KILL {
                break;
            }
        }
    }
}
