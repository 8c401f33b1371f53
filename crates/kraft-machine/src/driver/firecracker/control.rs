//! Pausing and resuming a Firecracker's guest, and asking for its state.

use std::time::Duration;

use kraft_core::machine::MachineState;

use super::api::{Api, ApiError};
use super::events::{self, Event};
use super::request::{Action as Do, Request, Vm};
use crate::driver::{Action, ControlError};
use crate::layout::MachineDir;

/// Has Firecracker do something.
pub(super) fn control(
    dir: &MachineDir,
    action: Action,
    limit: Duration,
) -> Result<(), ControlError> {
    let (request, event) = match action {
        Action::Pause => (Request::Vm(Vm::Paused), Some(Event::Paused)),
        Action::Resume => (Request::Vm(Vm::Resumed), Some(Event::Resumed)),
        // It has no power button: a guest with a keyboard sees Ctrl, Alt and Del.
        Action::PowerButton => (Request::Action(Do::SendCtrlAltDel), None),
        // It exits on a signal only.
        Action::Quit => return Err(ControlError::Unsupported),
    };
    send(dir, &request, limit).map_err(|error| ControlError::Vmm(error.into()))?;
    if let Some(event) = event
        && let Err(error) = events::append(dir, event)
    {
        // The state is asked for: only the list of events lacks it.
        tracing::debug!(%error, "cannot record an event");
    }
    Ok(())
}

fn send(dir: &MachineDir, request: &Request<'_>, limit: Duration) -> Result<(), ApiError> {
    Api::connect(dir, limit)?.send(request)
}

/// Asks for the state of the guest; `None` if there is no answer in time.
pub(super) fn query_state(dir: &MachineDir, limit: Duration) -> Option<MachineState> {
    let instance = Api::connect(dir, limit).ok()?.instance().ok()?;
    match instance.state.as_str() {
        "Running" => Some(MachineState::Running),
        "Paused" => Some(MachineState::Paused),
        "Not started" => Some(MachineState::Created),
        _ => None,
    }
}
