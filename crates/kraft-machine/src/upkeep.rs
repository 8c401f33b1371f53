//! Keeps the files of a running machine small that the VMM itself writes: its diary and its log.
//!
//! A guest can have the VMM write without end: each write to some ports is an event in the diary.
//! The VMM has its files open, so they are not replaced. What the monitor has read of the diary is
//! summed up beside it and its space given back to the disk; the file has a hole then:
//!
//! ```text
//! diary.sum   {"offset": 1048601, "diary": {…}}     what the first 1048601 bytes come to
//! diary.out   [ hole ………………… ]{"event": …}⏎ …
//! ```
//!
//! While no monitor does that, the VMM's limit of file sizes (`RLIMIT_FSIZE`) ends the growth: its
//! writes fail then. A machine with volumes that it may write to has no such limit, since it would
//! hold for their files as well.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use kraft_sys::process::{self, Identity};
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use crate::diary::Diary;
use crate::grown::Grown;
use crate::layout::MachineDir;

/// How much of a diary is read again at every look, at most, in bytes, as long as a monitor lives.
const UNREAD: u64 = 1 << 20;

/// The longest log of a VMM, in bytes.
const LOG: u64 = 1 << 20;

/// How much is kept of a log that was longer, in bytes.
const LOG_KEPT: u64 = 64 << 10;

/// How far the VMM's files may grow beyond what the monitor has seen, in bytes.
const ALLOWANCE: u64 = 16 << 20;

/// No line of a diary is longer, in bytes; what is, is passed over.
const LINE: u64 = 64 << 10;

/// More than any summary has, in bytes.
const SUMMARY: u64 = 1 << 20;

/// How often a diary is read again because it was summed up meanwhile.
const ATTEMPTS: usize = 8;

/// What the beginning of a diary comes to.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    /// Where the part begins that is not in it.
    offset: u64,
    diary: Diary,
}

/// Returns whether the VMM has written so much that some of it may be missing: what it wrote when
/// it had reached its limit.
pub(crate) fn has_gaps(dir: &MachineDir) -> bool {
    let full = || std::fs::metadata(dir.diary_out()).is_ok_and(|meta| meta.len() >= ALLOWANCE);
    dir.diary_sum().exists() || full()
}

/// Reads the diary of a machine, or nothing where there is none.
pub(crate) fn read(dir: &MachineDir) -> Diary {
    let mut summary = summary(dir);
    for _ in 0..ATTEMPTS {
        let from = summary.offset;
        let Ok((diary, _)) = continued(dir, summary) else {
            return Diary::default();
        };
        // What was read may have become a hole before it was.
        summary = self::summary(dir);
        if summary.offset == from {
            return diary;
        }
    }
    summary.diary
}

fn summary(dir: &MachineDir) -> Summary {
    let stored = fs::read_file(&dir.diary_sum(), SUMMARY).ok();
    stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Reads on to the end; returns what all of it comes to, and what the whole lines do.
fn continued(dir: &MachineDir, mut from: Summary) -> Result<(Diary, Summary), fs::Error> {
    let path = dir.diary_out();
    let mut file = fs::open_file(&path)?;
    let mut read = || {
        file.seek(SeekFrom::Start(from.offset))?;
        // A VMM that writes without end does not keep us here.
        let left = file.metadata()?.len().saturating_sub(from.offset);
        let mut lines = BufReader::with_capacity(64 << 10, Read::by_ref(&mut file).take(left));
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.by_ref().take(LINE).read_until(b'\n', &mut line)? as u64;
            let whole = line.ends_with(b"\n") || length == LINE;
            if !whole {
                return Ok(line);
            }
            from.diary.take_line(&line);
            from.offset += length;
        }
    };
    let half = read().map_err(fs::Error::on("read", &path))?;
    let mut all = from.diary.clone();
    all.take_line(&half);
    Ok((all, from))
}

/// Looks after the files of one VMM.
#[derive(Debug)]
pub(crate) struct Upkeep {
    dir: MachineDir,
    vmm: Identity,
    limited: bool,
    summed: u64,
    /// Wakes us when one of the files grows.
    grown: Option<Grown>,
}

impl Upkeep {
    /// Begins to look after the files of a VMM.
    pub(crate) fn new(dir: MachineDir, vmm: Identity, spec: &MachineSpec) -> Self {
        let mut upkeep = Self {
            grown: Grown::watch([dir.diary_out(), dir.vmm_log()]),
            limited: spec.volumes.iter().all(|volume| volume.read_only),
            summed: summary(&dir).offset,
            dir,
            vmm,
        };
        upkeep.limit();
        upkeep.look();
        upkeep
    }

