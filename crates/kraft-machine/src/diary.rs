//! What the VMM wrote down about itself: text in, state and ending out. Pure.
//!
//! The diary is a machine-protocol (QMP) monitor whose output is a file: a greeting, the answer to
//! the handshake, then one JSON object per line and event:
//!
//! ```text
//! {"QMP": {"version": …, "capabilities": ["oob"]}}
//! {"return": {}}
//! {"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "STOP"}
//! {"timestamp": …, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}
//! ```
//!
//! Nobody waits for the VMM to finish a line, so the last one may be half; and no line is trusted:
//! what cannot be understood is passed over.

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineState};
use serde::Deserialize;

use crate::record::Ending;

/// A diary, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diary {
    /// Whether the VMM has begun to serve: its devices exist, its ports are open, the kernel is
    /// loaded.
    pub ready: bool,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

/// Something the VMM wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by the clock of the host.
    pub at: Timestamp,
    /// What.
    pub what: Happened,
}

/// What can happen to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Its processors were stopped.
    Paused,
    /// They go on.
    Resumed,
    /// The guest put itself to sleep.
    Suspended,
    /// It woke up.
    Woken,
    /// The guest reported that it panicked.
    Panicked,
    /// The VMM is about to end, for a reason in the protocol's words (`guest-shutdown`).
    ShutDown(String),
}

/// How QEMU writes an event (QAPI, `run-state.json`).
#[derive(Deserialize)]
struct Line {
    event: Option<String>,
    timestamp: Option<Stamp>,
    data: Option<Data>,
    #[serde(rename = "return")]
    answer: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Stamp {
    seconds: i64,
    microseconds: i64,
}

#[derive(Deserialize)]
struct Data {
    reason: Option<String>,
    guest: Option<bool>,
}

impl Diary {
    /// Reads a diary, or as much of one as there is.
    pub fn parse(text: &[u8]) -> Self {
        let mut diary = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(line.trim_ascii()) else {
                continue;
            };
            diary.ready |= line.answer.is_some();
            diary.entries.extend(entry(line));
        }
        // The first thing that happens to every guest is that it is let go.
        if diary
            .entries
            .first()
            .is_some_and(|first| first.what == Happened::Resumed)
        {
            diary.entries.remove(0);
        }
        diary
    }

    /// Returns what the guest does as long as the VMM lives: running, paused, suspended, or already
    /// on its way out.
    pub fn state(&self) -> MachineState {
        if let Some(ending) = self.ending() {
            return state_after(&ending.reason);
        }
        self.entries
            .iter()
            .fold(MachineState::Running, |state, entry| match entry.what {
                Happened::Paused => MachineState::Paused,
                Happened::Suspended => MachineState::Suspended,
                Happened::Resumed | Happened::Woken => MachineState::Running,
                Happened::Panicked | Happened::ShutDown(_) => state,
            })
    }

    /// Returns how the machine ended, if the VMM had the time to write it down.
    pub fn ending(&self) -> Option<Ending> {
        let mut panicked = false;
        for entry in &self.entries {
            match &entry.what {
                Happened::Panicked => panicked = true,
                Happened::ShutDown(reason) => {
                    return Some(Ending {
                        at: entry.at,
                        reason: end_reason(reason, panicked),
                    });
                }
                Happened::Paused | Happened::Resumed | Happened::Suspended | Happened::Woken => {}
            }
        }
        None
    }

    /// Returns when the guest reported a panic, whether or not the VMM ended then.
    pub fn panicked_at(&self) -> Option<Timestamp> {
        self.entries
            .iter()
            .find(|entry| entry.what == Happened::Panicked)
            .map(|entry| entry.at)
    }
}

/// Returns the state that a machine has after it ended for this reason.
pub fn state_after(reason: &EndReason) -> MachineState {
    match reason {
        EndReason::PoweredOff
        | EndReason::Stopped
        | EndReason::Killed { .. }
        | EndReason::HostDown
        | EndReason::Vanished => MachineState::Exited,
        EndReason::Crashed { .. } => MachineState::Errored,
        EndReason::MonitorFailed { .. } => MachineState::Failed,
    }
}

fn entry(line: Line) -> Option<Entry> {
    let stamp = line.timestamp?;
    let at = Timestamp::from_microsecond(
        stamp
            .seconds
            .checked_mul(1_000_000)?
            .checked_add(stamp.microseconds)?,
    )
    .ok()?;
    let what = match line.event?.as_str() {
        "STOP" => Happened::Paused,
        "RESUME" => Happened::Resumed,
        "SUSPEND" | "SUSPEND_DISK" => Happened::Suspended,
        "WAKEUP" => Happened::Woken,
        "GUEST_PANICKED" | "GUEST_CRASHLOADED" => Happened::Panicked,
        "SHUTDOWN" => {
            let data = line.data;
            let by_guest = data.as_ref().and_then(|data| data.guest);
            let reason = data.and_then(|data| data.reason);
            // Before QEMU 4.0 there was no reason, only whether the guest wanted it.
            Happened::ShutDown(reason.unwrap_or_else(|| {
                match by_guest {
                    Some(true) => "guest-shutdown",
                    Some(false) | None => "host-qmp-quit",
                }
                .to_owned()
            }))
        }
        _ => return None,
    };
    Some(Entry { at, what })
}

