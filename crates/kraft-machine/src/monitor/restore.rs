//! Restoring a suspended machine, instead of booting it.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use kraft_core::error::chain;
use kraft_core::machine::MachineSpec;

use super::identity;
use crate::console::ConsoleInput;
use crate::driver::{Driver, Launch, Saved, Vmm};
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
    /// Everything except the memory, or why it cannot be restored, when that was checked.
    state: OnceCell<Result<Vec<u8>, StartError>>,
    /// Reads and checks the state and the kernel, and then the memory, while the VMM starts.
    check: RefCell<Option<Check>>,
}

/// The check of what was saved, in a thread of its own.
#[derive(Debug)]
struct Check {
    state: Receiver<Result<Vec<u8>, SavedMachineError>>,
    memory: JoinHandle<Result<(), SavedMachineError>>,
}

impl Check {
    fn start(machine: SavedMachine, dir: PathBuf, kernel: PathBuf) -> io::Result<Self> {
        let (sender, state) = mpsc::channel();
        let memory = std::thread::Builder::new().spawn(move || {
            // Received unless the VMM failed.
            let _ = sender.send(machine.read_state(&dir, &kernel));
            machine.check_memory(&dir)
        })?;
        Ok(Self { state, memory })
    }
}

impl Source {
    pub(super) fn open(dir: &MachineDir, spec: &MachineSpec) -> Result<Self, StartError> {
        let machine = SavedMachine::load(&dir.saved()).map_err(|error| refuse(&error))?;
        let saved = Saved {
            dir: SAVED.into(),
            conditions: machine.conditions.clone(),
        };
        let id = machine.machine;
        let check = Check::start(machine, dir.saved(), spec.kernel.clone());
        let check = check.map_err(|e| StartError::System(e.to_string()))?;
        Ok(Self {
            machine: id,
            saved,
            state: OnceCell::new(),
            check: RefCell::new(Some(check)),
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
        let restored = driver
            .restore(vmm, launch, self.state()?, READY_TIMEOUT)
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
        restored.resume().map_err(|error| failed(chain(&error)))
    }

    /// Returns the state when it was checked.
    fn state(&self) -> Result<&[u8], StartError> {
        let state = self.state.get_or_init(|| {
            let received = self.check.borrow().as_ref().map(|it| it.state.recv());
            match received {
                Some(Ok(checked)) => checked.map_err(|error| refuse(&error)),
                Some(Err(_)) | None => Err(check_failed()),
            }
        });
        state.as_deref().map_err(Clone::clone)
    }

    /// Waits until the memory was checked.
    fn check(&self) -> Result<(), StartError> {
        match self.check.take().map(|check| check.memory.join()) {
            // An earlier VMM had got this far.
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(refuse(&error)),
            Some(Err(_)) => Err(check_failed()),
        }
    }
}

fn refuse(error: &SavedMachineError) -> StartError {
    StartError::Saved { why: chain(error) }
}

fn check_failed() -> StartError {
    StartError::System("the check of what was saved failed".to_owned())
}

/// Returns the error for a start that failed: another VMM than the one that saved the guest may not even
/// begin to restore it. If what was saved is damaged, that is the reason that stays.
pub(super) fn refused(error: StartError, source: Option<&Source>) -> StartError {
    let Some(source) = source else {
        return error;
    };
    if let Err(damaged) = source.state() {
        return damaged;
    }
    match error {
        StartError::Vmm { .. } | StartError::Unusable { .. } | StartError::Slow { .. } => {
            StartError::Saved {
                why: format!(
                    "{error} (it was saved with {})",
                    source.saved.conditions.vmm
                ),
            }
        }
        error => error,
    }
}
