//! Local work that an interrupt ends, although it does not listen to interrupts itself.

use std::io;
use std::panic;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cloud::Cloud;
use crate::error::Interrupted;

/// How long work may clean up after an interrupt before it is abandoned.
const GRACE: Duration = Duration::from_secs(2);
/// Stack of the thread, as large as that of a main thread usually is, in bytes.
const STACK: usize = 8 << 20;

/// Why work has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user interrupted the command.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The system cannot start a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Runs work in a thread of its own, until it is done or the user interrupts the command.
///
/// After an interrupt, work gets two seconds to end; then this function returns and leaves the
/// thread running. A program that ends then stops it wherever it is, as a `kill` would: files are
/// written whole or not at all.
///
/// # Errors
///
/// If the user interrupts the command, or no thread can be started.
pub(super) fn run<T: Send + 'static>(
    cloud: &Cloud,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if cloud.interrupt().is_none() {
        return Ok(work());
    }
    let (sender, mut receiver) = oneshot::channel();
    let thread = thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            // A receiver that is gone was interrupted.
            let _ = sender.send(work());
        })
        .map_err(Error::Thread)?;
    match cloud.wait_for(&mut receiver) {
        Ok(Ok(done)) => Ok(done),
        // The sender is gone: the work panicked.
        Ok(Err(_)) => match thread.join() {
            Err(payload) => panic::resume_unwind(payload),
            Ok(()) => Err(Interrupted.into()),
        },
        Err(interrupted) => {
            let ended = cloud.wait_after_interrupt(GRACE, receiver);
            tracing::debug!(abandoned = ended.is_none(), "interrupted local work");
            Err(interrupted.into())
        }
    }
}
