//! The delivery of signals, when a thread is about to return to user mode.

use alloc::rc::Rc;

use super::process::{ChildChange, Ending};
use super::{Process, Thread, exit, schedule};
use crate::abi::errno::Errno;
use crate::arch::{self, Registers};
use crate::signal::{Action, AlternateStack, Default, Frame, Info, Signal, UNBLOCKABLE};

/// `CLD_STOPPED` and `CLD_CONTINUED`.
const CHILD_STOPPED: i32 = 5;
const CHILD_CONTINUED: i32 = 6;

/// The system call from which a thread returns.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number.
    pub number: usize,
    /// Its first argument, which its result may have overwritten.
    pub first_argument: usize,
}

/// Whether a process does nothing about a signal.
pub fn is_ignored(process: &Process, signal: Signal) -> bool {
    signal.bit() & UNBLOCKABLE == 0 && process.handlers().get(signal).ignores(signal)
}

/// What a signal does when it is sent, whether it is delivered or not: `SIGCONT` lets a
/// stopped process continue and cancels stops, a stop cancels `SIGCONT`.
pub fn before_sending(process: &Process, signal: Signal) {
    let stops = Signal::STOP.bit() | Signal::TSTP.bit() | Signal::TTIN.bit() | Signal::TTOU.bit();
    if signal == Signal::CONT || signal == Signal::KILL {
        process.pending.remove(stops);
        if process.stopped.take().is_some() {
            if signal == Signal::CONT {
                report_change(process, ChildChange::Continued);
            }
            process.released.wake();
        }
    } else if signal.bit() & stops != 0 {
        process.pending.remove(Signal::CONT.bit());
    }
}

/// Notifies the parent that a child stopped or continued.
fn report_change(process: &Process, change: ChildChange) {
    process.unreported.set(Some(change));
    let Some(parent) = process.parent.borrow().upgrade() else {
        return;
    };
    let (code, status) = match change {
        ChildChange::Stopped(signal) => (CHILD_STOPPED, signal.number() as i32),
        ChildChange::Continued => (CHILD_CONTINUED, Signal::CONT.number() as i32),
    };
    if parent.handlers().get(Signal::CHLD).flags & Action::NO_CHILD_STOP == 0 {
        parent.send(Info::child(
            code,
            process.id,
            process.credentials.borrow().users[0],
            status,
        ));
    }
    parent.child_queue.wake();
}

fn stop(process: &Process, signal: Signal) {
    process.stopped.set(Some(signal));
    for thread in process.live_threads() {
        super::wait::Wake::wake(&*thread);
    }
    report_change(process, ChildChange::Stopped(signal));
}

/// Does what has to be done before user mode continues: ends threads, stops, runs handlers,
/// starts interrupted calls again.
pub fn before_user_mode(registers: &mut Registers, call: Option<Call>) {
    let thread = schedule::current();
    let mut call = call.filter(|_| {
        let result = registers.result() as isize;
        result == -(Errno::RESTART.0 as isize)
            || result == -(Errno::RESTART_WITHOUT_HANDLER.0 as isize)
    });
    loop {
        if thread.process.is_ending() || thread.must_end.get() {
            drop(thread);
            exit::end_thread();
        }
        if thread.process.is_stopped() {
            let waiter: Rc<dyn super::Wake> = thread.clone();
            thread.process.released.add(waiter.clone());
            schedule::block();
            thread.process.released.remove(&waiter);
            continue;
        }
        let wanted = !(thread.mask.get() & !UNBLOCKABLE);
        let info = thread
            .pending
            .take(wanted)
            .or_else(|| thread.process.pending.take(wanted));
        let Some(info) = info else { break };
        let signal = info.signal();
        let handlers = thread.process.handlers();
        let action = handlers.get(signal);
        if !action.is_caught() {
            if !action.ignores(signal) {
                act_by_default(&thread, &info, registers);
            }
            continue;
        }
        if let Some(call) = call.take() {
            let restarts = registers.result() as isize == -(Errno::RESTART.0 as isize)
                && action.flags & Action::RESTART != 0;
            if restarts {
                registers.repeat_call(call.number, call.first_argument);
            } else {
                registers.set_result(-(Errno::INTR.0 as isize) as usize);
            }
        }
        if action.flags & Action::RESET != 0 {
            handlers.set(signal, Action::default());
        }
        run_handler(&thread, registers, action, info);
    }
    if let Some(call) = call {
        registers.repeat_call(call.number, call.first_argument);
    }
    if let Some(mask) = thread.restore_mask.take() {
        thread.mask.set(mask);
        if thread.deliverable() != 0 {
            drop(thread);
            before_user_mode(registers, None);
        }
    }
}

