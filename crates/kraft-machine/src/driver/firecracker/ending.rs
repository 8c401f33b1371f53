//! How a machine on Firecracker ended: by its exit status, and by what its log says.
//!
//! | exit status | log | end |
//! |---|---|---|
//! | 0 | – | the guest reset itself, which is how it powers off |
//! | 0 | `Received KVM_EXIT_SHUTDOWN signal` | it crashed: an exception that it does not handle |
//! | 1 | `Received KVM_EXIT_INTERNAL_ERROR signal` | KVM cannot run the guest |
//! | 148-157 | `Shutting down VM after intercepting …` | Firecracker failed |
//! | by a signal | – | it was killed |
//!
//! Where no process waited for it, the log's last line has the status.

use kraft_core::machine::EndReason;

use crate::driver::Exited;
use crate::layout::MachineDir;
use crate::machines::now;
use crate::record::Ending;

/// Returns how a machine ended; `None` if Firecracker was killed, or nothing says how it exited.
pub(super) fn ending(exited: &Exited<'_>) -> Option<Ending> {
    let log = exited.dir.read_vmm_log();
    let code = match exited.status {
        Some(status) => status.code()?,
        None => logged_code(&log)?,
    };
    Some(Ending {
        at: now(),
        reason: reason(code, &log),
    })
}

/// Returns whether a Firecracker that has exited says that it failed.
pub(super) fn failed(dir: &MachineDir) -> bool {
    let log = dir.read_vmm_log();
    logged_code(&log).is_none_or(|code| code != 0)
}

fn reason(code: i32, log: &str) -> EndReason {
    if code != 0 {
        return EndReason::MonitorFailed {
            code: Some(code),
            message: why(log),
        };
    }
    // Without a status the log is all there is: both say that it exited in order.
    if log.contains("KVM_EXIT_SHUTDOWN") {
        EndReason::Crashed {
            what: "guest reset itself".to_owned(),
        }
    } else if log.contains("KVM_EXIT_HLT") {
        EndReason::Crashed {
            what: "guest halted".to_owned(),
        }
    } else {
        EndReason::PoweredOff
    }
}

/// Finds the exit status in the log: `Firecracker exiting with error. exit_code=1`.
fn logged_code(log: &str) -> Option<i32> {
    let (_, after) = log.rsplit_once("exit_code=")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Returns the line of the log that says most about a failure.
fn why(log: &str) -> String {
    if log.contains("KVM_EXIT_INTERNAL_ERROR") || log.contains("KVM_EXIT_FAIL_ENTRY") {
        return "KVM cannot run this guest on this host; `--plat qemu -W` runs it without KVM"
            .to_owned();
    }
    let says_why = |line: &&str| {
        line.contains("intercepting") || line.contains("panicked") || line.contains("Error")
    };
    let lines = || log.lines().rev().filter(|line| !line.trim().is_empty());
    let line = lines().find(says_why).or_else(|| lines().next());
    message(line.unwrap_or_default()).to_owned()
}

/// Returns a line of the log without its time and its origin: `TIME [ID:THREAD] MESSAGE`.
fn message(line: &str) -> &str {
    match line.split_once("] ") {
        Some((head, message)) if head.contains('[') => message,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::event_log::EventLog;

    #[test]
    fn the_end_follows_from_the_status_and_the_log() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = MachineDir::new(temporary.path().to_owned());
        let line = |text: &str| format!("2026-01-31T12:00:00.5 [ID:fc_vcpu 0] {text}\n");
        let reason = |raw: Option<i32>, log: &str| {
            kraft_sys::fs::replace_file(&dir.vmm_log(), log.as_bytes()).unwrap();
            let exited = Exited {
                dir: &dir,
                events: &EventLog::default(),
                status: raw.map(ExitStatus::from_raw),
            };
            ending(&exited).map(|ending| ending.reason)
        };
        let off = line("Firecracker exiting successfully. exit_code=0");
        let fault = line("Received KVM_EXIT_SHUTDOWN signal") + &off;
        let kvm = line("Received KVM_EXIT_INTERNAL_ERROR signal")
            + &line("Firecracker exiting with error. exit_code=1");
        let syscall = line("Shutting down VM after intercepting a bad syscall (41).");
        let crashed = Some(EndReason::Crashed {
            what: "guest reset itself".to_owned(),
        });
        let vmm_failed = |code, message: &str| {
            Some(EndReason::MonitorFailed {
                code: Some(code),
                message: message.to_owned(),
            })
        };
        for status in [Some(0), None] {
            assert_eq!(reason(status, &off), Some(EndReason::PoweredOff));
            assert_eq!(reason(status, &fault), crashed);
        }
        let no_kvm = "KVM cannot run this guest on this host; `--plat qemu -W` runs it without KVM";
        assert_eq!(reason(Some(1 << 8), &kvm), vmm_failed(1, no_kvm));
        assert_eq!(reason(None, &kvm), vmm_failed(1, no_kvm));
        assert_eq!(
            reason(Some(148 << 8), &syscall),
            vmm_failed(
                148,
                "Shutting down VM after intercepting a bad syscall (41)."
            )
        );
        // Killed: the caller knows the signal, or that none is known.
        assert_eq!(reason(Some(9), ""), None);
        assert_eq!(reason(None, ""), None);
        assert!(failed(&dir));
    }
}
