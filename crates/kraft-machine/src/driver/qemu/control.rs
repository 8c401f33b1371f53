//! Pausing, resuming and ending QEMU, and asking it for its state.

use std::fs::File;
use std::time::Duration;

use kraft_core::machine::MachineState;
use kraft_sys::process::short_path;
use serde_json::json;

use super::qmp::{Qmp, QmpError};
use crate::driver::Action;
use crate::layout::MachineDir;

/// Has QEMU do something.
pub(super) fn control(dir: &MachineDir, action: Action, limit: Duration) -> Result<(), QmpError> {
    let mut qmp = connect(dir, limit)?;
    match action {
        Action::Pause => qmp.execute("stop").map(drop),
        Action::Resume => qmp.execute("cont").map(drop),
        Action::PowerButton => qmp.execute("system_powerdown").map(drop),
        Action::Quit => {
            // QEMU may exit before it has answered.
            let _ = qmp.execute("quit");
            Ok(())
        }
    }
}

/// Asks for the state of the guest; `None` if there is no answer in time, or one that says less
/// than the events.
pub(super) fn query_state(dir: &MachineDir, limit: Duration) -> Option<MachineState> {
    let status = connect(dir, limit).ok()?.status().ok()?;
    match status.as_str() {
        "internal-error" | "io-error" => Some(MachineState::Failed),
        "guest-panicked" => Some(MachineState::Errored),
        "running" => Some(MachineState::Running),
        "paused" => Some(MachineState::Paused),
        "suspended" => Some(MachineState::Suspended),
        _ => None,
    }
}

pub(super) fn connect(dir: &MachineDir, limit: Duration) -> Result<Qmp, QmpError> {
    let open = File::open(dir.path())?;
    Qmp::connect(&short_path(&open).join("control.sock"), limit)
}

/// Returns whether the guest has accepted a connection to a port that QEMU carries; see
/// [`Driver::has_accepted`](crate::driver::Driver::has_accepted).
pub(super) fn has_accepted(dir: &MachineDir, port: u16, limit: Duration) -> Option<bool> {
    let mut qmp = connect(dir, limit).ok()?;
    let command = json!({"command-line": "info usernet"});
    let table = qmp.execute_with("human-monitor-command", &command).ok()?;
    Some(is_established(table.as_str()?, port))
}

/// Returns whether a table of connections of the user-mode network has one that a port of the guest
/// accepted:
///
/// ```text
///   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
///   TCP[ESTABLISHED]   20       127.0.0.1  8080       10.0.2.15    80     0     0
/// ```
fn is_established(table: &str, port: u16) -> bool {
    let port = port.to_string();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.first() == Some(&"TCP[ESTABLISHED]") && words.get(5) == Some(&port.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::is_established;

    #[test]
    fn only_a_connection_that_the_guest_accepted_counts() {
        let table = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port \
            RecvQ SendQ\r\n  TCP[SYN_SENT]  20  127.0.0.1 8081 10.0.2.15 81 0 0\r\n  TCP[ESTABLISHED]  21  \
            127.0.0.1 8080 10.0.2.15 80 0 0\r\n  TCP[HOST_FORWARD]  15  127.0.0.1 8082 10.0.2.15 82 0 0\r\n";
        let found: Vec<u16> = (78..84)
            .filter(|port| is_established(table, *port))
            .collect();
        assert_eq!(found, [80]);
    }
}
