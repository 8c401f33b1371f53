//! Which thread runs: each in turn, for a slice of time.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::thread::State;
use super::{Process, Thread};
use crate::arch;
use crate::mm::Space;
use crate::sync::Global;
use crate::time;

/// Nanoseconds that a thread runs while others could.
const SLICE: u64 = 10_000_000;

struct Scheduler {
    current: RefCell<Option<Rc<Thread>>>,
    ready: RefCell<VecDeque<Rc<Thread>>>,
    /// When the timer interrupts.
    timer: Cell<u64>,
    /// When the slice of the current thread ends.
    slice_end: Cell<u64>,
    /// Threads that ended: their stack may be in use until the next switch is over.
    dead: RefCell<Vec<Rc<Thread>>>,
    /// Where the first switch leaves the boot code's stack.
    boot_stack: Cell<usize>,
}

static SCHEDULER: Global<Scheduler> = Global::new(Scheduler {
    current: RefCell::new(None),
    ready: RefCell::new(VecDeque::new()),
    timer: Cell::new(u64::MAX),
    slice_end: Cell::new(0),
    dead: RefCell::new(Vec::new()),
    boot_stack: Cell::new(0),
});

/// The thread that runs.
pub fn current() -> Rc<Thread> {
    match &*SCHEDULER.current.borrow() {
        Some(thread) => thread.clone(),
        None => panic!("no thread runs yet"),
    }
}

/// The process of the thread that runs.
pub fn current_process() -> Rc<Process> {
    current().process.clone()
}

/// The thread that runs, if the first one has begun.
pub fn try_current() -> Option<Rc<Thread>> {
    SCHEDULER
        .current
        .try_borrow()
        .ok()
        .and_then(|current| current.clone())
}

/// Lets a thread run when its turn comes.
pub fn add(thread: Rc<Thread>) {
    let first = {
        let mut ready = SCHEDULER.ready.borrow_mut();
        ready.push_back(thread);
        ready.len() == 1
    };
    if first {
        arm(arch::monotonic() + SLICE);
    }
}

/// Makes sure that the timer interrupts at `deadline` or before.
pub fn arm(deadline: u64) {
    if deadline < SCHEDULER.timer.get() {
        SCHEDULER.timer.set(deadline);
        arch::set_timer(Some(deadline.saturating_sub(arch::monotonic()).max(1)));
    }
}

pub(super) fn keep_until_switched(thread: Option<Rc<Thread>>) {
    SCHEDULER.dead.borrow_mut().extend(thread);
}

/// The timer has interrupted while nothing ran.
pub fn timer_rang() {
    SCHEDULER.timer.set(u64::MAX);
}

/// The timer interrupted: rings alarms. Whether another thread should run now.
pub fn tick(timer: bool) -> bool {
    if timer {
        SCHEDULER.timer.set(u64::MAX);
    }
    if let Some(next) = time::ring_alarms() {
        arm(next);
    }
    let others = !SCHEDULER.ready.borrow().is_empty();
    if others && timer {
        arm(arch::monotonic() + SLICE);
    }
    others && arch::monotonic() >= SCHEDULER.slice_end.get()
}

/// Lets the other threads run first.
pub fn yield_now() {
    let thread = current();
    SCHEDULER.ready.borrow_mut().push_back(thread);
    switch();
}

/// Gives devices, alarms and the other threads their turn in the middle of long work, if the slice
/// of this thread is over.
pub fn pause() {
    if arch::monotonic() < SCHEDULER.slice_end.get() {
        return;
    }
    crate::trap::serve_devices();
    if let Some(next) = time::ring_alarms() {
        arm(next);
    }
    yield_now();
}

/// Lets the others run until someone wakes this thread.
pub fn block() {
    let thread = current();
    thread.state.set(State::Waiting);
    switch();
}

/// Leaves the current thread, which is dead, for good.
pub fn leave() -> ! {
    switch();
    panic!("a dead thread runs");
}

/// Continues with the next thread that is ready; waits for interrupts while there is none.
fn switch() {
    let previous = current();
    // What passes until a thread is ready is not its time.
    let left = arch::monotonic();
    let ran = left.saturating_sub(previous.run_since.get());
    previous.run_time.set(previous.run_time.get() + ran);
    previous.run_since.set(left);
    let next = loop {
        if let Some(next) = SCHEDULER.ready.borrow_mut().pop_front() {
            break next;
        }
        if let Some(next) = time::ring_alarms() {
            arm(next);
        }
        if !SCHEDULER.ready.borrow().is_empty() {
            continue;
        }
        crate::trap::idle();
    };
    let now = arch::monotonic();
    SCHEDULER.slice_end.set(now + SLICE);
    if !SCHEDULER.ready.borrow().is_empty() {
        arm(now + SLICE);
    }
    if Rc::ptr_eq(&previous, &next) {
        previous.run_since.set(now);
        return;
    }
    previous.check_stack();
    if previous.state.get() != State::Dead {
        previous.fpu.borrow_mut().save();
        previous.tls.set(arch::user_tls());
    }
    let from = previous.saved_stack.as_ptr();
    let to = prepare(next);
    drop(previous);
    // SAFETY: `from` is in a thread that is alive or kept until the next switch; `to` is
    // where its thread stopped or begins.
    unsafe { arch::switch_stacks(from, to) };
    let dead = core::mem::take(&mut *SCHEDULER.dead.borrow_mut());
    let me = current();
    let (mine, others): (Vec<_>, Vec<_>) =
        dead.into_iter().partition(|thread| Rc::ptr_eq(thread, &me));
    SCHEDULER.dead.borrow_mut().extend(mine);
    drop(others);
}

/// Loads what user mode of `thread` needs; returns its stack.
fn prepare(thread: Rc<Thread>) -> usize {
    thread.fpu.borrow().load();
    arch::set_user_tls(thread.tls.get());
    arch::set_kernel_stack(thread.stack_top());
    match thread.process.space() {
        Some(space) => space.activate(),
        None => Space::deactivate(),
    }
    thread.run_since.set(arch::monotonic());
    let stack = thread.saved_stack.get();
    let previous = SCHEDULER.current.replace(Some(thread));
    drop(previous);
    stack
}

/// Makes the first thread the current one; it runs with [`start_first`].
pub fn set_first(thread: Rc<Thread>) {
    thread.state.set(State::Ready);
    SCHEDULER.current.replace(Some(thread));
}

/// Forgets all threads but one, which is the current one from now on.
#[cfg(test)]
pub fn run_only(thread: Rc<Thread>) {
    set_first(thread);
    let ready = SCHEDULER.ready.take();
    let dead = SCHEDULER.dead.take();
    drop((ready, dead));
}

/// Runs the first thread with `registers`; the boot code's stack is not used again.
pub fn start_first(thread: Rc<Thread>, registers: &arch::Registers) -> ! {
    thread.begin_with(registers);
    let to = prepare(thread);
    // SAFETY: the thread was prepared, and the boot code's stack stays.
    unsafe { arch::switch_stacks(SCHEDULER.boot_stack.as_ptr(), to) };
    panic!("the boot code runs again");
}
