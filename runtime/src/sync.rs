//! Values that the whole kernel shares.

use core::ops::Deref;

/// A value in a `static`. The machine has one processor, and the kernel runs with interrupts
/// off, so that only one thread is inside it at a time; `Cell` and `RefCell` give the rest.
///
/// No borrow of a `RefCell` may be held where another thread can run: while waiting, and
/// while calling what may wait.
pub struct Global<T>(T);

// SAFETY: see above: accesses do not happen at the same time.
unsafe impl<T> Sync for Global<T> {}
// SAFETY: there is one processor, so nothing moves to another one.
unsafe impl<T> Send for Global<T> {}

impl<T> Global<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Global<T> {
        Global(value)
    }
}

impl<T> Deref for Global<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
