//! QEMU's event log: lines of the QEMU Machine Protocol.
//!
//! It is a protocol monitor whose output is a file: a greeting, the answer to the handshake, then
//! one JSON object per line and event (QAPI, `run-state.json`):
//!
//! ```text
//! {"QMP": {"version": …, "capabilities": ["oob"]}}
//! {"return": {}}
//! {"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "STOP"}
//! {"timestamp": …, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}
//! ```

use jiff::Timestamp;
use kraft_core::machine::EndReason;
use serde::Deserialize;

use crate::event_log::{EventLog, StateChange, VmmEvent};

/// What QEMU reads from `events.in`. Without the first command it writes no events. QEMU is started
/// with the guest paused (`-S`), and the second command resumes it: so even a guest that ends at
/// once ends when events are written.
pub(super) const HANDSHAKE: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";

/// As [`HANDSHAKE`], for a guest that is restored first: it is resumed later.
pub(super) const HANDSHAKE_PAUSED: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n";

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

/// Parses a line and records its event. Lines that are incomplete or not understood are skipped.
pub(super) fn parse(line: &[u8], log: &mut EventLog) {
    // A guest can report this any number of times, and only the first counts.
    if log.has_panicked() && is_crash_loaded(line) {
        return;
    }
    let Ok(line) = serde_json::from_slice::<Line>(line.trim_ascii()) else {
        return;
    };
    // The kernel is loaded and the ports are open before QEMU answers the handshake.
    if line.answer.is_some() {
        log.set_ready();
    }
    if let Some((at, event)) = event(line) {
        log.record(at, event);
    }
}

/// Returns when the guest was resumed for the first time, from the beginning of an event log.
pub(super) fn first_resume(log: &[u8]) -> Option<Timestamp> {
    log.split(|&byte| byte == b'\n').find_map(|text| {
        let line = serde_json::from_slice::<Line>(text.trim_ascii()).ok()?;
        match event(line)? {
            (at, VmmEvent::Change(StateChange::Resumed)) => Some(at),
            _ => None,
        }
    })
}

/// Returns whether a line is the event of a crash kernel that took over, without parsing it.
fn is_crash_loaded(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b'"');
    words.nth(7) == Some(b"event") && words.nth(1) == Some(b"GUEST_CRASHLOADED")
}

fn event(line: Line) -> Option<(Timestamp, VmmEvent)> {
    let stamp = line.timestamp?;
    let at = Timestamp::from_microsecond(
        stamp
            .seconds
            .checked_mul(1_000_000)?
            .checked_add(stamp.microseconds)?,
    )
    .ok()?;
    let event = match line.event?.as_str() {
        "STOP" => VmmEvent::Change(StateChange::Paused),
        "RESUME" => VmmEvent::Change(StateChange::Resumed),
        "SUSPEND" | "SUSPEND_DISK" => VmmEvent::Change(StateChange::Suspended),
        "WAKEUP" => VmmEvent::Change(StateChange::Woken),
        "GUEST_PANICKED" => VmmEvent::Panicked,
        "GUEST_CRASHLOADED" => VmmEvent::CrashLoaded,
        "SHUTDOWN" => {
            let data = line.data;
            let by_guest = data.as_ref().and_then(|data| data.guest);
            let cause = data.and_then(|data| data.reason);
            // Before QEMU 4.0 there was no reason, only whether the guest wanted it.
            let cause = cause.as_deref().unwrap_or(match by_guest {
                Some(true) => "guest-shutdown",
                Some(false) | None => "host-qmp-quit",
            });
            VmmEvent::Ended(end_reason(cause))
        }
        _ => return None,
    };
    Some((at, event))
}

