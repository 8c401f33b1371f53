//! The event log of a Firecracker, which kraft writes itself: Firecracker reports nothing.
//!
//! ```text
//! {"at":"2026-01-31T12:00:00Z","event":"ready"}
//! {"at":"2026-01-31T12:00:05Z","event":"paused"}
//! ```

use std::io::{self, Write};

use jiff::Timestamp;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use crate::event_log::{EventLog, StateChange, VmmEvent};
use crate::layout::MachineDir;
use crate::machines::now;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The guest was started.
    Ready,
    /// Its processors were stopped.
    Paused,
    /// Its processors were started again.
    Resumed,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: Timestamp,
    event: Event,
}

/// Appends an event that happened now.
pub(super) fn append(dir: &MachineDir, event: Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Line { at: now(), event })?;
    line.push(b'\n');
    let mut file = fs::append(&dir.events()).map_err(io::Error::from)?;
    // One write, so that lines of several processes are not mixed.
    file.write_all(&line)
}

/// Parses a line and records its event. Lines that are incomplete or not understood are skipped.
pub(super) fn parse(line: &[u8], log: &mut EventLog) {
    let Ok(Line { at, event }) = serde_json::from_slice(line.trim_ascii()) else {
        return;
    };
    match event {
        Event::Ready => log.set_ready(),
        Event::Paused => log.record(at, VmmEvent::Change(StateChange::Paused)),
        Event::Resumed => log.record(at, VmmEvent::Change(StateChange::Resumed)),
    }
}

#[cfg(test)]
mod tests {
    use kraft_core::machine::MachineState;

    use super::*;
    use crate::driver::Driver;
    use crate::driver::firecracker::Firecracker;

    #[test]
    fn events_are_read_as_they_were_written_and_invalid_lines_skipped() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = MachineDir::new(temporary.path().to_owned());
        let state = || Firecracker.events(&dir);
        assert!(!state().is_ready());
        append(&dir, Event::Ready).unwrap();
        assert!(state().is_ready());
        append(&dir, Event::Paused).unwrap();
        assert_eq!(state().state(), MachineState::Paused);
        let mut file = fs::append(&dir.events()).unwrap();
        file.write_all(b"\xff{}\n{\"event\":\"paused\"}\n").unwrap();
        append(&dir, Event::Resumed).unwrap();
        file.write_all(b"{\"at\":\"2026-01").unwrap();
        assert_eq!(state().state(), MachineState::Running);
        assert_eq!(state().changes().len(), 2);
    }
}
