//! The end of threads and processes, and waiting for it.

use alloc::rc::Rc;

use super::process::{ChildChange, Ending};
use super::{Process, Thread, find_process, futex, schedule, wait};
use crate::abi::errno::{Errno, Result};
use crate::mm::{Space, user};
use crate::signal::{Action, Info, Signal};

/// `CLD_EXITED`, `CLD_KILLED`.
const CHILD_EXITED: i32 = 1;
const CHILD_KILLED: i32 = 2;

/// Decides how a process ends; its threads end when they next return to user mode.
pub fn end_process(process: &Rc<Process>, ending: Ending) {
    if process.ending.get().is_none() {
        process.ending.set(Some(ending));
    }
    process.stopped.set(None);
    for thread in process.live_threads() {
        super::Wake::wake(&*thread);
    }
}

/// Ends the thread that runs.
pub fn end_thread() -> ! {
    release(&schedule::current());
    schedule::leave()
}

/// Lets go of everything that a thread has; it must not run again.
pub fn release(thread: &Rc<Thread>) {
    let process = thread.process.clone();
    release_memory(thread);
    process
        .run_time
        .set(process.run_time.get() + thread.run_time.get());
    thread.bury();
    if process.live_threads().is_empty() {
        finish(&process);
    } else {
        process.released.wake();
    }
}

/// Lets go of what a thread has in the memory of its program: its locks, and its number, for
/// which someone may wait.
pub fn release_memory(thread: &Rc<Thread>) {
    futex::release_robust_list(thread);
    thread.robust_list.set(0);
    let clear = thread.clear_at_exit.take();
    if clear != 0 && user::write(clear, &0_u32).is_ok() {
        futex::wake_address(clear, 1);
    }
}

/// The last thread has ended: everything but the status goes.
fn finish(process: &Rc<Process>) {
    let ending = process.ending.get().unwrap_or(Ending::Exited(0));
    process.ending.set(Some(ending));
    let files = process.file_table();
    *process.files.borrow_mut() = Rc::default();
    if Rc::strong_count(&files) == 1 {
        files.close_all();
    }
    drop(files);
    if process.id == 1 {
        crate::report::end_of_machine(process, ending);
    }
    Space::deactivate();
    let space = process.set_space(None);
    drop(space);
    crate::file::locks::process_ended(process.id);
    crate::sysv::process_ended(process.id);
    process.timers.clear();
    process.posix_timers.clear();
    release_vfork_parent(process);
    *process.program.borrow_mut() = None;
    let reaper = adopter(process);
    for child in core::mem::take(&mut *process.children.borrow_mut()) {
        if let Some(signal) = Signal::from_number(child.parent_death_signal.get() as usize) {
            child.send(Info::kernel(signal));
        }
        if let Some(reaper) = &reaper {
            *child.parent.borrow_mut() = Rc::downgrade(reaper);
            child.exit_signal.set(Signal::CHLD.number() as i32);
            reaper.children.borrow_mut().push(child.clone());
            if child.is_zombie.get() {
                reaper.child_queue.wake();
                reaper.send(Info::kernel(Signal::CHLD));
            }
        }
    }
    if process.session.get() == process.id
        && let Some(terminal) = process.terminal.take()
    {
        terminal.session_ended();
    }
    process.is_zombie.set(true);
    process.signal_queue.wake();
    let Some(parent) = process.parent.borrow().upgrade() else {
        process.forget();
        return;
    };
    let action = parent.handlers().get(Signal::CHLD);
    let signal = Signal::from_number(process.exit_signal.get() as usize);
    if signal == Some(Signal::CHLD)
        && (action.handler == Action::IGNORE || action.flags & Action::NO_CHILD_WAIT != 0)
    {
        reap(&parent, process);
    } else if let Some(signal) = signal {
        let (code, status) = match ending {
            Ending::Exited(status) => (CHILD_EXITED, i32::from(status)),
            Ending::Killed(signal) => (CHILD_KILLED, signal.number() as i32),
        };
        let user = process.credentials.borrow().users[0];
        let mut info = Info::child(code, process.id, user, status);
        if signal != Signal::CHLD {
            info = Info::sent(signal, code, process.id, user);
        }
        parent.send(info);
    }
    parent.child_queue.wake();
}