/// Translates QEMU's `ShutdownCause`.
fn end_reason(cause: &str) -> EndReason {
    let crashed = |what: &str| EndReason::Crashed {
        what: what.to_owned(),
    };
    match cause {
        "guest-panic" => crashed("guest panicked"),
        // QEMU runs with -no-reboot: a reset ends it, as an unrecoverable exception does on x86.
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
    use kraft_core::machine::MachineState;

    use super::*;
    use crate::event_log::state_after;

    fn parsed(text: &[u8]) -> EventLog {
        let mut log = EventLog::default();
        for line in text.split(|&byte| byte == b'\n') {
            parse(line, &mut log);
        }
        log
    }

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

    fn log(events: &[String]) -> EventLog {
        parsed(format!("{GREETING}{}", events.concat()).as_bytes())
    }

    #[test]
    fn qemu_is_ready_once_it_has_answered_the_handshake() {
        assert!(!parsed(b"").is_ready());
        let greeting = GREETING.lines().next().unwrap();
        assert!(!parsed(greeting.as_bytes()).is_ready());
        assert!(parsed(GREETING.as_bytes()).is_ready());
    }

    #[test]
    fn the_state_follows_the_events() {
        let stop = event(1, "\"event\": \"STOP\"");
        let resume = event(2, "\"event\": \"RESUME\"");
        let suspend = event(3, "\"event\": \"SUSPEND\"");
        let wakeup = event(4, "\"event\": \"WAKEUP\"");
        let state = |events: &[&String]| {
            log(&events.iter().map(|e| (*e).clone()).collect::<Vec<_>>()).state()
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
            let ending = log(&[shutdown(cause)]).ending().unwrap();
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
    fn the_time_of_the_end_is_that_of_the_event() {
        let ending = log(&[shutdown("guest-shutdown")]).ending().unwrap();
        assert_eq!(ending.at, Timestamp::from_millisecond(9250).unwrap());
    }

    #[test]
    fn a_panic_counts_whatever_ends_qemu_afterwards() {
        let panicked = event(
            8,
            "\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}",
        );
        let log = log(&[panicked, shutdown("guest-shutdown")]);
        let crashed = EndReason::Crashed {
            what: "guest panicked".to_owned(),
        };
        assert_eq!(log.ending().unwrap().reason, crashed);
        assert!(log.has_panicked());
    }

    #[test]
    fn an_event_log_can_be_stored_after_any_line_and_continued() {
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
        let whole = parsed(text.as_bytes());
        assert_eq!(whole.changes().len(), 3);
        let lines: Vec<&str> = text.lines().collect();
        for cut in 0..=lines.len() {
            let mut log = parsed(lines[..cut].join("\n").as_bytes());
            let stored = serde_json::to_vec(&log).unwrap();
            log = serde_json::from_slice(&stored).unwrap();
            for line in &lines[cut..] {
                parse(line.as_bytes(), &mut log);
            }
            assert_eq!(log, whole, "cut at {cut}");
        }
    }

    #[test]
    fn only_the_latest_changes_are_kept() {
        let changes: Vec<String> = (0..2000)
            .map(|n| {
                event(
                    n,
                    ["\"event\": \"SUSPEND\"", "\"event\": \"WAKEUP\""][usize::from(n % 2 == 1)],
                )
            })
            .collect();
        let log = log(&changes);
        assert_eq!(log.changes().len(), 256);
        assert_eq!(
            log.changes().last().unwrap().at,
            Timestamp::from_millisecond(1_999_250).unwrap()
        );
    }

    #[test]
    fn incomplete_and_invalid_lines_change_nothing() {
        let whole = log(&[event(1, "\"event\": \"STOP\"")]);
        let full = shutdown("guest-shutdown");
        let text = format!("{GREETING}{}", event(1, "\"event\": \"STOP\""));
        for cut in 0..full.trim_end().len() {
            let half = [text.as_bytes(), &full.as_bytes()[..cut]].concat();
            assert_eq!(parsed(&half), whole, "cut at {cut}");
        }
        for garbage in [
            &b"\xff\xfe\n{}\nnull\n[1]\n"[..],
            b"{\"event\": 5}\n",
            b"{\"event\": \"STOP\"}\n",
            b"{\"event\":\"STOP\",\"timestamp\":{\"seconds\":9223372036854775807,\"microseconds\":1}}",
        ] {
            assert_eq!(parsed(garbage), EventLog::default());
        }
    }
}