/// Translates QEMU's `ShutdownCause`.
fn end_reason(cause: &str, panicked: bool) -> EndReason {
    let crashed = |what: &str| EndReason::Crashed {
        what: what.to_owned(),
    };
    match cause {
        _ if panicked => crashed("guest panicked"),
        "guest-panic" => crashed("guest panicked"),
        // We run QEMU with -no-reboot: a reset, a triple fault on x86 as well, ends it.
        "guest-reset" | "subsystem-reset" => crashed("guest reset itself"),
        "guest-shutdown" => EndReason::PoweredOff,
        "host-qmp-quit" | "host-qmp-system-reset" | "host-ui" => EndReason::Stopped,
        "host-signal" => EndReason::Killed { signal: None },
        other => EndReason::MonitorFailed {
            code: None,
            message: format!("the VMM gave up: {other}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \
        \"major\": 10}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {}}\r\n";

    fn event(seconds: i64, rest: &str) -> String {
        format!(
            "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": 250000}}, {rest}}}\r\n"
        )
    }

    fn shutdown(reason: &str) -> String {
        event(
            9,
            &format!(
                "\"event\": \"SHUTDOWN\", \"data\": {{\"guest\": true, \"reason\": \"{reason}\"}}"
            ),
        )
    }

    fn diary(events: &[String]) -> Diary {
        Diary::parse(format!("{GREETING}{}", events.concat()).as_bytes())
    }

    #[test]
    fn a_vmm_serves_once_it_has_answered_the_handshake() {
        assert!(!Diary::parse(b"").ready);
        let greeting = GREETING.lines().next().unwrap();
        assert!(!Diary::parse(greeting.as_bytes()).ready);
        assert!(Diary::parse(GREETING.as_bytes()).ready);
    }

    #[test]
    fn the_state_follows_the_events() {
        let stop = event(1, "\"event\": \"STOP\"");
        let resume = event(2, "\"event\": \"RESUME\"");
        let suspend = event(3, "\"event\": \"SUSPEND\"");
        let wakeup = event(4, "\"event\": \"WAKEUP\"");
        let state = |events: &[&String]| {
            diary(&events.iter().map(|e| (*e).clone()).collect::<Vec<_>>()).state()
        };
        assert_eq!(state(&[]), MachineState::Running);
        assert_eq!(state(&[&stop]), MachineState::Paused);
        assert_eq!(state(&[&stop, &resume]), MachineState::Running);
        assert_eq!(state(&[&suspend]), MachineState::Suspended);
        assert_eq!(state(&[&suspend, &wakeup]), MachineState::Running);
    }

    #[test]
    fn every_cause_of_a_shutdown_has_its_reason() {
        let reasons: Vec<String> = [
            "guest-shutdown",
            "guest-reset",
            "subsystem-reset",
            "guest-panic",
            "host-qmp-quit",
            "host-signal",
            "host-error",
            "from-the-future",
        ]
        .iter()
        .map(|cause| {
            let ending = diary(&[shutdown(cause)]).ending().unwrap();
            let state = state_after(&ending.reason);
            format!("{cause}: {:?}, {state:?}", ending.reason)
        })
        .collect();
        insta::assert_snapshot!(reasons.join("\n"), @r#"
        guest-shutdown: PoweredOff, Exited
        guest-reset: Crashed { what: "guest reset itself" }, Errored
        subsystem-reset: Crashed { what: "guest reset itself" }, Errored
        guest-panic: Crashed { what: "guest panicked" }, Errored
        host-qmp-quit: Stopped, Exited
        host-signal: Killed { signal: None }, Exited
        host-error: MonitorFailed { code: None, message: "the VMM gave up: host-error" }, Failed
        from-the-future: MonitorFailed { code: None, message: "the VMM gave up: from-the-future" }, Failed
        "#);
    }

    #[test]
    fn the_time_of_the_end_is_the_vmms_own() {
        let ending = diary(&[shutdown("guest-shutdown")]).ending().unwrap();
        assert_eq!(ending.at, Timestamp::from_millisecond(9250).unwrap());
    }

    #[test]
    fn a_panic_counts_whatever_ends_the_vmm_afterwards() {
        let panicked = event(
            8,
            "\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}",
        );
        let diary = diary(&[panicked, shutdown("guest-shutdown")]);
        let crashed = EndReason::Crashed {
            what: "guest panicked".to_owned(),
        };
        assert_eq!(diary.ending().unwrap().reason, crashed);
        assert!(diary.panicked_at().is_some());
    }

    #[test]
    fn half_a_line_and_garbage_change_nothing() {
        let whole = diary(&[event(1, "\"event\": \"STOP\"")]);
        let full = shutdown("guest-shutdown");
        let text = format!("{GREETING}{}", event(1, "\"event\": \"STOP\""));
        for cut in 0..full.trim_end().len() {
            let half = [text.as_bytes(), &full.as_bytes()[..cut]].concat();
            assert_eq!(Diary::parse(&half), whole, "cut at {cut}");
        }
        for garbage in [
            &b"\xff\xfe\n{}\nnull\n[1]\n"[..],
            b"{\"event\": 5}\n",
            b"{\"event\": \"STOP\"}\n",
            b"{\"event\":\"STOP\",\"timestamp\":{\"seconds\":9223372036854775807,\"microseconds\":1}}",
        ] {
            assert_eq!(Diary::parse(garbage), Diary::default());
        }
    }
}
