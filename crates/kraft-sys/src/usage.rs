//! What a process uses: processors, memory and disks; and its threads.
//!
//! Source: `proc_pid_stat(5)`, `proc_pid_io(5)`.
//!
//! ```
//! use kraft_sys::process::Identity;
//! use kraft_sys::usage::{self, Usage};
//!
//! let me = Identity::me().expect("a process");
//! let usage = Usage::of(&me).expect("it runs");
//! assert!(usage.memory > 0 && usage.threads > 0);
//! assert!(!usage::threads(&me).is_empty());
//! ```

use std::path::Path;
use std::time::Duration;

use crate::fs;
use crate::process::Identity;

/// The maximal size of a file about a process that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

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
        let dir = format!("/proc/{}", process.pid);
        let stat = Stat::parse(&read(&dir, "stat")?)?;
        if stat.started != process.started || process.is_from_another_boot() {
            return None;
        }
        Some(Self {
            cpu: time(stat.ticks),
            memory: stat
                .pages
                .saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096)),
            threads: stat.threads,
            disk: read(&dir, "io").and_then(|text| Disk::parse(&text)),
        })
    }
}

impl Disk {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            let value = lines.find_map(|(key, value)| (key == name).then_some(value))?;
            value.trim().parse().ok()
        };
        Some(Self {
            read: field("read_bytes")?,
            written: field("write_bytes")?,
        })
    }
}

/// Returns the threads of a process; none if it has ended.
pub fn threads(process: &Identity) -> Vec<Thread> {
    let tasks = format!("/proc/{}/task", process.pid);
    let entries = std::fs::read_dir(&tasks).into_iter().flatten().flatten();
    let mut threads: Vec<Thread> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let stat = Stat::parse(&read(&format!("{tasks}/{name}"), "stat")?)?;
            Some(Thread {
                id: name.parse().ok()?,
                name: stat.name,
                state: stat.state,
                cpu: time(stat.ticks),
            })
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.id);
    // The id may be that of another process by now.
    threads.retain(|_| process.is_alive());
    threads
}

fn read(dir: &str, name: &str) -> Option<Vec<u8>> {
    fs::read_file(&Path::new(dir).join(name), MAX_BYTES).ok()
}

/// Returns ticks of the system's clock as a time.
fn time(ticks: u64) -> Duration {
    let second = rustix::param::clock_ticks_per_second().max(1);
    let millis = u128::from(ticks) * 1000 / u128::from(second);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The fields of a line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    ticks: u64,
    threads: u32,
    started: u64,
    pages: u64,
}

impl Stat {
    /// Parses a line; `None` if the process is dead.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        // The name may contain any character, including parentheses.
        let (before, rest) = line.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field 3 is the first after the name.
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let number = |at: usize| field(at)?.parse::<u64>().ok();
        let state = field(3)?.chars().next()?;
        if matches!(state, 'Z' | 'X' | 'x') {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            state,
            ticks: number(14)?.checked_add(number(15)?)?,
            threads: u32::try_from(number(20)?).ok()?,
            started: number(22)?,
            pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_behind_any_name() {
        let rest =
            "S 1 2 2 0 -1 4194560 9 0 0 0 70 30 0 0 20 0 5 0 4242 1000 77 18446744073709551615 1";
        let stat = Stat::parse(format!("7 (a) R (b) {rest}\n").as_bytes()).unwrap();
        assert_eq!(stat.name, "a) R (b");
        assert_eq!((stat.state, stat.ticks, stat.threads), ('S', 100, 5));
        assert_eq!((stat.started, stat.pages), (4242, 77));
        let dead = rest.replacen('S', "Z", 1);
        for line in [
            format!("7 (a) {dead}"),
            "7 (a) S 1".to_owned(),
            String::new(),
        ] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }

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

    #[test]
    fn what_disks_did_has_two_fields() {
        let text = b"rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n";
        let expected = Disk {
            read: 4096,
            written: 8192,
        };
        assert_eq!(Disk::parse(text), Some(expected));
        assert_eq!(Disk::parse(b"rchar: 9\n"), None);
    }
}
