//! Keeps the files small that the VMM of a running machine writes itself: its event log and its
//! log.
//!
//! While no monitor does that, a limit of the VMM's file sizes (`RLIMIT_FSIZE`) ends the growth:
//! its writes fail then. A machine with writable volumes has no such limit, since the limit would
//! hold for the files of the volumes as well.

use std::os::fd::{AsFd, BorrowedFd};

use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use kraft_sys::process::{self, Identity};

use crate::driver::Driver;
use crate::event_log::file;
use crate::file_watch::FileWatch;
use crate::layout::MachineDir;

/// The length of the event log that is not folded into its summary, in bytes. It is the part that
/// every reader has to parse.
const MAX_EVENTS: u64 = 1 << 20;

/// The maximal length of the VMM's log in bytes.
const MAX_LOG: u64 = 1 << 20;

/// The length that is kept of a log that was longer, in bytes.
const KEPT_LOG: u64 = 64 << 10;

/// The number of bytes that the VMM's files may grow by before the monitor has processed them.
const ALLOWANCE: u64 = 16 << 20;

/// Returns whether events of a machine may be missing, because the VMM has reached its limit.
pub(crate) fn may_have_gaps(dir: &MachineDir) -> bool {
    file::may_have_gaps(dir, ALLOWANCE)
}

/// Compacts the files of one VMM.
#[derive(Debug)]
pub(crate) struct Compactor {
    driver: &'static dyn Driver,
    dir: MachineDir,
    vmm: Identity,
    limited: bool,
    compacted: u64,
    /// Readable when one of the files has grown.
    watch: Option<FileWatch>,
}

impl Compactor {
    /// Limits the files of a VMM and compacts them for the first time.
    pub(crate) fn new(
        driver: &'static dyn Driver,
        dir: MachineDir,
        vmm: Identity,
        spec: &MachineSpec,
    ) -> Self {
        let mut compactor = Self {
            driver,
            watch: FileWatch::new([dir.events(), dir.vmm_log()]),
            limited: driver.capabilities().survives_writes
                && spec.volumes.iter().all(|volume| volume.read_only),
            compacted: file::compacted(&dir),
            dir,
            vmm,
        };
        compactor.limit();
        compactor.run();
        compactor
    }

    /// Returns what becomes readable when a file has grown; `None` if the system cannot report it.
    pub(crate) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Compacts the files that have become too long.
    pub(crate) fn run(&mut self) {
        if let Some(watch) = &self.watch {
            watch.clear();
        }
        let length = |path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        if length(self.dir.events()).saturating_sub(self.compacted) > MAX_EVENTS {
            self.compact_events();
        }
        if length(self.dir.vmm_log()) > MAX_LOG
            && let Err(error) = self.shorten_log()
        {
            tracing::debug!(error = %error, "cannot shorten the VMM's log");
        }
    }

    fn compact_events(&mut self) {
        match self.driver.compact_events(&self.dir) {
            Ok(compaction) => {
                self.compacted = compaction.folded;
                // Where holes are not supported, the limit stays.
                if compaction.freed {
                    self.limit();
                }
            }
            // Tried again when the file has grown.
            Err(error) => tracing::debug!(error = %error, "cannot compact the event log"),
        }
    }

    fn shorten_log(&self) -> Result<(), fs::Error> {
        let path = self.dir.vmm_log();
        let kept = fs::read_tail(&path, KEPT_LOG)?;
        // The VMM appends, so it continues behind what is there then.
        fs::overwrite(&path, &kept)
    }

    fn limit(&self) {
        if self.limited {
            let _ = process::limit_file_size(&self.vmm, self.compacted + ALLOWANCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use kraft_core::machine::MachineState;

    use super::*;
    use crate::driver::qemu::Qemu;
    use crate::event_log::EventLog;

    const EVENT: &str =
        "{\"timestamp\": {\"seconds\": 5, \"microseconds\": 5}, \"event\": \"RTC_CHANGE\"}\r\n";

    fn compactor(dir: &std::path::Path) -> Compactor {
        let dir = MachineDir::new(dir.to_owned());
        std::fs::File::create(dir.events()).unwrap();
        std::fs::File::create(dir.vmm_log()).unwrap();
        Compactor {
            driver: &Qemu,
            dir,
            // Not a process.
            vmm: Identity {
                pid: 0,
                started: 0,
                boot: String::new(),
            },
            limited: false,
            compacted: 0,
            watch: None,
        }
    }

    #[test]
    fn compaction_does_not_change_what_a_long_event_log_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut compactor = compactor(dir.path());
        let path = compactor.dir.events();
        let mut vmm = std::fs::File::options().append(true).open(&path).unwrap();
        vmm.write_all(b"{\"return\": {}}\r\n").unwrap();
        let stop = EVENT.replace("RTC_CHANGE", "STOP");
        vmm.write_all(stop.as_bytes()).unwrap();
        for round in 0..6 {
            vmm.write_all(EVENT.repeat(30_000).as_bytes()).unwrap();
            // The VMM is in the middle of a line.
            vmm.write_all(&stop.as_bytes()[..20]).unwrap();
            let before = Qemu.events(&compactor.dir);
            compactor.run();
            assert_eq!(Qemu.events(&compactor.dir), before, "round {round}");
            assert!(before.is_ready() && before.state() == MachineState::Paused);
            vmm.write_all(&stop.as_bytes()[20..]).unwrap();
            assert_eq!(Qemu.events(&compactor.dir).changes().len(), round + 2);
        }
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > 10 << 20);
        assert!(
            metadata.blocks() * 512 < 2 * MAX_EVENTS,
            "{}",
            metadata.blocks()
        );
    }

    #[test]
    fn an_event_log_without_newlines_and_a_damaged_summary_are_read_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut compactor = compactor(dir.path());
        std::fs::File::options()
            .append(true)
            .open(compactor.dir.events())
            .unwrap()
            .write_all(&vec![b'x'; 3 << 20])
            .unwrap();
        compactor.run();
        assert_eq!(Qemu.events(&compactor.dir), EventLog::default());
        fs::replace_file(&compactor.dir.events_summary(), b"{").unwrap();
        assert_eq!(Qemu.events(&compactor.dir), EventLog::default());
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut compactor = compactor(dir.path());
        let path = compactor.dir.vmm_log();
        let mut vmm = std::fs::File::options().append(true).open(&path).unwrap();
        for _ in 0..5 {
            vmm.write_all(&vec![b'x'; 600 << 10]).unwrap();
            compactor.run();
        }
        vmm.write_all(b"terminating on signal 15\n").unwrap();
        compactor.run();
        let log = std::fs::read(&path).unwrap();
        assert!(log.ends_with(b"signal 15\n") && log.len() as u64 <= MAX_LOG);
    }
}
