//! How a machine on QEMU ended.

use kraft_core::machine::EndReason;

use super::microvm;
use crate::driver::Exited;
use crate::machines::now;
use crate::record::Ending;

/// Returns how a machine ended, as far as QEMU reported it or the guest chose its exit status.
pub(super) fn ending(exited: &Exited<'_>) -> Option<Ending> {
    let reported = reported(exited);
    let status = exited.status.and_then(|status| status.code());
    if status == Some(microvm::RESET) && microvm::is_one(exited.dir) {
        return Some(Ending {
            at: reported.map_or_else(now, |ending| ending.at),
            reason: EndReason::PoweredOff,
        });
    }
    let code = status.and_then(guest_status);
    let is_loaded = exited.events.is_crash_loaded();
    if let Some(code) = code.filter(|_| is_loaded && exited.dir.read_vmm_log().trim().is_empty()) {
        return Some(Ending {
            at: reported.map_or_else(now, |ending| ending.at),
            reason: EndReason::Exited {
                code: code | HIGHEST_BIT,
            },
        });
    }
    if let Some(code) = code
        && reported.as_ref().map_or_else(
            // QEMU before version 8 reports nothing about such an end. If it exits because of an
            // error of its own, it prints that.
            || exited.events.is_ready() && exited.dir.read_vmm_log().trim().is_empty(),
            |ending| ending.reason == EndReason::PoweredOff,
        )
    {
        return Some(Ending {
            at: reported.map_or_else(now, |ending| ending.at),
            reason: match code {
                0 => EndReason::PoweredOff,
                code => EndReason::Exited { code },
            },
        });
    }
    reported
}

/// Returns the end that QEMU reported, with the signal that its log contains.
fn reported(exited: &Exited<'_>) -> Option<Ending> {
    let ending = exited.events.ending()?;
    Some(match ending.reason {
        EndReason::Killed { signal: None } => Ending {
            reason: EndReason::Killed {
                signal: signal_in(&exited.dir.read_vmm_log()),
            },
            ..ending
        },
        _ => ending,
    })
}

/// The bit of a guest's exit status that QEMU's own has no space for: the guest reports it by an
/// event before.
const HIGHEST_BIT: u8 = 128;

/// Returns the exit status of a guest that ended QEMU by its device `isa-debug-exit`: a guest that
/// writes N there makes QEMU exit with 2N + 1.
fn guest_status(code: i32) -> Option<u8> {
    (code & 1 == 1).then(|| u8::try_from(code >> 1).ok())?
}

/// Finds the signal in QEMU's log: `terminating on signal 15 from pid 1 (init)`.
fn signal_in(log: &str) -> Option<i32> {
    let (_, after) = log.rsplit_once("terminating on signal ")?;
    after
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::event_log::{EventLog, VmmEvent};
    use crate::layout::MachineDir;

    #[test]
    fn the_signal_is_found_in_the_log() {
        let log = "qemu-system-x86_64: terminating on signal 15 from pid 42 (kill)\n";
        assert_eq!(signal_in(log), Some(15));
        assert_eq!(signal_in("terminating on signal "), None);
        assert_eq!(signal_in(""), None);
    }

    #[test]
    fn an_odd_exit_status_is_the_guests_unless_qemu_reports_another_end() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = MachineDir::new(temporary.path().to_owned());
        let reason = |events: &EventLog, code: i32, log: &str| {
            kraft_sys::fs::replace_file(&dir.vmm_log(), log.as_bytes()).unwrap();
            let exited = Exited {
                dir: &dir,
                events,
                status: Some(ExitStatus::from_raw(code << 8)),
            };
            ending(&exited).map(|ending| ending.reason)
        };
        let mut ready = EventLog::default();
        ready.set_ready();
        let mut off = ready.clone();
        off.record(now(), VmmEvent::Ended(EndReason::PoweredOff));
        let mut stopped = ready.clone();
        stopped.record(now(), VmmEvent::Ended(EndReason::Stopped));
        let mut high = ready.clone();
        high.record(now(), VmmEvent::CrashLoaded);
        high.record(now(), VmmEvent::Ended(EndReason::PoweredOff));
        let mut panicked = ready.clone();
        panicked.record(now(), VmmEvent::Panicked);
        panicked.record(now(), VmmEvent::CrashLoaded);
        let exited = |code| Some(EndReason::Exited { code });
        assert_eq!(reason(&off, 85, ""), exited(42));
        assert_eq!(reason(&off, 1, ""), Some(EndReason::PoweredOff));
        assert_eq!(reason(&off, 0, ""), Some(EndReason::PoweredOff));
        assert_eq!(reason(&ready, 85, ""), exited(42));
        assert_eq!(reason(&ready, 1, "qemu: cannot map memory"), None);
        assert_eq!(reason(&EventLog::default(), 85, ""), None);
        for code in [128, 137, 255_u8] {
            let qemu = (i32::from(code) * 2 + 1) & 0xff;
            assert_eq!(reason(&high, qemu, ""), exited(code), "{code}");
        }
        let crashed = EndReason::Crashed {
            what: "guest panicked".to_owned(),
        };
        assert_eq!(reason(&high, 0, ""), Some(crashed.clone()));
        assert_eq!(reason(&high, 1, "qemu: failed"), Some(crashed.clone()));
        assert_eq!(reason(&panicked, 85, ""), Some(crashed));
        assert_eq!(reason(&stopped, 85, ""), Some(EndReason::Stopped));
    }
}
