//! Watching one run of a machine until its end, even if it is removed then.
//!
//! A watch keeps the machine's directory open and holds a shared lock; the process that removes the
//! machine waits (for a limited time) for these locks, so that the end can still be read.

use std::fs::File;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_sys::lock::Lock;
use kraft_sys::process::{Process, short_path};

use crate::console::ConsoleInput;
use crate::driver::GuestTimes;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::logs::{Logs, LogsOptions};
use crate::machines::{Error, Machine, Machines, Status};
use crate::record::{Ending, Record};

/// How long a monitor may take to record an end before the status is determined without it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The interval of polling where waiting is not possible.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The interval of looking at a machine that is about to be started again.
const RESTART_INTERVAL: Duration = Duration::from_millis(50);

/// A watch over one run of a machine.
///
/// ```no_run
/// # fn example(machines: kraft_machine::Machines) -> Result<(), kraft_machine::Error> {
/// let machine = machines.find("web")?;
/// let watch = machines.start(&machine.id)?;
/// println!("exit code {}", watch.wait()?.reason.exit_code());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Watch {
    machines: Machines,
    id: Id,
    name: String,
    open: File,
    _shared: Lock,
}

/// When a machine reached the steps of its boot, by the clock of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTimes {
    /// When the process of its VMM was started.
    pub vmm: Timestamp,
    /// What the VMM knows about the guest.
    pub guest: GuestTimes,
}

impl Machines {
    /// Starts watching a machine.
    pub fn watch(&self, id: &Id) -> Result<Watch, Error> {
        let machine = self.get(*id)?;
        let dir = self.layout.machine(*id);
        let open = File::open(dir.path()).map_err(Error::on("open the machine's directory"));
        let open = open.map_err(|error| self.unless_removed(*id, error))?;
        let shared = Lock::shared(&dir.watchers());
        let shared = shared.map_err(|error| self.unless_removed(*id, error.into()))?;
        Ok(Watch {
            machines: self.clone(),
            id: *id,
            name: machine.name,
            open,
            _shared: shared,
        })
    }

    /// Returns the error for a machine that was removed meanwhile, or the given one.
    fn unless_removed(&self, id: Id, error: Error) -> Error {
        if self.layout.machine(id).path().exists() {
            error
        } else {
            Error::not_found(id)
        }
    }

    /// Waits for the end of a machine that was started and returns it; immediately if it has ended.
    /// Any number of processes may wait.
    pub fn wait(&self, id: &Id) -> Result<Ending, Error> {
        self.watch(id)?.wait()
    }

    /// Opens the output of a machine.
    pub fn logs(&self, id: &Id, options: LogsOptions) -> Result<Logs, Error> {
        self.watch(id)?.logs(options)
    }
}

impl Watch {
    /// Returns the id of the machine.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Returns the present state of the machine; an error once it is removed.
    pub fn machine(&self) -> Result<Machine, Error> {
        self.machines.get(self.id)
    }

    /// Opens the output of the machine in this run.
    pub fn logs(&self, options: LogsOptions) -> Result<Logs, Error> {
        Logs::open(self.machines.clone(), &self.record()?, &self.dir(), options)
    }

    /// Returns when the machine reached the steps of its boot, as far as it was started with
    /// [`StartOptions::profile`](crate::StartOptions::profile) and has reached them; `None` if it
    /// was never started.
    pub fn boot_times(&self) -> Result<Option<BootTimes>, Error> {
        let record = self.record()?;
        let Some(run) = &record.run else {
            return Ok(None);
        };
        let driver = self.machines.driver(&record);
        let guest = driver.map(|driver| driver.boot_times(&self.dir(), record.spec.get().arch));
        Ok(Some(BootTimes {
            vmm: run.started_at,
            guest: guest.unwrap_or_default(),
        }))
    }

    /// Opens the input of the machine's console; an error if it does not run.
    pub fn input(&self) -> Result<ConsoleInput, Error> {
        let record = self.record()?;
        ConsoleInput::open(&self.dir().console(), record.spec.get())
            .map_err(Error::on("open the machine's console for input"))
    }

    /// Waits for the end: if the machine is started again by its restart policy, that of its last
    /// run.
    pub fn wait(&self) -> Result<Ending, Error> {
        loop {
            if let Some(ending) = self.wait_timeout(Duration::from_hours(1))? {
                return Ok(ending);
            }
        }
    }

    /// Waits for the end, at most for `limit`.
    ///
    /// Returns when the end is recorded and, for a machine that is removed after its end, when it
    /// is not listed any more.
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Ending>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let record = self.record()?;
            let status = self.machines.observe(&record, &self.dir());
            let end = record.run.as_ref().and_then(|run| run.end.clone());
            match (status, end) {
                (Status::Idle | Status::Ended { .. }, Some(end)) => {
                    if record.spec.get().remove_when_ended && !record.is_suspended() {
                        self.wait_until_removed();
                    }
                    return Ok(Some(end));
                }
                (Status::Idle, None) => {
                    return Err(Error::NeverStarted {
                        name: self.name.clone(),
                    });
                }
                (Status::Running { .. } | Status::Orphaned { .. }, _) => {
                    // Starts a monitor, if there is none.
                    let _ = self.machines.refresh(self.id);
                    let vmm = record.run.as_ref().and_then(|run| run.vmm.as_ref());
                    let process = vmm.map(Process::open).transpose();
                    if let Some(process) = process
                        .map_err(Error::on("open the VMM's process"))?
                        .flatten()
                    {
                        let left = deadline.saturating_duration_since(Instant::now());
                        process
                            .wait(Some(left))
                            .map_err(Error::on("wait for the VMM"))?;
                    }
                }
                (Status::Ended { ending, .. }, None) => {
                    if let Some(ending) = self.until_recorded(ending) {
                        return Ok(Some(ending));
                    }
                }
                (Status::Starting, _) => std::thread::sleep(POLL_INTERVAL),
                (
                    Status::Restarting | Status::RestartLost | Status::Asleep | Status::SleepLost,
                    _,
                ) => {
                    let _ = self.machines.refresh(self.id);
                    let left = deadline.saturating_duration_since(Instant::now());
                    std::thread::sleep(RESTART_INTERVAL.min(left));
                }
                (Status::StartLost | Status::Unrecorded { .. }, _) => {
                    let _ = self.machines.refresh(self.id);
                    std::thread::sleep(POLL_INTERVAL);
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Waits until the monitor, which got the VMM's exit status, has recorded the end; `None` if the
    /// record has changed. If it does not, the observed end is returned.
    fn until_recorded(&self, observed: Ending) -> Option<Ending> {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            // Reconciles the record if no other process will.
            let _ = self.machines.refresh(self.id);
            match self.record() {
                Ok(record) => {
                    if record.run.is_some_and(|run| run.end.is_some()) {
                        return None;
                    }
                }
                Err(_) => return Some(observed),
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Some(observed)
    }

    fn wait_until_removed(&self) {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline && self.machines.machine_dir(self.id).path().exists() {
            let _ = self.machines.refresh(self.id);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn record(&self) -> Result<Record, Error> {
        let id = self.id;
        // It may be removed before this watch began, or did not wait for it any longer.
        Record::load(&self.dir()).map_err(|source| {
            self.machines
                .unless_removed(id, Error::Unreadable { id, source })
        })
    }

    /// Returns the directory, which may have been moved.
    fn dir(&self) -> MachineDir {
        MachineDir::new(short_path(&self.open))
    }
}
