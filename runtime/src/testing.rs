//! The kernel in a test: its memory, one process with one thread, and an address space.

use alloc::rc::Rc;
use std::alloc::{GlobalAlloc, Layout, System as HostAllocator};
use std::sync::MutexGuard;

use crate::arch::{self, PAGE};
use crate::file::{FileTable, Flags};
use crate::fs::mounts;
use crate::mm::{Area, Backing, Protection, Space};
use crate::signal::Handlers;
use crate::task::{self, Limit, Process, exit};

/// Where [`System::space`] has memory that can be read and written.
pub const MEMORY: usize = 0x10_0000;
/// How much it has.
pub const MEMORY_SIZE: usize = 64 * PAGE;
/// The largest piece of memory that the kernel may take at once: what programs ask for must
/// not decide it.
const LARGEST_PIECE: usize = 16 << 20;

/// The host's heap with a bound on each piece.
struct BoundedHeap;

#[global_allocator]
static HEAP: BoundedHeap = BoundedHeap;

// SAFETY: everything is passed on to the host's heap.
unsafe impl GlobalAlloc for BoundedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST_PIECE {
            std::eprintln!("the kernel wants {} bytes in one piece", layout.size());
            std::process::abort();
        }
        // SAFETY: the caller's.
        unsafe { HostAllocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { HostAllocator.dealloc(at, layout) }
    }
}

/// A running system. No other test runs while it lives.
pub struct System {
    /// The first process, in whose name everything happens.
    pub process: Rc<Process>,
    /// Its memory, which is new.
    pub space: Rc<Space>,
    _machine: MutexGuard<'static, ()>,
}

/// An area of zeros.
pub fn zeros(protection: Protection) -> Area {
    Area {
        end: 0,
        protection,
        shared: false,
        backing: Backing::Zeros,
    }
}

/// Takes the machine and boots it: a new tree, and the first process as it begins.
pub fn system() -> System {
    let machine = arch::machine();
    mounts::forget_all();
    let root = crate::make_root(None);
    let process = match task::find_process(1) {
        Some(process) => {
            end_others(&process);
            process
        }
        None => {
            crate::first_process(root.clone());
            task::current_process()
        }
    };
    *process.credentials.borrow_mut() = task::Credentials::default();
    *process.limits.borrow_mut() = Limit::defaults();
    *process.handlers.borrow_mut() = Rc::new(Handlers::default());
    process.pending.remove(u64::MAX);
    process.group.set(1);
    process.session.set(1);
    process.timers.clear();
    process.posix_timers.clear();
    crate::sysv::forget_all();
    crate::file::locks::process_ended(process.id);
    process.change_paths(|paths| {
        paths.directory = root.clone();
        paths.root = root;
        paths.mask = 0o22;
    });
    let files = FileTable::default();
    let console = crate::file::terminal::Slave::open(crate::file::terminal::console());
    let console = crate::file::Description::new(console, true, true, Flags::empty());
    for _ in 0..3 {
        let _ = files.add(console.clone(), false, 0, 3);
    }
    let old = process.files.replace(Rc::new(files));
    old.close_all();
    let space = Space::new().expect("the test has memory");
    let both = Protection::READ | Protection::WRITE;
    space
        .map_at(MEMORY, MEMORY_SIZE, zeros(both))
        .expect("the space is empty");
    space.activate();
    drop(process.set_space(Some(space.clone())));
    arch::shown();
    System {
        process,
        space,
        _machine: machine,
    }
}

/// Ends all threads but the first one of the first process.
fn end_others(process: &Rc<Process>) {
    let first = task::find_thread(1).expect("the first thread lives");
    for thread in task::all_threads() {
        if !Rc::ptr_eq(&thread, &first) {
            task::run_only(thread.clone());
            if let Some(space) = thread.process.space() {
                space.activate();
            }
            exit::release(&thread);
        }
    }
    task::run_only(first.clone());
    let options = exit::WaitOptions {
        no_wait: true,
        ended: true,
        stopped: false,
        continued: false,
        keep: false,
    };
    while let Ok(Some(_)) = exit::wait_for_child(exit::Wanted::Any, options) {}
    process.children.borrow_mut().clear();
    first.mask.set(0);
    first.restore_mask.set(None);
    first.pending.remove(u64::MAX);
    first.robust_list.set(0);
    first.clear_at_exit.set(0);
}
