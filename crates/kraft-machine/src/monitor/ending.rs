//! How a machine ended whose VMM was a child of this process.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use kraft_core::machine::EndReason;

use crate::driver::Driver;
use crate::layout::MachineDir;
use crate::machines::{now, reported_ending};
use crate::record::Ending;

/// The signals of a program that found an error in itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV
/// and SIGSYS.
const CRASH_SIGNALS: [i32; 6] = [4, 6, 7, 8, 11, 31];

/// Determines how a machine ended. What the VMM reported says more about the guest than how its
/// process exited.
pub(crate) fn of_child(driver: &dyn Driver, dir: &MachineDir, status: ExitStatus) -> Ending {
    if let (_, Some(ending)) = reported_ending(driver, dir, Some(status)) {
        return ending;
    }
    Ending {
        at: now(),
        reason: by_status(status, || {
            let log = dir.read_vmm_log();
            let last = log.lines().rev().find(|line| !line.trim().is_empty());
            last.unwrap_or_default().to_owned()
        }),
    }
}

fn by_status(status: ExitStatus, message: impl Fn() -> String) -> EndReason {
    match (status.code(), status.signal()) {
        (_, Some(signal)) if CRASH_SIGNALS.contains(&signal) => EndReason::MonitorFailed {
            code: Some(128 + signal),
            message: message(),
        },
        (_, Some(signal)) => EndReason::Killed {
            signal: Some(signal),
        },
        // It exited in order and could not report why: the disk was full.
        (Some(0), None) => EndReason::Vanished,
        (code, None) => EndReason::MonitorFailed {
            code,
            message: message(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_report_the_exit_status_counts() {
        let reason = |raw| by_status(ExitStatus::from_raw(raw), || "last line".to_owned());
        assert_eq!(reason(9), EndReason::Killed { signal: Some(9) });
        assert_eq!(reason(0), EndReason::Vanished);
        let failed = |code| EndReason::MonitorFailed {
            code: Some(code),
            message: "last line".to_owned(),
        };
        assert_eq!(reason(11), failed(139));
        assert_eq!(reason(3 << 8), failed(3));
    }
}
