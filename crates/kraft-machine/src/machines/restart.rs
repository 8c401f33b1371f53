//! Restarting machines: by their policies, and after a boot of the host.

use kraft_core::machine::EndReason;
use kraft_sys::lock::Lock;
use kraft_sys::process::Identity;

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Error, Listed, Machines};
use crate::record::Record;
use crate::restart::Pending;

/// A machine that was started because the host has booted.
#[derive(Debug)]
pub struct BootStart {
    /// Its name.
    pub name: String,
    /// The outcome.
    pub started: Result<(), Error>,
}

impl Machines {
    /// Starts the machines that an earlier boot of the host left and whose restart policy says so:
    /// with `always` all that were ever started, with the other policies those that the user has
    /// not stopped. Returns each with the outcome of its start.
    ///
    /// Machines that were started since the boot are left alone, so this may be called at any time.
    ///
    /// ```no_run
    /// # fn example(machines: kraft_machine::Machines) -> Result<(), kraft_machine::Error> {
    /// for machine in machines.start_after_boot()? {
    ///     println!("{}: {}", machine.name, machine.started.is_ok());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn start_after_boot(&self) -> Result<Vec<BootStart>, Error> {
        let mut outcomes = Vec::new();
        for listed in self.list()? {
            // One that cannot be read is reported by every listing.
            let Listed::Machine(machine) = listed else {
                continue;
            };
            if !machine.state.is_up() && self.is_due_after_boot(machine.id) {
                outcomes.push(BootStart {
                    started: self.start(&machine.id).map(drop),
                    name: machine.name,
                });
            }
        }
        Ok(outcomes)
    }

    fn is_due_after_boot(&self, id: Id) -> bool {
        let Ok(Some(record)) = self.load(id) else {
            return false;
        };
        let Some(run) = &record.run else {
            return false;
        };
        let policy = record.spec.get().lifecycle.restart;
        let reason = run.end.as_ref().map(|end| &end.reason);
        run.monitor.is_from_another_boot()
            && policy.restarts_at_boot(
                reason.unwrap_or(&EndReason::HostDown),
                record.restarts.count,
                record.restarts.stopped,
            )
    }
}

/// Takes over a restart whose monitor is gone; `false` if it is not due any more, or another
/// monitor was first. The current process is the monitor.
pub(crate) fn take_over(dir: &MachineDir) -> Result<bool, Box<dyn std::error::Error>> {
    let _lock = Lock::exclusive(dir.path())?;
    let mut record = Record::load(dir)?;
    let Some(pending) = &mut record.restarts.pending else {
        return Ok(false);
    };
    if pending.is_handled() {
        return Ok(false);
    }
    pending.monitor = Identity::me();
    record.store(dir)?;
    Ok(true)
}

/// Returns the restart that this process waits for; `None` if there is none any more.
pub(crate) fn own_pending(dir: &MachineDir) -> Option<Pending> {
    let pending = Record::load(dir).ok()?.restarts.pending?;
    (pending.monitor == Identity::me()).then_some(pending)
}
