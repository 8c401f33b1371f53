//! The kernel in a test: its memory, one process with one thread, and an address space.

use alloc::rc::Rc;
use std::sync::MutexGuard;

use crate::arch::{self, PAGE};
use crate::mm::{Area, Backing, Protection, Space};
use crate::task::{self, Process};

/// Where [`System::space`] has memory that can be read and written.
pub const MEMORY: usize = 0x10_0000;
/// How much it has.
pub const MEMORY_SIZE: usize = 64 * PAGE;

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

/// Takes the machine, and boots it if this is the first test.
pub fn system() -> System {
    let machine = arch::machine();
    let process = match task::find_process(1) {
        Some(process) => process,
        None => {
            crate::first_process(crate::make_root(None));
            task::current_process()
        }
    };
    if let Some(thread) = process.live_threads().first() {
        task::set_first(thread.clone());
    }
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
