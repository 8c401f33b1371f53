//! Flushes a growing file to disk in the background, so that the final fsync is short.
//!
//! ```
//! use std::io::Write;
//!
//! use kraft_sys::flush::Flusher;
//!
//! let mut file = tempfile::tempfile()?;
//! let mut flusher = Flusher::new(file.try_clone()?);
//! let mut total = 0;
//! for _ in 0..4 {
//!     file.write_all(&[0; 4096])?;
//!     total += 4096;
//!     flusher.grown(total);
//! }
//! flusher.finish()?;
//! assert_eq!(file.metadata()?.len(), 16384);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Number of new bytes after which the file is flushed.
const STRIDE: u64 = 32 << 20;

/// A thread that flushes a growing file to disk.
#[derive(Debug)]
pub struct Flusher {
    ticks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
    seen: u64,
}

impl Flusher {
    /// Starts flushing a file. The system reports a write error only once per open file, so call
    /// [`finish`](Self::finish): a later `fsync` of the same open file may not report it again.
    pub fn new(file: File) -> Self {
        let (ticks, requests) = sync_channel::<()>(1);
        let thread = std::thread::spawn(move || {
            for () in requests {
                file.sync_data()?;
            }
            Ok(())
        });
        Self {
            ticks,
            thread,
            seen: 0,
        }
    }

    /// Reports the total number of bytes written.
    pub fn grown(&mut self, to: u64) {
        if to.saturating_sub(self.seen) < STRIDE {
            return;
        }
        match self.ticks.try_send(()) {
            Ok(()) => self.seen = to,
            // A flush is running, or has failed, which is reported at the end.
            Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Waits for the running flush, and returns its error.
    ///
    /// # Errors
    /// The system's error while flushing.
    pub fn finish(self) -> io::Result<()> {
        drop(self.ticks);
        self.thread.join().unwrap_or_else(|_| {
            Err(io::Error::other(
                "the thread that puts a file on disk ended",
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_are_complete_with_and_without_flushes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut flusher = Flusher::new(file.try_clone().unwrap());
        for round in 1..=3 {
            file.write_all(&vec![7; 1 << 20]).unwrap();
            flusher.grown(round * STRIDE);
        }
        flusher.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 << 20);
    }
}
