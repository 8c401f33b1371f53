//! New threads and processes (`clone`, `fork`, `vfork`).

use alloc::rc::Rc;
use core::cell::RefCell;

use super::process::next_id;
use super::{Limit, Process, Thread, schedule};
use crate::abi::errno::{Errno, Result};
use crate::file::pidfd::ProcessFile;
use crate::file::{Description, FileTable, Flags};
use crate::mm::user;

/// What is shared and where the new thread begins (`struct clone_args`).
#[derive(Clone, Copy, Default)]
pub struct CloneRequest {
    /// `CLONE_*` without the signal.
    pub flags: u64,
    /// The signal for the parent at the child's end.
    pub exit_signal: i32,
    /// The stack pointer; 0 to keep the caller's.
    pub stack: usize,
    /// Where the parent finds the child's number.
    pub parent_tid: usize,
    /// Where the child finds its number, or where zero is written at its end.
    pub child_tid: usize,
    /// The thread pointer.
    pub tls: usize,
    /// Where the parent finds a descriptor of the child (`CLONE_PIDFD`).
    pub pidfd: usize,
}

const SHARE_MEMORY: u64 = 0x100;
const SHARE_PATHS: u64 = 0x200;
const SHARE_FILES: u64 = 0x400;
const SHARE_HANDLERS: u64 = 0x800;
const PIDFD: u64 = 0x1000;
const VFORK: u64 = 0x4000;
const SAME_PARENT: u64 = 0x8000;
const THREAD: u64 = 0x1_0000;
const SET_TLS: u64 = 0x8_0000;
const PARENT_SET_TID: u64 = 0x10_0000;
const CHILD_CLEAR_TID: u64 = 0x20_0000;
const CHILD_SET_TID: u64 = 0x100_0000;
const CLEAR_HANDLERS: u64 = 0x1_0000_0000;
/// Namespaces: there are none to be had.
const NAMESPACES: u64 = 0x7e02_0000;

/// Makes a thread or a process like the caller's; its number.
///
/// # Errors
/// `EINVAL` for flags that do not go together, `EPERM` for namespaces, `EAGAIN`, `ENOMEM`.
pub fn clone(request: CloneRequest) -> Result {
    let thread = schedule::current();
    let parent = thread.process.clone();
    let flags = request.flags;
    if flags & NAMESPACES != 0 {
        return Err(Errno::PERM);
    }
    let needs = |flag: u64, other: u64| flags & flag != 0 && flags & other == 0;
    if needs(THREAD, SHARE_HANDLERS)
        || needs(SHARE_HANDLERS, SHARE_MEMORY)
        || flags & (PIDFD | THREAD) == PIDFD | THREAD
    {
        return Err(Errno::INVAL);
    }
    let mut registers = thread.registers();
    registers.set_result(0);
    if request.stack != 0 {
        registers.set_stack(request.stack);
    }
    thread.fpu.borrow_mut().save();
    let fpu = thread.fpu.borrow().clone();
    let tls = if flags & SET_TLS != 0 {
        request.tls
    } else {
        thread.tls()
    };
    let (process, id) = if flags & THREAD != 0 {
        (parent.clone(), next_id())
    } else {
        let process = new_process(&parent, request)?;
        let id = process.id;
        (process, id)
    };
    let new = Thread::new(id, process.clone(), &registers, fpu, tls);
    let described = new.and_then(|new| {
        let described = if flags & PIDFD != 0 {
            describe_process(&parent, &process, request.pidfd)
        } else {
            Ok(())
        };
        if described.is_err() {
            new.bury();
        }
        described.map(|()| new)
    });
    let new = match described {
        Ok(new) => new,
        Err(error) => {
            if flags & THREAD == 0 {
                // With CLONE_PARENT it is a child of the caller's parent.
                if let Some(parent) = process.parent.borrow().upgrade() {
                    parent.children.borrow_mut().retain(|child| child.id != id);
                }
                process.forget();
            }
            return Err(error);
        }
    };
    new.mask
        .set(thread.restore_mask.get().unwrap_or(thread.mask.get()));
    *new.name.borrow_mut() = thread.name.borrow().clone();
    if flags & SHARE_MEMORY == 0 || flags & VFORK != 0 {
        new.alternate.set(thread.alternate.get());
    }
    if flags & CHILD_CLEAR_TID != 0 {
        new.clear_at_exit.set(request.child_tid);
    }
    if flags & CHILD_SET_TID != 0
        && let Some(space) = process.space()
    {
        // The child would find out that it cannot be written.
        let _ = space.write(request.child_tid, &id.to_le_bytes());
    }
    if flags & PARENT_SET_TID != 0 {
        // As on Linux, the child begins even if no one learns its number.
        let _ = user::write(request.parent_tid, &id);
    }
    process.borrows_space.set(flags & VFORK != 0);
    new.start();
    drop(new);
    if flags & VFORK != 0 {
        // Signals wait until the child has memory of its own, as on Linux; only the end does not.
        while process.borrows_space.get() && !thread.has_to_end() {
            let waiter: Rc<dyn super::Wake> = thread.clone();
            process.released.add(waiter.clone());
            schedule::block();
            process.released.remove(&waiter);
        }
    }
    Ok(id as usize)
}

/// Gives the parent a descriptor of a child, which it finds at an address.
fn describe_process(parent: &Rc<Process>, child: &Rc<Process>, address: usize) -> Result<()> {
    let file = ProcessFile::new(child.clone());
    let description = Description::new(file, true, true, Flags::empty());
    let files = parent.file_table();
    let descriptor = files.add(description, true, 0, parent.limit(Limit::FILES))? as i32;
    user::write(address, &descriptor).inspect_err(|_| drop(files.take(descriptor)))
}

fn new_process(caller: &Rc<Process>, request: CloneRequest) -> Result<Rc<Process>> {
    let flags = request.flags;
    let space = caller.space().ok_or(Errno::SRCH)?;
    let space = if flags & SHARE_MEMORY != 0 {
        space
    } else {
        space.fork()?
    };
    let files = caller.file_table();
    let files = if flags & SHARE_FILES != 0 {
        files
    } else {
        Rc::new(FileTable::copy(&files)?)
    };
    let paths = caller.paths.borrow().clone();
    let paths = if flags & SHARE_PATHS != 0 {
        paths
    } else {
        Rc::new(RefCell::new(caller.paths()))
    };
    let handlers = caller.handlers();
    let handlers = if flags & SHARE_HANDLERS != 0 {
        handlers
    } else {
        Rc::new(handlers.copy())
    };
    if flags & CLEAR_HANDLERS != 0 {
        handlers.reset_caught();
    }
    let parent = if flags & SAME_PARENT != 0 {
        caller.parent.borrow().upgrade()
    } else {
        None
    };
    // A parent that did not ask for the child gets the signal that it asked for the caller's end.
    let signal = match parent {
        Some(_) => caller.exit_signal.get(),
        None => request.exit_signal,
    };
    let parent = parent.unwrap_or_else(|| caller.clone());
    Ok(caller.child(&parent, space, files, paths, handlers, signal))
}
