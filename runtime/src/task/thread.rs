//! Threads.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::Process;
use super::schedule;
use super::wait::Wake;
use crate::abi::errno::{Errno, Result};
use crate::arch::{self, FpuState, PAGE, Registers};
use crate::signal::{AlternateStack, Info, Pending, Signal, UNBLOCKABLE};
use crate::sync::Global;

/// Pages of a kernel stack.
const STACK_PAGES: usize = 8;
/// The most threads of a machine.
const MOST: usize = 16_384;

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs or could run.
    Ready,
    /// It waits for something.
    Waiting,
    /// It has ended.
    Dead,
}

/// A thread of a process.
pub struct Thread {
    id: Cell<i32>,
    /// Its process.
    pub process: Rc<Process>,
    stack: Vec<[u8; PAGE]>,
    /// Where the kernel stack stands while another thread runs.
    pub(super) saved_stack: Cell<usize>,
    /// The floating point registers while another thread runs.
    pub fpu: RefCell<FpuState>,
    /// The thread pointer while another thread runs.
    pub(super) tls: Cell<usize>,
    pub(super) state: Cell<State>,
    /// Blocked signals.
    pub mask: Cell<u64>,
    /// The mask that comes back after the call that replaced it for its duration.
    pub restore_mask: Cell<Option<u64>>,
    /// Signals for this thread alone.
    pub pending: Pending,
    /// The stack for handlers.
    pub alternate: Cell<AlternateStack>,
    /// Where zero is written when the thread ends (`set_tid_address`).
    pub clear_at_exit: Cell<usize>,
    /// The list of locks to be released when the thread ends (`set_robust_list`).
    pub robust_list: Cell<usize>,
    /// The name, at most 15 bytes.
    pub name: RefCell<Vec<u8>>,
    /// Nanoseconds that it ran.
    pub run_time: Cell<u64>,
    pub(super) run_since: Cell<u64>,
    /// Whether the thread is to end because another one replaces the program.
    pub(super) must_end: Cell<bool>,
}

static THREADS: Global<RefCell<BTreeMap<i32, Rc<Thread>>>> =
    Global::new(RefCell::new(BTreeMap::new()));

/// The thread with a number.
pub fn find_thread(id: i32) -> Option<Rc<Thread>> {
    THREADS.borrow().get(&id).cloned()
}

/// All threads of the machine.
pub fn all_threads() -> Vec<Rc<Thread>> {
    THREADS.borrow().values().cloned().collect()
}

impl Thread {
    /// A thread of `process` that begins in user mode with `registers`. It does not run
    /// before [`Thread::start`].
    ///
    /// # Errors
    /// `EAGAIN` for too many threads.
    pub fn new(
        id: i32,
        process: Rc<Process>,
        registers: &Registers,
        fpu: FpuState,
        tls: usize,
    ) -> Result<Rc<Thread>> {
        if THREADS.borrow().len() >= MOST {
            return Err(Errno::AGAIN);
        }
        if crate::mm::frames::free_bytes() < 64 * PAGE {
            return Err(Errno::NOMEM);
        }
        let mut stack = Vec::new();
        stack
            .try_reserve_exact(STACK_PAGES)
            .map_err(|_| Errno::NOMEM)?;
        stack.resize(STACK_PAGES, [0; PAGE]);
        let top = stack.as_ptr() as usize + STACK_PAGES * PAGE;
        // SAFETY: the stack is ours, and blocks of pages are aligned.
        let saved_stack = unsafe { arch::prepare_stack(top, registers) };
        let thread = Rc::new(Thread {
            id: Cell::new(id),
            process: process.clone(),
            stack,
            saved_stack: Cell::new(saved_stack),
            fpu: RefCell::new(fpu),
            tls: Cell::new(tls),
            state: Cell::new(State::Waiting),
            mask: Cell::new(0),
            restore_mask: Cell::new(None),
            pending: Pending::default(),
            alternate: Cell::new(AlternateStack::NONE),
            clear_at_exit: Cell::new(0),
            robust_list: Cell::new(0),
            name: RefCell::default(),
            run_time: Cell::new(0),
            run_since: Cell::new(0),
            must_end: Cell::new(false),
        });
        process.threads.borrow_mut().push(Rc::downgrade(&thread));
        THREADS.borrow_mut().insert(id, thread.clone());
        Ok(thread)
    }

