//! Waiting: a thread names the queues that may change what it waits for, and looks again
//! whenever one of them wakes it.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;

use super::schedule;
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::time;

/// Someone who wants to know that something happened.
pub trait Wake: Any {
    /// Called when it happened; it must not wait.
    fn wake(&self);
}

/// Those who want to know about changes of one thing.
#[derive(Default)]
pub struct WaitQueue {
    waiters: RefCell<Vec<Rc<dyn Wake>>>,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> WaitQueue {
        WaitQueue {
            waiters: RefCell::new(Vec::new()),
        }
    }

    /// Notifies everyone who waits.
    pub fn wake(&self) {
        // A waiter may add or remove itself while it is notified.
        let waiters = self.waiters.borrow().clone();
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Adds someone.
    pub fn add(&self, waiter: Rc<dyn Wake>) {
        self.waiters.borrow_mut().push(waiter);
    }

    /// Removes someone who was added once.
    pub fn remove(&self, waiter: &Rc<dyn Wake>) {
        let mut waiters = self.waiters.borrow_mut();
        if let Some(index) = waiters.iter().position(|other| Rc::ptr_eq(other, waiter)) {
            let gone = waiters.swap_remove(index);
            drop(waiters);
            drop(gone);
        }
    }

    /// Those who wait.
    pub fn waiters(&self) -> Vec<Rc<dyn Wake>> {
        self.waiters.borrow().clone()
    }

    /// Whether no one waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.borrow().is_empty()
    }
}

/// Waits until `attempt` gives something; it is called again whenever one of the queues is
/// notified. `None` when the monotonic clock has reached `deadline` first.
///
/// # Errors
/// [`Errno::RESTART`] when a signal came first.
pub fn wait<T>(
    queues: &[&WaitQueue],
    deadline: Option<u64>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<Option<T>> {
    let thread = schedule::current();
    let waiter: Rc<dyn Wake> = thread.clone();
    loop {
        if let Some(value) = attempt() {
            return Ok(Some(value));
        }
        if deadline.is_some_and(|deadline| deadline <= arch::monotonic()) {
            return Ok(None);
        }
        if thread.is_interrupted() {
            return Err(Errno::RESTART);
        }
        for queue in queues {
            queue.add(waiter.clone());
        }
        let alarm = deadline.map(|deadline| time::set_alarm(deadline, waiter.clone()));
        schedule::block();
        if let Some(alarm) = alarm {
            time::cancel_alarm(alarm);
        }
        for queue in queues {
            queue.remove(&waiter);
        }
    }
}

/// Waits until the monotonic clock reaches `deadline`.
///
/// # Errors
/// [`Errno::RESTART`] when a signal came first.
pub fn sleep_until(deadline: u64) -> Result<()> {
    wait(&[], Some(deadline), || None::<()>).map(|_| ())
}
