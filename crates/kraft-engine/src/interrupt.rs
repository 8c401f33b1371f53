//! Cancellation: one token per process, which Ctrl-C, SIGTERM and SIGHUP cancel.
//!
//! Signals keep their usual effect, which is to end the process, until a flow that has something to
//! put in order calls [`Interrupt::listen`]. From then on the first signal cancels the token, and
//! the second one ends the process.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use kraft_sys::stream::Stop;
use tokio_util::sync::CancellationToken;

/// Work was cancelled by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The signals of the process; implemented by the command line.
pub trait Signals: Send + Sync {
    /// Registers handlers: the first signal cancels, the second one ends the process, unless
    /// [`Interrupt::repeat`] returns true.
    ///
    /// If handlers cannot be registered, signals keep their usual effect.
    fn register(&self, interrupt: &Interrupt);
}

/// Registers no handlers: for programs that cancel with [`Interrupt::cancel`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSignals;

impl Signals for NoSignals {
    fn register(&self, _interrupt: &Interrupt) {}
}

/// The cancellation token of a process; clones share it.
///
/// ```
/// use kraft_engine::interrupt::{Interrupt, Interrupted};
///
/// let interrupt = Interrupt::default();
/// assert_eq!(interrupt.check(), Ok(()));
/// interrupt.cancel();
/// assert_eq!(interrupt.check(), Err(Interrupted));
/// ```
#[derive(Clone)]
pub struct Interrupt(Arc<Inner>);

struct Inner {
    token: CancellationToken,
    signals: Box<dyn Signals>,
    registered: Once,
    /// A pipe whose other end is closed when the token is cancelled.
    cancelled: OnceLock<Option<PipeReader>>,
    open: Mutex<Option<PipeWriter>>,
    /// Whether the second signal is expected, and whether it came.
    expects_second: AtomicBool,
    repeated: AtomicBool,
}

impl Inner {
    /// Replaces the writing end of the pipe.
    fn hold(&self, writer: Option<PipeWriter>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = writer;
    }
}

impl Interrupt {
    /// Makes a token that is cancelled by these signals.
    pub fn new(signals: impl Signals + 'static) -> Self {
        Self(Arc::new(Inner {
            token: CancellationToken::new(),
            signals: Box::new(signals),
            registered: Once::new(),
            cancelled: OnceLock::new(),
            open: Mutex::new(None),
            expects_second: AtomicBool::new(false),
            repeated: AtomicBool::new(false),
        }))
    }

    /// Registers the signal handlers, once per process, and returns the token.
    #[must_use]
    pub fn listen(&self) -> Self {
        let inner = &*self.0;
        inner.registered.call_once(|| inner.signals.register(self));
        self.clone()
    }

    /// Cancels, as a signal does.
    pub fn cancel(&self) {
        self.0.token.cancel();
        self.0.hold(None);
    }

    /// Has the second signal not end the process: a flow that puts things in order after the first one
    /// looks at [`Interrupt::is_repeated`], and hurries. The third signal ends the process.
    pub fn expect_second(&self) {
        self.0.expects_second.store(true, Ordering::SeqCst);
    }

    /// Returns whether the second signal is expected.
    #[must_use]
    pub fn expects_second(&self) -> bool {
        self.0.expects_second.load(Ordering::SeqCst)
    }

    /// Notes the second signal; returns whether it was expected.
    pub fn repeat(&self) -> bool {
        self.expects_second() && !self.0.repeated.swap(true, Ordering::SeqCst)
    }

    /// Returns whether the user interrupted a second time.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.0.repeated.load(Ordering::SeqCst)
    }

    /// Returns when programs that are waited for are stopped: when the user interrupts.
    #[must_use]
    pub fn stop(&self) -> Stop<'_> {
        let cancelled = self.0.cancelled.get_or_init(|| {
            let (reader, writer) = io::pipe().ok()?;
            self.0.hold(Some(writer));
            Some(reader)
        });
        // It may have been cancelled before the pipe was made.
        if self.is_cancelled() {
            self.0.hold(None);
        }
        Stop {
            cancelled: cancelled.as_ref().map(AsFd::as_fd),
            deadline: None,
        }
    }

    /// Returns whether the user interrupted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Returns an error if the user interrupted.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_cancelled() {
            return Err(Interrupted);
        }
        Ok(())
    }

    /// Waits until the user interrupts.
    pub async fn cancelled(&self) {
        self.0.token.cancelled().await;
    }

    /// Waits for work until the user interrupts; then the work is dropped.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            () = self.cancelled() => Err(Interrupted),
            done = work => Ok(done),
        }
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new(NoSignals)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt")
            .field(&self.is_cancelled())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counter(Arc<AtomicUsize>);

    impl Signals for Counter {
        fn register(&self, _interrupt: &Interrupt) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn handlers_are_registered_once_and_not_before_a_flow_listens() {
        let count = Arc::new(AtomicUsize::new(0));
        let interrupt = Interrupt::new(Counter(Arc::clone(&count)));
        let other = interrupt.clone();
        assert_eq!(count.load(Ordering::SeqCst), 0);
        let _ = interrupt.listen();
        let _ = other.listen();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_second_signal_is_noted_once_if_it_is_expected() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.repeat() && !interrupt.is_repeated());
        interrupt.expect_second();
        assert!(interrupt.repeat() && interrupt.is_repeated());
        assert!(!interrupt.repeat(), "the third one ends the process");
    }

    #[test]
    fn programs_are_stopped_once_it_is_cancelled_before_or_after_they_are_started() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.stop().is_now());
        interrupt.clone().cancel();
        assert!(interrupt.stop().is_now());

        let interrupt = Interrupt::default();
        interrupt.cancel();
        assert!(interrupt.stop().is_now());
    }

    #[tokio::test]
    async fn cancelling_wakes_a_waiting_task_and_drops_the_work() {
        let interrupt = Interrupt::default();
        let waiting = interrupt.unless(std::future::pending::<()>());
        let cancelling = async { interrupt.cancel() };
        let (waited, ()) = tokio::join!(waiting, cancelling);
        assert_eq!(waited, Err(Interrupted));
    }

    #[tokio::test]
    async fn work_that_ends_first_returns_its_result() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.unless(async { 7 }).await, Ok(7));
    }
}
