//! Waiting until a restart is due.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kraft_sys::process::wait_readable;

use crate::file_watch::FileWatch;
use crate::layout::MachineDir;
use crate::machines::{now, own_pending};

/// The interval of reading the record where changes cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Waits until the restart that this process is responsible for is due; `false` if there is none
/// (any more): the machine was stopped, started or removed meanwhile.
pub(super) fn wait(dir: &MachineDir) -> std::io::Result<bool> {
    let watch = FileWatch::empty().filter(|watch| watch.add_dir(dir.path()));
    loop {
        if let Some(watch) = &watch {
            watch.clear();
        }
        let Some(pending) = own_pending(dir) else {
            return Ok(false);
        };
        let left = Duration::try_from(pending.due.duration_since(now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(true);
        }
        // The clock may be set back: no wait is longer than the poll interval then.
        let deadline = Instant::now() + left.min(POLL_INTERVAL);
        let files: Vec<_> = watch.as_ref().map(AsFd::as_fd).into_iter().collect();
        wait_readable(&files, Some(deadline))?;
    }
}
