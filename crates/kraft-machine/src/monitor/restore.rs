//! Restoring a suspended machine, instead of booting it.

use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use kraft_core::error::chain;
use kraft_core::machine::MachineSpec;

use super::identity;
use crate::console::ConsoleInput;
use crate::driver::{Action, Driver, Launch, Saved, Vmm};
use crate::id::Id;
use crate::layout::{MachineDir, SAVED};
use crate::machines::{READY_TIMEOUT, StartError};
use crate::saved::{SavedMachine, SavedMachineError};

/// How long a VMM may take to pass on the beginning of what a restored guest learns.
const PASS_TIMEOUT: Duration = Duration::from_secs(1);

/// What a suspended machine is restored from.
#[derive(Debug)]
pub(super) struct Source {
    /// The machine that was saved.
    machine: Id,
    pub(super) saved: Saved,
    state: Vec<u8>,
    /// Checks the memory, while the VMM starts.
    check: Mutex<Option<JoinHandle<Result<(), SavedMachineError>>>>,
}

impl Source {
    pub(super) fn open(dir: &MachineDir, spec: &MachineSpec) -> Result<Self, StartError> {
        let failed = |error: SavedMachineError| StartError::Saved { why: chain(&error) };
        let machine = SavedMachine::load(&dir.saved()).map_err(failed)?;
        let state = machine
            .read_state(&dir.saved(), &spec.kernel)
            .map_err(failed)?;
        let saved = Saved {
            dir: SAVED.into(),
            conditions: machine.conditions.clone(),
        };
        let (dir, id) = (dir.saved(), machine.machine);
        let check = std::thread::Builder::new().spawn(move || machine.check_memory(&dir));
        let check = check.map_err(|e| StartError::System(e.to_string()))?;
        Ok(Self {
            machine: id,
            saved,
            state,
            check: Mutex::new(Some(check)),
        })
    }

    /// Has a VMM that is ready restore the guest and continue it, after it was sent what it has to know. `name` is that of the machine.
    pub(super) fn restore(
        &self,
        driver: &dyn Driver,
        launch: &Launch<'_>,
        vmm: &Vmm<'_>,
        name: &str,
    ) -> Result<(), StartError> {
        let failed = |why| StartError::Saved { why };
        driver
            .restore(vmm, launch, &self.state, READY_TIMEOUT)
            .map_err(|error| {
                let (why, log) = (chain(&error), vmm.dir.read_vmm_log());
                failed(match log.trim() {
                    "" => why,
                    log => format!("{why}: {log}"),
                })
            })?;
        self.check()?;
        let other = (self.machine != launch.id).then_some(name);
        let text = identity::text(launch.id, launch.spec, other);
        // A guest that cannot be reached continues as it was.
        let _ = ConsoleInput::open(&vmm.dir.console(), launch.spec)
            .and_then(|mut input| input.restored(&text, PASS_TIMEOUT));
        driver
            .control(vmm, Action::Resume, READY_TIMEOUT)
            .map_err(|error| failed(chain(&error)))
    }

    /// Waits until the memory was checked.
    fn check(&self) -> Result<(), StartError> {
        let check = self.check.lock().ok().and_then(|mut check| check.take());
        let Some(check) = check else {
            return Ok(());
        };
        match check.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StartError::Saved { why: chain(&error) }),
            Err(_) => Err(StartError::System(
                "the check of the memory failed".to_owned(),
            )),
        }
    }
}

/// Returns the error for a VMM that failed: another VMM than the one that saved the guest may not
/// even begin to restore it.
pub(super) fn refused(error: StartError, source: Option<&Source>) -> StartError {
    match (error, source) {
        (
            error
            @ (StartError::Vmm { .. } | StartError::Unusable { .. } | StartError::Slow { .. }),
            Some(source),
        ) => StartError::Saved {
            why: format!(
                "{error} (it was saved with {})",
                source.saved.conditions.vmm
            ),
        },
        (error, _) => error,
    }
}
