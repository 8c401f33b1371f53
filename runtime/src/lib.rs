//! The kernel of kraft's built-in runtime: it boots in a virtual machine and runs one Linux
//! program, with the processes that it starts, from the root archive that the VMM loaded.
//!
//! ```text
//! arch      entry, traps, page table entries, clocks, interrupts: one folder per processor
//! boot      the command line
//! mm        frames, heap, page tables, address spaces, memory of programs
//! task      processes, threads, scheduling, waiting, signals, futexes, running programs
//! fs        nodes, paths, mounts; the tree in memory, the root archive, devices, /proc
//! file      open files: pipes, terminals, event files
//! sysv      shared memory, semaphores and message queues of System V
//! net       the network device and sockets
//! virtio    virtio devices
//! syscall   what programs call
//! restored  what the machine learns when it continues from memory that was saved
//! ```
//!
//! One processor runs everything. The kernel itself runs with interrupts off; only user mode
//! and the wait for an interrupt let them in.

#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod abi;
pub mod arch;
pub mod boot;
pub mod file;
pub mod fs;
pub mod mm;
pub mod net;
pub mod random;
pub mod report;
pub mod restored;
pub mod signal;
pub mod small;
pub mod sync;
pub mod syscall;
pub mod sysv;
pub mod task;
#[cfg(test)]
mod testing;
pub mod time;
pub mod timers;
pub mod trap;
pub mod virtio;

use alloc::rc::Rc;
use alloc::vec::Vec;

use abi::errno::Errno;
use arch::{BootInfo, PAGE, PHYSICAL, Registers};
use file::{Description, FileTable, Flags, terminal};
use fs::{Follow, Kind, Node, Place, Walk, archive, devices, memory, mounts};
use mm::frames;
use task::{Process, Thread};

