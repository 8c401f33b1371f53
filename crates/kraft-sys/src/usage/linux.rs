//! Linux: files of `/proc`.

use std::path::Path;
use std::time::Duration;

use super::{Disk, Thread, Usage};
use crate::fs;
use crate::process::Identity;

/// The maximal size of a file about a process that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Returns what a process uses; `None` if it has ended.
pub(super) fn usage(process: &Identity) -> Option<Usage> {
    let dir = format!("/proc/{}", process.pid);
    let stat = Stat::parse(&read(&dir, "stat")?)?;
    if stat.started != process.started || process.is_from_another_boot() {
        return None;
    }
    Some(Usage {
        cpu: time(stat.ticks),
        memory: stat
            .pages
            .saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096)),
        threads: stat.threads,
        disk: read(&dir, "io").and_then(|text| Disk::parse(&text)),
    })
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

/// Returns the threads of the process with an id.
pub(super) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&tasks).into_iter().flatten().flatten();
    entries
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
        .collect()
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
