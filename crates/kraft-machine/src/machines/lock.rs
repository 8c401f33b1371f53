//! Taking the lock of a machine, if need be from a start in progress.

use std::time::{Duration, Instant};

use kraft_sys::lock::Lock;
use kraft_sys::process::Identity;

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::processes::{kill, kill_vmms};
use crate::machines::{Error, Machines};
use crate::record::Run;

/// How long another command may hold the lock of a machine.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The interval of attempts to take a lock.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

impl Machines {
    /// Takes a machine's lock, and returns whether a start was ended for that: a start in progress
    /// may take as long as `grace`. Then its VMM is killed and, if that does not help, its monitor.
    ///
    /// With `None`, a start is not ended.
    pub(super) fn acquire_lock(
        &self,
        id: Id,
        grace: Option<Duration>,
    ) -> Result<(Lock, bool), Error> {
        let dir = self.layout.machine(id);
        let begun = Instant::now();
        let mut stage = Stage::Wait;
        let mut reported = false;
        loop {
            match Lock::try_exclusive(dir.path()) {
                Ok(Some(lock)) => return Ok((lock, stage != Stage::Wait)),
                Ok(None) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(match stage {
                        Stage::Wait => Error::not_found(id),
                        Stage::VmmKilled | Stage::MonitorKilled => Error::EndedAndRemoved { id },
                    });
                }
                Err(e) => {
                    let source = e.into();
                    return Err(Error::Unreadable { id, source });
                }
            }
            if !std::mem::replace(&mut reported, true) {
                tracing::debug!(machine = %id, "waiting for the machine's lock");
            }
            let waited = begun.elapsed();
            if waited > TIMEOUT {
                return Err(Error::Busy {
                    name: self.name_of(id).unwrap_or_else(|| id.to_string()),
                });
            }
            let next = Stage::after(grace, waited);
            if next != stage && self.is_starting(id, &dir) {
                stage = next;
                tracing::debug!(machine = %id, ?stage, "ending the start of the machine");
                self.end_start(id, stage)?;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Takes the lock of all machines, under which names and ports are assigned.
    pub(crate) fn lock_all(&self) -> Result<Lock, kraft_sys::fs::Error> {
        let dir = self.layout.machines();
        if let Some(lock) = Lock::try_exclusive(&dir)? {
            return Ok(lock);
        }
        tracing::debug!(dir = %dir.display(), "waiting for the lock of all machines");
        Lock::exclusive(&dir)
    }

    /// Returns whether a machine is being started. One whose record cannot be read may be.
    fn is_starting(&self, id: Id, dir: &MachineDir) -> bool {
        let Ok(Some(record)) = self.load(id) else {
            return true;
        };
        let driver = self.driver(&record);
        let starting = record.starting.as_ref();
        let starting = starting.is_some_and(|starting| starting.monitor.is_alive());
        let becomes_ready = |run: &Run| {
            run.end.is_none()
                && run.monitor.is_alive()
                && (run.restoring.is_some()
                    || driver.is_some_and(|driver| !driver.events(dir).is_ready()))
        };
        // Before it changes the record, the monitor holds the lock and looks at the VMM's program.
        let before = || {
            let monitors: Vec<Identity> = self.monitors_of(id);
            !monitors.is_empty() && self.vmms_of(id).is_empty()
        };
        starting || record.run.as_ref().is_some_and(becomes_ready) || before()
    }

    fn end_start(&self, id: Id, stage: Stage) -> Result<(), Error> {
        let name = self.name_of(id).unwrap_or_else(|| id.to_string());
        kill_vmms(&self.vmms_of(id), &name)?;
        if stage == Stage::MonitorKilled {
            for monitor in self.monitors_of(id) {
                kill(&monitor).map_err(Error::on("end the monitor"))?;
            }
            // It may have started another one.
            kill_vmms(&self.vmms_of(id), &name)?;
        }
        Ok(())
    }
}

/// What was done to end a start in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Wait,
    VmmKilled,
    MonitorKilled,
}

impl Stage {
    fn after(grace: Option<Duration>, waited: Duration) -> Self {
        /// How long the monitor may take to record that its VMM was killed.
        const RECORD_TIMEOUT: Duration = Duration::from_millis(500);
        match grace {
            None => Self::Wait,
            Some(grace) if waited < grace => Self::Wait,
            Some(grace) if waited < grace + RECORD_TIMEOUT => Self::VmmKilled,
            Some(_) => Self::MonitorKilled,
        }
    }
}
