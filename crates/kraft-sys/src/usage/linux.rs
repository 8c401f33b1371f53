//! Linux: files of `/proc`.

use std::path::Path;
use std::time::Duration;

use super::{Disk, Thread, Usage};
use crate::fs;
use crate::host::Stat;
use crate::process::Identity;

/// The maximal size of a file about a process that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Returns what a process uses; `None` if it has ended.
pub(super) fn usage(process: &Identity) -> Option<Usage> {
    let dir = format!("/proc/{}", process.pid);
    let stat = stat(&dir)?;
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
            let stat = stat(&format!("{tasks}/{name}"))?;
            Some(Thread {
                id: name.parse().ok()?,
                name: stat.name,
                state: stat.state,
                cpu: time(stat.ticks),
            })
        })
        .collect()
}

/// Returns what the system says about a process or thread; `None` if it has ended.
fn stat(dir: &str) -> Option<Stat> {
    Stat::parse(&read(dir, "stat")?).filter(|stat| !stat.has_ended())
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

#[cfg(test)]
mod tests {
    use super::*;

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
