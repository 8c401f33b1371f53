//! Pausing, resuming and ending QEMU, and asking it for its state.

use std::fs::File;
use std::time::Duration;

use kraft_core::machine::MachineState;
use kraft_sys::process::short_path;

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
