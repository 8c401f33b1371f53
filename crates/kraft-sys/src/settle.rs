//! A file that grows for long is put on disk while it does, so that little is left to wait for at
//! its end.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// So many new bytes are worth a trip to the disk.
const STRIDE: u64 = 32 << 20;

/// Puts a growing file on disk, by a thread of its own.
#[derive(Debug)]
pub struct Settler {
    ticks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
    seen: u64,
}

impl Settler {
    /// Begins to look after a file. Its errors are told once per opening, and so must be asked for
    /// ([`finish`](Self::finish)): a later `fsync` of the same opening may not tell them again.
    pub fn new(file: File) -> Self {
        let (ticks, wishes) = sync_channel::<()>(1);
        let thread = std::thread::spawn(move || {
            for () in wishes {
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

    /// Says how many bytes were written in all.
    pub fn grown(&mut self, to: u64) {
        if to.saturating_sub(self.seen) < STRIDE {
            return;
        }
        match self.ticks.try_send(()) {
            Ok(()) => self.seen = to,
            // It is at the disk still, or has met an error, which is told at the end.
            Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Waits for what is on its way, and tells what went wrong with it.
    ///
    /// # Errors
    /// What the system said when bytes could not be put on disk.
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
    fn a_file_is_whole_whether_it_was_settled_or_not() {
        let mut file = tempfile::tempfile().unwrap();
        let mut settler = Settler::new(file.try_clone().unwrap());
        for round in 1..=3 {
            file.write_all(&vec![7; 1 << 20]).unwrap();
            settler.grown(round * STRIDE);
        }
        settler.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 << 20);
    }
}