fn run_handler(thread: &Rc<Thread>, registers: &mut Registers, action: Action, info: Info) {
    let signal = info.signal();
    let alternate = thread.alternate.get();
    let stack = (action.flags & Action::ON_STACK != 0
        && alternate.flags & AlternateStack::DISABLED == 0
        && !alternate.contains(registers.stack()))
    .then(|| alternate.start.wrapping_add(alternate.size));
    let mut shown = alternate;
    if alternate.contains(registers.stack()) {
        shown.flags |= AlternateStack::ACTIVE;
    }
    let frame = Frame {
        handler: action.handler,
        restorer: (action.flags & Action::RESTORER != 0).then_some(action.restorer),
        mask: thread.restore_mask.take().unwrap_or(thread.mask.get()),
        stack,
        info,
        alternate: shown,
    };
    let pushed = arch::push_signal_frame(registers, &mut thread.fpu.borrow_mut(), &frame);
    if pushed.is_err() {
        // No stack for the handler: the process ends, whatever it wanted.
        crate::print!(
            "kraft: {}: no stack for the handler of {}\n",
            thread.process.describe(),
            signal.name()
        );
        exit::end_process(&thread.process, Ending::Killed(Signal::SEGV));
        return;
    }
    let own = if action.flags & Action::NO_DEFER == 0 {
        signal.bit()
    } else {
        0
    };
    thread
        .mask
        .set((thread.mask.get() | action.mask | own) & !UNBLOCKABLE);
}

fn act_by_default(thread: &Rc<Thread>, info: &Info, registers: &Registers) {
    let signal = info.signal();
    match signal.default_action() {
        Default::Ignore | Default::Continue => {}
        Default::Stop => stop(&thread.process, signal),
        Default::Terminate => exit::end_process(&thread.process, Ending::Killed(signal)),
        Default::Report => {
            crate::report::crash(thread, info, registers);
            exit::end_process(&thread.process, Ending::Killed(signal));
        }
    }
}

/// Restores what a handler interrupted (`rt_sigreturn`).
pub fn return_from_handler(registers: &mut Registers) {
    let thread = schedule::current();
    let popped = arch::pop_signal_frame(registers, &mut thread.fpu.borrow_mut());
    match popped {
        Ok((mask, mut alternate)) => {
            thread.mask.set(mask & !UNBLOCKABLE);
            alternate.flags &= !AlternateStack::ACTIVE;
            thread.alternate.set(alternate);
        }
        Err(_) => thread.process.send(Info::kernel(Signal::SEGV)),
    }
}

/// Sends the signal of an exception to the thread that caused it; a thread that blocks or ignores it
/// ends, because it cannot continue.
pub fn send_fault(info: Info) {
    let thread = schedule::current();
    let signal = info.signal();
    let handlers = thread.process.handlers();
    if thread.mask.get() & signal.bit() != 0 || handlers.get(signal).handler == Action::IGNORE {
        thread.mask.set(thread.mask.get() & !signal.bit());
        handlers.set(signal, Action::default());
    }
    thread.pending.add(info);
}