    /// The number, unique in the machine; that of the process for its first thread.
    pub fn id(&self) -> i32 {
        self.id.get()
    }

    /// Takes over the number of the process: its program is replaced by this thread.
    pub(super) fn become_first(self: &Rc<Thread>) {
        THREADS.borrow_mut().remove(&self.id());
        self.id.set(self.process.id);
        THREADS.borrow_mut().insert(self.id(), self.clone());
    }

    /// Lays the kernel stack out so that the thread begins in user mode with `registers`.
    pub(super) fn begin_with(&self, registers: &Registers) {
        // SAFETY: the stack is ours and not in use: the thread has not run.
        self.saved_stack
            .set(unsafe { arch::prepare_stack(self.stack_top(), registers) });
    }

    /// Lets the thread run when its turn comes.
    pub fn start(self: &Rc<Thread>) {
        self.wake();
    }

    /// Takes the thread out of all lists: it never runs again.
    pub(super) fn bury(&self) {
        self.state.set(State::Dead);
        let id = self.id();
        self.process
            .threads
            .borrow_mut()
            .retain(|thread| thread.upgrade().is_some_and(|thread| thread.id() != id));
        let gone = THREADS.borrow_mut().remove(&id);
        schedule::keep_until_switched(gone);
    }

    /// Whether the thread waits for something.
    pub fn is_waiting(&self) -> bool {
        self.state.get() == State::Waiting
    }

    /// The end of the kernel stack.
    pub(super) fn stack_top(&self) -> usize {
        self.stack.as_ptr() as usize + STACK_PAGES * PAGE
    }

    /// Stops the machine if the kernel stack overflowed: what follows would be wrong.
    pub(super) fn check_stack(&self) {
        let lowest = self.stack.first().map_or(0, |page| page[0] | page[7]);
        assert!(
            lowest == 0,
            "the kernel's stack of thread {} overflowed",
            self.id()
        );
    }

    /// The registers of user mode while the thread is in the kernel.
    pub fn registers(&self) -> Registers {
        // SAFETY: entering the kernel puts them at the end of the stack.
        unsafe { ((self.stack_top() - size_of::<Registers>()) as *const Registers).read() }
    }

    /// The signals that could be delivered now.
    pub fn deliverable(&self) -> u64 {
        (self.pending.set() | self.process.pending.set()) & !(self.mask.get() & !UNBLOCKABLE)
    }

    /// Whether the thread ends before it returns to user mode.
    pub fn has_to_end(&self) -> bool {
        self.must_end.get()
            || self.process.is_ending()
            || self.deliverable() & Signal::KILL.bit() != 0
    }

    /// Whether a call that waits has to end: a signal came or the process ends.
    pub fn is_interrupted(&self) -> bool {
        self.deliverable() != 0
            || self.must_end.get()
            || self.process.is_ending()
            || self.process.is_stopped()
    }

    /// The thread pointer; the processor has it while the thread runs.
    pub fn tls(self: &Rc<Thread>) -> usize {
        if Rc::ptr_eq(self, &schedule::current()) {
            arch::user_tls()
        } else {
            self.tls.get()
        }
    }

    /// Nanoseconds that the thread runs since it was its turn.
    pub fn running_time(&self) -> u64 {
        arch::monotonic().saturating_sub(self.run_since.get())
    }

    /// Sends a signal to this thread.
    pub fn send(self: &Rc<Thread>, info: Info) {
        if super::signals::is_ignored(&self.process, info.signal())
            && self.mask.get() & info.signal().bit() == 0
        {
            return;
        }
        super::signals::before_sending(&self.process, info.signal());
        self.pending.add(info);
        if self.deliverable() != 0 {
            self.wake();
        }
        self.process.signal_queue.wake();
        crate::file::signalfd::signal_sent();
    }
}

impl Wake for Thread {
    fn wake(&self) {
        if self.state.get() == State::Waiting
            && let Some(thread) = find_thread(self.id())
        {
            self.state.set(State::Ready);
            schedule::add(thread);
        }
    }
}