    /// Returns what becomes readable when there is something to look at; `None` if that cannot be
    /// had.
    pub(crate) fn grown(&self) -> Option<BorrowedFd<'_>> {
        self.grown.as_ref().map(AsFd::as_fd)
    }

    /// Makes the files small again that have grown.
    pub(crate) fn look(&mut self) {
        if let Some(grown) = &self.grown {
            grown.clear();
        }
        let length = |path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        if length(self.dir.diary_out()).saturating_sub(self.summed) > UNREAD {
            // What does not work is tried again when the file has grown.
            let _ = self.sum_up();
        }
        if length(self.dir.vmm_log()) > LOG {
            let _ = self.shorten_log();
        }
    }

    fn sum_up(&mut self) -> Result<(), fs::Error> {
        let (_, whole) = continued(&self.dir, summary(&self.dir))?;
        let path = self.dir.diary_sum();
        let json =
            serde_json::to_vec(&whole).map_err(|e| fs::Error::on("write", &path)(e.into()))?;
        fs::replace_file(&path, &json)?;
        self.summed = whole.offset;
        let path = self.dir.diary_out();
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file: File| Ok(fallocate(&file, hole, 0, whole.offset)?))
            .map_err(fs::Error::on("give back space of", &path))?;
        // Not before: where there are no holes, the limit stays.
        self.limit();
        Ok(())
    }

    fn shorten_log(&self) -> Result<(), fs::Error> {
        let path = self.dir.vmm_log();
        let kept = fs::read_tail(&path, LOG_KEPT)?;
        // The VMM appends: it goes on behind what is there then.
        fs::overwrite(&path, &kept)
    }

    fn limit(&self) {
        if self.limited {
            let _ = process::limit_file_size(&self.vmm, self.summed + ALLOWANCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use kraft_core::machine::MachineState;

    use super::*;

    const EVENT: &str =
        "{\"timestamp\": {\"seconds\": 5, \"microseconds\": 5}, \"event\": \"RTC_CHANGE\"}\r\n";

    fn upkeep(dir: &std::path::Path) -> Upkeep {
        let dir = MachineDir::new(dir.to_owned());
        std::fs::File::create(dir.diary_out()).unwrap();
        std::fs::File::create(dir.vmm_log()).unwrap();
        Upkeep {
            dir,
            // No process that could be limited.
            vmm: Identity {
                pid: 0,
                started: 0,
                boot: String::new(),
            },
            limited: false,
            summed: 0,
            grown: None,
        }
    }

    #[test]
    fn a_long_diary_comes_to_the_same_before_and_after_it_is_summed_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut upkeep = upkeep(dir.path());
        let path = upkeep.dir.diary_out();
        let mut vmm = std::fs::File::options().append(true).open(&path).unwrap();
        vmm.write_all(b"{\"return\": {}}\r\n").unwrap();
        let stop = EVENT.replace("RTC_CHANGE", "STOP");
        vmm.write_all(stop.as_bytes()).unwrap();
        for round in 0..6 {
            vmm.write_all(EVENT.repeat(30_000).as_bytes()).unwrap();
            // The VMM is in the middle of a line.
            vmm.write_all(&stop.as_bytes()[..20]).unwrap();
            let before = read(&upkeep.dir);
            upkeep.look();
            assert_eq!(read(&upkeep.dir), before, "round {round}");
            assert!(before.ready && before.state() == MachineState::Paused);
            vmm.write_all(&stop.as_bytes()[20..]).unwrap();
            assert_eq!(read(&upkeep.dir).entries.len(), round + 2);
        }
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > 10 << 20);
        assert!(
            metadata.blocks() * 512 < 2 * UNREAD,
            "{}",
            metadata.blocks()
        );
    }

    #[test]
    fn a_diary_without_newlines_and_a_damaged_summary_are_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let mut upkeep = upkeep(dir.path());
        std::fs::File::options()
            .append(true)
            .open(upkeep.dir.diary_out())
            .unwrap()
            .write_all(&vec![b'x'; 3 << 20])
            .unwrap();
        upkeep.look();
        assert_eq!(read(&upkeep.dir), Diary::default());
        fs::replace_file(&upkeep.dir.diary_sum(), b"{").unwrap();
        assert_eq!(read(&upkeep.dir), Diary::default());
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut upkeep = upkeep(dir.path());
        let path = upkeep.dir.vmm_log();
        let mut vmm = std::fs::File::options().append(true).open(&path).unwrap();
        for _ in 0..5 {
            vmm.write_all(&vec![b'x'; 600 << 10]).unwrap();
            upkeep.look();
        }
        vmm.write_all(b"terminating on signal 15\n").unwrap();
        upkeep.look();
        let log = std::fs::read(&path).unwrap();
        assert!(log.ends_with(b"signal 15\n") && log.len() as u64 <= LOG);
    }
}
