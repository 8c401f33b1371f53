//! Watching one run of a machine until its end, even if it removes itself then.
//!
//! A watch keeps the machine's directory open and shares the lock of its `diary.in`; whoever
//! removes the machine waits (for a while) until no one does, so that the end can still be read.

use std::fs::File;
use std::time::{Duration, Instant};

use kraft_sys::lock::Lock;
use kraft_sys::process::{Process, short_path};

use crate::id::Id;
use crate::layout::MachineDir;
use crate::logs::{Logs, LogsOptions};
use crate::machines::{Error, Machine, Machines, Truth, truth};
use crate::record::{Ending, Record};

/// How long a monitor may take to write an end down before we look for ourselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often we look for what cannot be waited for.
const STEP: Duration = Duration::from_millis(2);

/// A machine under watch.
#[derive(Debug)]
pub struct Watch {
    machines: Machines,
    id: Id,
    name: String,
    open: File,
    _shared: Lock,
}

impl Machines {
    /// Begins to watch a machine.
    pub fn watch(&self, id: &Id) -> Result<Watch, Error> {
        let machine = self.get(*id)?;
        let dir = self.layout.machine(*id);
        let open = File::open(dir.path()).map_err(Error::on("open the machine's directory"))?;
        Ok(Watch {
            machines: self.clone(),
            id: *id,
            name: machine.name,
            open,
            _shared: Lock::shared(&dir.diary_in())?,
        })
    }

    /// Waits for the end of a machine that was started, and returns how it ended; at once if it
    /// has ended. Any number of processes may wait.
    pub fn wait(&self, id: &Id) -> Result<Ending, Error> {
        self.watch(id)?.wait()
    }

    /// Opens what a machine printed.
    pub fn logs(&self, id: &Id, options: LogsOptions) -> Result<Logs, Error> {
        self.watch(id)?.logs(options)
    }
}

impl Watch {
    /// Returns the id of the machine.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Returns the machine as it is now; an error once it is removed.
    pub fn machine(&self) -> Result<Machine, Error> {
        self.machines.get(self.id)
    }

    /// Opens what the machine printed in this run.
    pub fn logs(&self, options: LogsOptions) -> Result<Logs, Error> {
        Logs::open(self.machines.clone(), &self.record()?, &self.dir(), options)
    }

    /// Waits for the end.
    pub fn wait(&self) -> Result<Ending, Error> {
        loop {
            if let Some(ending) = self.wait_timeout(Duration::from_hours(1))? {
                return Ok(ending);
            }
        }
    }

    /// Waits for the end, at most as long as told.
    ///
    /// Returns when the end is on record and, for a machine that removes itself, when it is off
    /// the list.
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Ending>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let record = self.record()?;
            let truth = truth(&record, &self.dir());
            let end = record.run.as_ref().and_then(|run| run.end.clone());
            match (truth, end) {
                (Truth::Idle | Truth::Ended { .. }, Some(end)) => {
                    if record.spec.get().remove_when_ended {
                        self.wait_until_off_the_list();
                    }
                    return Ok(Some(end));
                }
                (Truth::Idle, None) => {
                    return Err(Error::NeverStarted {
                        name: self.name.clone(),
                    });
                }
                (Truth::Alive { .. } | Truth::Orphaned { .. }, _) => {
                    // Has somebody adopt it, if need be.
                    let _ = self.machines.look(self.id);
                    let vmm = record.run.as_ref().and_then(|run| run.vmm.as_ref());
                    let process = vmm.map(Process::open).transpose();
                    if let Some(process) =
                        process.map_err(Error::on("look after the VMM"))?.flatten()
                    {
                        let left = deadline.saturating_duration_since(Instant::now());
                        process
                            .wait(Some(left))
                            .map_err(Error::on("wait for the VMM"))?;
                    }
                }
                (Truth::Ended { ending, .. }, None) => {
                    if let Some(ending) = self.until_recorded(ending) {
                        return Ok(Some(ending));
                    }
                }
                (Truth::Starting, _) => std::thread::sleep(STEP),
                (Truth::NeverRan | Truth::Found { .. }, _) => {
                    let _ = self.machines.look(self.id);
                    std::thread::sleep(STEP);
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Waits until the monitor, which got the VMM's exit status, has written the end down; if it
    /// does not, our own conclusion stands. `None` if there is a record to look at again.
    fn until_recorded(&self, concluded: Ending) -> Option<Ending> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // Mends it if nobody else will.
            let _ = self.machines.look(self.id);
            match self.record() {
                Ok(record) => {
                    if record.run.is_some_and(|run| run.end.is_some()) {
                        return None;
                    }
                }
                Err(_) => return Some(concluded),
            }
            std::thread::sleep(STEP);
        }
        Some(concluded)
    }

    fn wait_until_off_the_list(&self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.machines.machine_dir(self.id).path().exists() {
            let _ = self.machines.look(self.id);
            std::thread::sleep(STEP);
        }
    }

    fn record(&self) -> Result<Record, Error> {
        Record::load(&self.dir()).map_err(|source| Error::Unreadable {
            id: self.id,
            source,
        })
    }

    /// Returns the directory, wherever it was moved to.
    fn dir(&self) -> MachineDir {
        MachineDir::new(short_path(&self.open))
    }
}