/// The variables that a program finds when no one sets them.
const DEFAULT_ENVIRONMENT: &[(&[u8], &[u8])] = &[
    (
        b"PATH",
        b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    (b"HOME", b"/root"),
];

/// Starts the kernel: the architecture has set the processor up.
pub fn start(boot: BootInfo) -> ! {
    let end = boot
        .memory
        .iter()
        .map(|&(start, length)| start.saturating_add(length))
        .max();
    let end = end.unwrap_or(0).min(arch::MOST_MEMORY);
    frames::init(&boot.memory, &boot.reserved, arch::MAPPED_AT_BOOT);
    mm::leave_early_heap();
    arch::map_memory(end, || match frames::allocate(0) {
        Some(page) => page,
        None => panic!("no memory for page tables"),
    });
    frames::add(&boot.memory, &boot.reserved, arch::MAPPED_AT_BOOT, end);
    random::init();

    let settings = boot::parse(&boot.command_line);
    syscall::set_trace(settings.trace);
    let root = make_root(boot.initrd);
    virtio::init(&boot.command_line);
    // What follows sets alarms.
    arch::finish_clock();
    net::init(&settings.addresses, &root);
    let thread = first_process(root);
    fs::mount_all(&settings.mounts);
    let registers = run_program(settings);
    net::wait_for_address();
    arch::mark_program();
    task::start_first(thread, &registers)
}

/// Makes the tree of the root archive with what programs expect in it.
fn make_root(initrd: Option<(usize, usize)>) -> Rc<Place> {
    let root = memory::new_tree(0o755);
    mounts::mount_root(root.clone(), "rootfs");
    if let Some((start, length)) = initrd {
        // SAFETY: the loader put the archive there; the memory is reserved and never written.
        let bytes = unsafe { core::slice::from_raw_parts((PHYSICAL + start) as *const u8, length) };
        archive::unpack(bytes, &root);
    }
    let root: Rc<dyn Node> = root;
    let place = Place::root(root.clone());
    for name in [&b"tmp"[..], b"run", b"etc", b"root", b"var"] {
        archive::directory_in(&root, name);
    }
    if let Ok(tmp) = root.lookup(b"tmp") {
        let _ = tmp.change(&fs::Change {
            permissions: Some(0o1777),
            ..fs::Change::default()
        });
    }
    let dev: Rc<dyn Node> = memory::new_tree(0o755);
    devices::populate(&dev);
    archive::directory_in(&dev, b"pts");
    archive::directory_in(&dev, b"shm");
    let shared: Rc<dyn Node> = memory::new_tree(0o1777);
    mount_in(&place, b"proc", "proc", fs::proc::new());
    mount_in(&place, b"sys", "sysfs", fs::sys::new());
    mount_in(&place, b"dev", "devtmpfs", dev);
    if let Ok(dev) = place.child(b"dev") {
        mount_in(&dev, b"pts", "devpts", fs::pts::new());
        mount_in(&dev, b"shm", "tmpfs", shared);
    }
    place
}

/// Mounts a tree at a directory, which is made if it is missing.
fn mount_in(parent: &Rc<Place>, name: &[u8], kind: &'static str, tree: Rc<dyn Node>) {
    // Something else that the archive has there stays.
    if let Some(directory) = archive::directory_in(&parent.node, name) {
        let at = parent.with(name, directory);
        let _ = mounts::mount(&at, kind.as_bytes(), kind, tree, false);
    }
}

/// Makes the first process, whose terminal is the console.
fn first_process(root: Rc<Place>) -> Rc<Thread> {
    let files = FileTable::default();
    let console = terminal::Slave::open(terminal::console());
    let place = root.child(b"dev").and_then(|dev| dev.child(b"console"));
    let description = Description::at(console, place.ok(), true, true, Flags::empty());
    for _ in 0..3 {
        // The table is empty.
        let _ = files.add(description.clone(), false, 0, 3);
    }
    let process = Process::first(root, files);
    terminal::console().attach(&process);
    let thread = Thread::new(
        process.id,
        process,
        &Registers::default(),
        arch::FpuState::new(),
        0,
    );
    match thread {
        Ok(thread) => {
            task::set_first(thread.clone());
            thread
        }
        Err(error) => panic!("no memory for the first process: {error}"),
    }
}

/// Loads the program of the command line into the first process.
fn run_program(settings: boot::Settings) -> Registers {
    let mut environment = settings.environment;
    for &(name, value) in DEFAULT_ENVIRONMENT {
        if variable(&environment, name).is_none() {
            environment.push([name, b"=", value].concat());
        }
    }
    let Some(name) = settings.arguments.first().cloned() else {
        print!("kraft: the command line names no program\n");
        arch::power_off(127)
    };
    if let Some(directory) = &settings.directory
        && let Err(error) = start_in(directory)
    {
        let directory = alloc::string::String::from_utf8_lossy(directory);
        print!(
            "kraft: cannot start in the directory {directory}: {}\n",
            error.message()
        );
        arch::power_off(126)
    }
    let search = variable(&environment, b"PATH").unwrap_or_default();
    let place = find_program(&name, &search);
    let started = place.and_then(|(place, path)| {
        task::exec::execute(task::exec::Request {
            place,
            path,
            arguments: settings.arguments,
            environment,
        })
    });
    match started {
        Ok(registers) => registers,
        Err(error) => {
            let name = alloc::string::String::from_utf8_lossy(&name).into_owned();
            print!("kraft: cannot run {name}: {}\n", error.message());
            arch::power_off(if error == Errno::NOENT { 127 } else { 126 })
        }
    }
}

/// Follows paths as the first process does, which gets the walk and where it is.
fn in_first_process<T>(follow: impl FnOnce(&Walk<'_>, &task::Paths) -> T) -> T {
    let process = task::current_process();
    let paths = process.paths();
    let credentials = process.credentials.borrow().clone();
    let walk = Walk {
        root: paths.root.clone(),
        credentials: &credentials,
    };
    follow(&walk, &paths)
}

/// Makes a directory that of the first process. It is made if it is missing, as in a container.
fn start_in(path: &[u8]) -> abi::errno::Result<()> {
    let place = in_first_process(|walk, paths| {
        let mut place = paths.root.clone();
        let names = path.split(|&byte| byte == b'/');
        for name in names.filter(|name| !name.is_empty()) {
            place = match walk.resolve(&place, name, Follow::Yes) {
                // What a link leads to must be there.
                Err(Errno::NOENT) => {
                    let made = archive::directory_in(&place.node, name).ok_or(Errno::NOTDIR)?;
                    place.with(name, made)
                }
                resolved => resolved?,
            };
        }
        if place.node.kind() == Kind::Directory {
            Ok(place)
        } else {
            Err(Errno::NOTDIR)
        }
    })?;
    task::current_process().change_paths(|paths| paths.directory = place);
    Ok(())
}

fn variable(environment: &[Vec<u8>], name: &[u8]) -> Option<Vec<u8>> {
    environment.iter().rev().find_map(|entry| {
        entry
            .strip_prefix(name)?
            .strip_prefix(b"=")
            .map(<[u8]>::to_vec)
    })
}

/// The program with a name: a path, or something in one of the directories of `search`.
fn find_program(name: &[u8], search: &[u8]) -> abi::errno::Result<(Rc<Place>, Vec<u8>)> {
    in_first_process(|walk, paths| {
        let resolve = |path: &[u8]| walk.resolve(&paths.directory, path, Follow::Yes);
        if name.contains(&b'/') {
            return Ok((resolve(name)?, name.to_vec()));
        }
        for directory in search.split(|&byte| byte == b':') {
            let path = [directory, b"/", name].concat();
            if let Ok(place) = resolve(&path) {
                return Ok((place, path));
            }
        }
        // As a last resort the name is a path from the root.
        let path = [b"/", name].concat();
        Ok((resolve(&path)?, path))
    })
}

/// Ends the machine after an error of the kernel itself.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let process = task::try_current().map(|thread| thread.process.id);
    print!("kraft: the kernel failed while process {process:?} ran: {info}\n");
    arch::power_off(125)
}

const _: () = assert!(PAGE == virtio_drivers::PAGE_SIZE);
