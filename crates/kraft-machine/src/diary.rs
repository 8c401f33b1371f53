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

use std::collections::VecDeque;

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineState};
use serde::{Deserialize, Serialize};

use crate::record::Ending;

/// The most entries that are kept of a diary.
const MOST_ENTRIES: usize = 256;

/// What a diary comes to.
///
/// It is made line by line, and can be stored and continued: the lines it was made from are not
/// needed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diary {
    /// Whether the VMM has begun to serve: its devices exist, its ports are open, the kernel is
    /// loaded.
    pub ready: bool,
    /// The last changes of state, in order.
    pub entries: VecDeque<Entry>,
    /// Whether there was an event.
    begun: bool,
    changed: Option<Change>,
    panicked_at: Option<Timestamp>,
    ending: Option<Ending>,
}

/// A change of state that the VMM wrote down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the clock of the host.
    pub at: Timestamp,
    /// What.
    pub what: Change,
}

/// How the state of a guest can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Its processors were stopped.
    Paused,
    /// They go on.
    Resumed,
    /// The guest put itself to sleep.
    Suspended,
    /// It woke up.
    Woken,
}

/// An event of the VMM.
enum Event {
    Change(Change),
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
            diary.take_line(line);
        }
        diary
    }

    /// Continues with the next line.
    pub fn take_line(&mut self, line: &[u8]) {
        // A guest can report this any number of times; only the first counts.
        if self.panicked_at.is_some() && is_crash_loaded(line) {
            return;
        }
        let Ok(line) = serde_json::from_slice::<Line>(line.trim_ascii()) else {
            return;
        };
        self.ready |= line.answer.is_some();
        let Some((at, event)) = event(line) else {
            return;
        };
        let first = !std::mem::replace(&mut self.begun, true);
        if self.ending.is_some() {
            return;
        }
        match event {
            // The first thing that happens to every guest is that it is let go.
            Event::Change(Change::Resumed) if first => {}
            Event::Change(what) => {
                self.changed = Some(what);
                self.entries.push_back(Entry { at, what });
                if self.entries.len() > MOST_ENTRIES {
                    self.entries.pop_front();
                }
            }
            Event::Panicked => {
                self.panicked_at.get_or_insert(at);
            }
            Event::ShutDown(cause) => {
                let reason = end_reason(&cause, self.panicked_at.is_some());
                self.ending = Some(Ending { at, reason });
            }
        }
    }

    /// Returns what the guest does as long as the VMM lives: running, paused, suspended, or already
    /// on its way out.
    pub fn state(&self) -> MachineState {
        if let Some(ending) = &self.ending {
            return state_after(&ending.reason);
        }
        match self.changed {
            Some(Change::Paused) => MachineState::Paused,
            Some(Change::Suspended) => MachineState::Suspended,
            Some(Change::Resumed | Change::Woken) | None => MachineState::Running,
        }
    }

    /// Returns how the machine ended, if the VMM had the time to write it down.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }

    /// Returns when the guest reported a panic, whether or not the VMM ended then.
    pub fn panicked_at(&self) -> Option<Timestamp> {
        self.panicked_at
    }
}

/// Returns the state that a machine has after it ended for this reason.
pub fn state_after(reason: &EndReason) -> MachineState {
    match reason {
        EndReason::PoweredOff
        | EndReason::Exited { .. }
        | EndReason::Stopped
        | EndReason::Killed { .. }
        | EndReason::HostDown
        | EndReason::Vanished => MachineState::Exited,
        EndReason::Crashed { .. } => MachineState::Errored,
        EndReason::MonitorFailed { .. } => MachineState::Failed,
    }
}

/// Returns whether a line is the event of a crash kernel that took over, as far as that can be told
/// quickly.
fn is_crash_loaded(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b'"');
    words.nth(7) == Some(b"event") && words.nth(1) == Some(b"GUEST_CRASHLOADED")
}

fn event(line: Line) -> Option<(Timestamp, Event)> {
    let stamp = line.timestamp?;
    let at = Timestamp::from_microsecond(
        stamp
            .seconds
            .checked_mul(1_000_000)?
            .checked_add(stamp.microseconds)?,
    )
    .ok()?;
    let what = match line.event?.as_str() {
        "STOP" => Event::Change(Change::Paused),
        "RESUME" => Event::Change(Change::Resumed),
        "SUSPEND" | "SUSPEND_DISK" => Event::Change(Change::Suspended),
        "WAKEUP" => Event::Change(Change::Woken),
        "GUEST_PANICKED" | "GUEST_CRASHLOADED" => Event::Panicked,
        "SHUTDOWN" => {
            let data = line.data;
            let by_guest = data.as_ref().and_then(|data| data.guest);
            let reason = data.and_then(|data| data.reason);
            // Before QEMU 4.0 there was no reason, only whether the guest wanted it.
            Event::ShutDown(reason.unwrap_or_else(|| {
                match by_guest {
                    Some(true) => "guest-shutdown",
                    Some(false) | None => "host-qmp-quit",
                }
                .to_owned()
            }))
        }
        _ => return None,
    };
    Some((at, what))
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
    fn a_diary_can_be_stored_after_any_line_and_continued() {
        let events = [
            event(1, "\"event\": \"RESUME\""),
            event(2, "\"event\": \"STOP\""),
            event(3, "\"event\": \"RESUME\""),
            event(
                4,
                "\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}",
            ),
            event(5, "\"event\": \"SUSPEND\""),
            shutdown("guest-shutdown"),
        ];
        let text = format!("{GREETING}{}", events.concat());
        let whole = Diary::parse(text.as_bytes());
        assert_eq!(whole.entries.len(), 3);
        let lines: Vec<&str> = text.lines().collect();
        for cut in 0..=lines.len() {
            let mut diary = Diary::parse(lines[..cut].join("\n").as_bytes());
            let stored = serde_json::to_vec(&diary).unwrap();
            diary = serde_json::from_slice(&stored).unwrap();
            for line in &lines[cut..] {
                diary.take_line(line.as_bytes());
            }
            assert_eq!(diary, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_guest_that_changes_its_state_for_ever_is_remembered_by_its_last_changes() {
        let changes: Vec<String> = (0..2000)
            .map(|n| {
                event(
                    n,
                    ["\"event\": \"SUSPEND\"", "\"event\": \"WAKEUP\""][usize::from(n % 2 == 1)],
                )
            })
            .collect();
        let diary = diary(&changes);
        assert_eq!(diary.entries.len(), MOST_ENTRIES);
        assert_eq!(
            diary.entries.back().unwrap().at,
            Timestamp::from_millisecond(1_999_250).unwrap()
        );
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