/// Who becomes the parent of a process's children: the nearest ancestor that wants it, else
/// the first process.
fn adopter(process: &Process) -> Option<Rc<Process>> {
    let mut ancestor = process.parent.borrow().upgrade();
    while let Some(candidate) = ancestor {
        if candidate.is_reaper.get() && !candidate.is_zombie.get() {
            return Some(candidate);
        }
        ancestor = candidate.parent.borrow().upgrade();
    }
    find_process(1).filter(|first| first.id != process.id)
}

/// Lets the parent of a `vfork` child continue.
pub fn release_vfork_parent(process: &Process) {
    if process.borrows_space.replace(false) {
        process.released.wake();
    }
}

/// Takes a child's status out: the process is gone.
fn reap(parent: &Rc<Process>, child: &Rc<Process>) {
    parent
        .children
        .borrow_mut()
        .retain(|other| !Rc::ptr_eq(other, child));
    let ran = child.total_run_time() + child.child_run_time.get();
    parent.child_run_time.set(parent.child_run_time.get() + ran);
    child.forget();
}

/// Which children are waited for.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// Any.
    Any,
    /// One process.
    Process(i32),
    /// The processes of a group.
    Group(i32),
}

/// What to wait for and how.
#[derive(Clone, Copy)]
pub struct WaitOptions {
    /// Return at once (`WNOHANG`).
    pub no_wait: bool,
    /// Report ended children.
    pub ended: bool,
    /// Report stopped children.
    pub stopped: bool,
    /// Report children that continued.
    pub continued: bool,
    /// Leave the child as it is (`WNOWAIT`).
    pub keep: bool,
}

/// What became of a child.
#[derive(Clone, Copy)]
pub struct Report {
    /// The child.
    pub id: i32,
    /// Its real user.
    pub user: u32,
    /// `CLD_*`
    pub code: i32,
    /// The exit status or the signal.
    pub status: i32,
    /// The status as `wait` gives it.
    pub wait_status: i32,
    /// Nanoseconds that it ran.
    pub run_time: u64,
}

/// Waits for a child; `None` with `no_wait` if nothing happened.
///
/// # Errors
/// `ECHILD` without such children, [`Errno::RESTART`] when a signal came first.
pub fn wait_for_child(wanted: Wanted, options: WaitOptions) -> Result<Option<Report>> {
    let process = schedule::current_process();
    let attempt = || find_change(&process, wanted, options).transpose();
    if options.no_wait {
        return attempt().transpose();
    }
    wait(&[&process.child_queue], None, attempt)?.transpose()
}

fn find_change(
    process: &Rc<Process>,
    wanted: Wanted,
    options: WaitOptions,
) -> Result<Option<Report>> {
    let children = process.children.borrow().clone();
    let mut any = false;
    for child in children {
        let matches = match wanted {
            Wanted::Any => true,
            Wanted::Process(id) => child.id == id,
            Wanted::Group(group) => child.group.get() == group,
        };
        if !matches {
            continue;
        }
        any = true;
        let report = |code, status, wait_status| Report {
            id: child.id,
            user: child.credentials.borrow().users[0],
            code,
            status,
            wait_status,
            run_time: child.total_run_time(),
        };
        if options.ended && child.is_zombie.get() {
            let ending = child.ending.get().unwrap_or(Ending::Exited(0));
            if !options.keep {
                reap(process, &child);
            }
            return Ok(Some(match ending {
                Ending::Exited(status) => report(CHILD_EXITED, status.into(), ending.wait_status()),
                Ending::Killed(signal) => {
                    report(CHILD_KILLED, signal.number() as i32, ending.wait_status())
                }
            }));
        }
        let change = match child.unreported.get() {
            Some(ChildChange::Stopped(signal)) if options.stopped => {
                let number = signal.number() as i32;
                report(5, number, number << 8 | 0x7f)
            }
            Some(ChildChange::Continued) if options.continued => {
                report(6, Signal::CONT.number() as i32, 0xffff)
            }
            _ => continue,
        };
        if !options.keep {
            child.unreported.set(None);
        }
        return Ok(Some(change));
    }
    if any { Ok(None) } else { Err(Errno::CHILD) }
}
