//! What a process uses: processors, memory and disks; and its threads.
//!
//! Source: `proc_pid_stat(5)` and `proc_pid_io(5)` of Linux, `libproc.h` of macOS, which has no list of threads.
//!
//! ```
//! use kraft_sys::process::Identity;
//! use kraft_sys::usage::{self, Usage};
//!
//! let me = Identity::me().expect("a process");
//! let usage = Usage::of(&me).expect("it runs");
//! assert!(usage.memory > 0 && usage.threads > 0);
//! assert!(cfg!(target_os = "macos") || !usage::threads(&me).is_empty());
//! ```

use std::time::Duration;

use crate::process::Identity;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as host;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as host;

/// What a process has used since it was started, and what it uses now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The time of processors that its threads took together.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Its threads.
    pub threads: u32,
    /// What it read from and wrote to disks; `None` if this user may not know.
    pub disk: Option<Disk>,
}

/// What went to and came from disks, without what the system kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// In bytes.
    pub read: u64,
    /// In bytes.
    pub written: u64,
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its state, as `ps` prints it: `R`, `S`, …
    pub state: char,
    /// The time of processors that it took.
    pub cpu: Duration,
}

impl Usage {
    /// Returns what a process uses; `None` if it has ended.
    pub fn of(process: &Identity) -> Option<Self> {
        host::usage(process)
    }
}

/// Returns the threads of a process; none if it has ended.
pub fn threads(process: &Identity) -> Vec<Thread> {
    let mut threads = host::threads(process.pid);
    threads.sort_unstable_by_key(|thread| thread.id);
    // The id may be that of another process by now.
    threads.retain(|_| process.is_alive());
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_used_grows() {
        let me = Identity::me().unwrap();
        let before = Usage::of(&me).unwrap();
        let mut sum = 0_u64;
        while Usage::of(&me).unwrap().cpu <= before.cpu {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        let other = Identity {
            started: me.started + 1,
            ..me
        };
        assert_eq!(Usage::of(&other), None);
        assert_eq!(threads(&other), []);
    }
}
