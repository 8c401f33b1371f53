//! All machines of one runtime directory: listing and finding them, and reconciling their records.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::lifecycle::Health;
use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::port::PortMapping;
use kraft_sys::clock;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::driver::{Drivers, Extras, Launch, NoDriver};
use crate::health;
use crate::id::Id;
use crate::layout::{EVENTS, Layout, MachineDir};
use crate::record::{Ending, Record, RecordError};

mod create;
mod error;
mod lifecycle;
mod lock;
mod network;
mod processes;
mod restart;
mod save;
mod settings;
mod snapshots;
mod start;
mod status;
mod volumes;

pub use error::Error;
use error::similar;
pub use lifecycle::KillSignal;
pub use restart::BootStart;
pub(crate) use restart::{own_pending, take_over};
pub use save::ForkSource;
pub(crate) use save::Purpose;
pub use settings::Update;
pub use snapshots::{Snapshot, UnreadableSnapshot};
pub(crate) use start::{ENVIRONMENT, PROFILE, READY_TIMEOUT, Report, SAVED_AS};
pub use start::{StartError, StartOptions};
pub(crate) use status::{Status, exit_status, reported_ending};

/// How long a monitor may take to record an end whose reason no other process knows.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two checks whether it has.
const RECORD_INTERVAL: Duration = Duration::from_millis(5);

/// The configuration of [`Machines`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of the machines.
    pub runtime_dir: PathBuf,
    /// The command that starts a [`monitor`](crate::monitor): usually this program and a hidden
    /// argument. [`monitor::main`](crate::monitor::main) gets the arguments that are added to it.
    pub monitor: Vec<OsString>,
    /// The drivers, and the programs of their VMMs.
    pub drivers: Drivers,
    /// The maximal size of each console on disk, in bytes; at least
    /// [`MIN_CONSOLE_LIMIT`](crate::MIN_CONSOLE_LIMIT).
    pub console_limit: u64,
}

/// The machines of one runtime directory.
///
/// Any number of processes and threads may use the same directory at once.
///
/// ```
/// use kraft_machine::{DEFAULT_CONSOLE_LIMIT, Machines, Settings, driver::Drivers};
///
/// # fn main() -> Result<(), kraft_machine::Error> {
/// # let temporary = std::env::temp_dir().join(format!("kraft-{}", kraft_machine::Id::new()));
/// let machines = Machines::existing(Settings {
///     runtime_dir: temporary,
///     monitor: vec!["/proc/self/exe".into(), "__monitor".into()],
///     drivers: Drivers::default(),
///     console_limit: DEFAULT_CONSOLE_LIMIT,
/// });
/// assert!(machines.list()?.is_empty());
/// # Ok(()) }
/// ```
///
/// With a specification, for example from `kraft_core::plan`, a machine is created and run:
///
/// ```no_run
/// # fn example(
/// #     machines: kraft_machine::Machines,
/// #     spec: kraft_core::machine::MachineSpec,
/// # ) -> Result<(), kraft_machine::Error> {
/// let machine = machines.create(&spec)?;
/// let watch = machines.start(&machine.id)?;
/// let ending = watch.wait()?;
/// println!("{} ended: {:?}", machine.name, ending.reason);
/// machines.remove(&machine.id, false)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Machines {
    pub(crate) settings: Settings,
    pub(crate) layout: Layout,
}

/// A machine and its present state.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its id.
    pub id: Id,
    /// Its name, unique in the runtime directory.
    pub name: String,
    /// Its specification.
    pub spec: MachineSpec,
    /// Its ports; while it runs, with the assigned host ports.
    pub ports: Vec<PortMapping>,
    /// Its state.
    pub state: MachineState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Why it last ended; `None` while it runs.
    pub end: Option<EndReason>,
    /// How often its restart policy started it since the user did.
    pub restarts: u32,
    /// The result of its health checks, if it runs and has some.
    pub health: Option<Health>,
    /// When its restart policy starts it again, if that is due.
    pub restart_at: Option<Timestamp>,
    /// The VMM's process, while it lives.
    pub pid: Option<u32>,
    /// The monitor's process, while it lives: also while it starts the machine, or waits to do so.
    pub monitor_pid: Option<u32>,
    /// Its directory.
    pub dir: PathBuf,
    /// The file with what its VMM and its monitor printed, if it was ever started.
    pub log: PathBuf,
}

/// An entry of the list of machines.
#[derive(Debug)]
pub enum Listed {
    /// A machine.
    Machine(Box<Machine>),
    /// A machine whose directory or record cannot be read: its state is unknown.
    Unreadable(Unreadable),
}

/// A machine that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its id.
    pub id: Id,
    /// Its name, if it can be determined.
    pub name: Option<String>,
    /// Its directory.
    pub path: PathBuf,
    /// The reason.
    pub error: RecordError,
    /// Its VMM's process, if there is one.
    pub pid: Option<u32>,
}

/// Options of [`Machines::stop`].
#[derive(Debug, Clone, Copy)]
pub struct StopOptions {
    /// How long the VMM may take to exit when it is asked to, before it is killed.
    pub grace: Duration,
    /// Whether to kill it without asking.
    pub force: bool,
    /// How long the guest may take to shut down before the VMM is asked to exit; `None` for what the
    /// machine's specification says.
    pub timeout: Option<Duration>,
    /// Whether the host is shutting down: then the machine may be started again after the boot.
    pub host_down: bool,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            force: false,
            timeout: None,
            host_down: false,
        }
    }
}

impl Machines {
    /// Opens a runtime directory without creating it: if it is missing, there are no machines, and
    /// none can be created.
    pub fn existing(settings: Settings) -> Self {
        let layout = Layout::new(settings.runtime_dir.clone());
        Self { settings, layout }
    }

    /// Opens a runtime directory, and creates it if it is missing.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let machines = Self::existing(settings);
        for dir in [
            machines.layout.machines(),
            machines.layout.names(),
            machines.layout.partial(),
        ] {
            if !dir.is_dir() {
                fs::create_dir_all(&dir, 0o700)?;
            }
        }
        Ok(machines)
    }

    /// Lists all machines, oldest first: also those that cannot be read, and those whose directory
    /// was removed while their VMM runs.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for id in self.all_ids()? {
            match self.refresh(id) {
                Ok(Some(machine)) => listed.push(Listed::Machine(Box::new(machine))),
                Ok(None) => {}
                Err(error) => listed.push(Listed::Unreadable(self.unreadable(id, error))),
            }
        }
        listed.sort_by_key(|entry| match entry {
            Listed::Machine(machine) => (Some(machine.created_at), machine.id),
            Listed::Unreadable(unreadable) => (None, unreadable.id),
        });
        Ok(listed)
    }

    /// Finds a machine by its name or id, by a unique beginning of its name, or by a unique
    /// beginning of its id, in this order.
    pub fn find(&self, query: &str) -> Result<Machine, Error> {
        let id = self.resolve(query)?;
        self.get(id)
    }

    /// Returns the machine with that id.
    pub fn get(&self, id: Id) -> Result<Machine, Error> {
        match self.refresh(id) {
            Ok(Some(machine)) => Ok(machine),
            Ok(None) => Err(Error::not_found(id)),
            Err(source) => Err(Error::Unreadable { id, source }),
        }
    }

    /// Finds the id of a machine as [`find`](Self::find) does, even if the machine cannot be read.
    pub fn resolve(&self, query: &str) -> Result<Id, Error> {
        let all: Vec<(Id, String)> = self
            .all_ids()?
            .into_iter()
            .map(|id| (id, self.name_of(id).unwrap_or_default()))
            .collect();
        let exact = |(id, name): &&(Id, String)| *name == query || id.to_string() == query;
        if let Some((id, _)) = all.iter().find(exact) {
            return Ok(*id);
        }
        let beginning = |begins: &dyn Fn(Id, &str) -> bool| -> Vec<&(Id, String)> {
            all.iter()
                .filter(|(id, name)| !query.is_empty() && begins(*id, name))
                .collect()
        };
        // Names first: an id may happen to begin like a name.
        let mut begins = beginning(&|_, name| name.starts_with(query));
        if begins.is_empty() {
            begins = beginning(&|id, _| id.to_string().starts_with(query));
        }
        match begins.as_slice() {
            [(id, _)] => Ok(*id),
            [] => Err(Error::NotFound {
                query: query.to_owned(),
                similar: similar(query, all.iter().map(|(_, name)| name.as_str())),
            }),
            several => Err(Error::Ambiguous {
                query: query.to_owned(),
                candidates: several
                    .iter()
                    .map(|(id, name)| {
                        if name.is_empty() {
                            id.to_string()
                        } else {
                            name.clone()
                        }
                    })
                    .collect(),
            }),
        }
    }

    /// Returns the ids of all machines, including those whose directory was removed while their VMM
    /// runs.
    fn all_ids(&self) -> Result<Vec<Id>, Error> {
        let mut ids = self.ids()?;
        for lost in self.lost() {
            if !ids.contains(&lost) {
                ids.push(lost);
            }
        }
        Ok(ids)
    }

    /// Returns the ids of all machines that have a directory.
    fn ids(&self) -> Result<Vec<Id>, Error> {
        let dir = self.layout.machines();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            // No machine was created yet.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(e) => return Err(fs::Error::on("list", &dir)(e).into()),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(fs::Error::on("list", &dir))?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<Id>().ok()));
        }
        Ok(ids)
    }

    /// Returns a machine's name from its record, or else from the link that reserves it.
    pub fn name_of(&self, id: Id) -> Option<String> {
        if let Ok(record) = Record::load(&self.layout.machine(id)) {
            return Some(record.name);
        }
        let target = create::link_target(id);
        std::fs::read_dir(self.layout.names())
            .ok()?
            .flatten()
            .find(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == target))?
            .file_name()
            .into_string()
            .ok()
    }

    pub(crate) fn machine_dir(&self, id: Id) -> MachineDir {
        self.layout.machine(id)
    }

    fn unreadable(&self, id: Id, error: RecordError) -> Unreadable {
        Unreadable {
            id,
            name: self.name_of(id),
            path: self.layout.machine(id).path().to_owned(),
            pid: self.vmms_of(id).first().map(|vmm| vmm.pid),
            error,
        }
    }

    /// Returns the command line that the VMM of a machine would get, without creating the machine.
    ///
    /// `kernel_line` is the kernel command line.
    pub fn preview(
        &self,
        spec: &MachineSpec,
        kernel_line: &str,
    ) -> Result<Vec<OsString>, NoDriver> {
        let driver = self.settings.drivers.get(spec.platform)?;
        let configured = self.settings.drivers.configured(spec.platform);
        let program = driver.program(spec.arch, configured);
        Ok(driver.command_line(&Launch {
            id: Id::nil(),
            spec,
            kernel_line,
            events: EVENTS,
            ports: &spec.ports,
            cards: &[],
            program: &program,
            extras: Extras {
                sandbox: driver.can_be_sandboxed(&program),
                small_board: true,
            },
            saved: None,
            profile: false,
        }))
    }

    /// Reads a machine and reconciles its record if that is outdated; `None` if there is no such
    /// machine (any more).
    pub(crate) fn refresh(&self, id: Id) -> Result<Option<Machine>, RecordError> {
        let dir = self.layout.machine(id);
        let Some(mut record) = self.load(id)? else {
            return Ok(None);
        };
        if save::needs_recovery(&record)
            && let Ok(Some(_lock)) = Lock::try_exclusive(dir.path())
            && let Ok(present) = Record::load(&dir)
        {
            record = present;
            self.recover(&mut record, &dir);
        }
        let mut status = self.observe(&record, &dir);
        let deadline = Instant::now() + RECORD_TIMEOUT;
        while status.is_known_to_monitor_alone() && Instant::now() < deadline {
            std::thread::sleep(RECORD_INTERVAL);
            let Some(present) = self.load(id)? else {
                return Ok(None);
            };
            record = present;
            status = self.observe(&record, &dir);
        }
        self.revive_networks(&record, &status);
        if status.is_consistent() {
            return Ok(Some(machine(&record, &status, &dir)));
        }
        Ok(self.try_reconcile(record, status, &dir))
    }

    /// Updates the record of a machine, unless another process holds its lock, and starts a monitor if the
    /// machine needs one; `None` if it was removed.
    fn try_reconcile(
        &self,
        mut record: Record,
        mut status: Status,
        dir: &MachineDir,
    ) -> Option<Machine> {
        if status.needs_keeper().is_none()
            && let Ok(Some(_lock)) = Lock::try_exclusive(dir.path())
            && let Ok(present) = Record::load(dir)
        {
            (record, status) = self.settle_lost(present, dir)?;
        }
        // Of several, the first that gets the lock stays. If none can be started, the next access tries
        // again.
        if let Some(task) = status.needs_keeper()
            && let Err(error) = self.spawn_keeper(task, record.id)
        {
            tracing::debug!(machine = %record.id, %error, "cannot start a monitor");
        }
        Some(machine(&record, &status, dir))
    }

    /// Observes a machine and updates its record until both agree: the VMM may exit between two looks, and
    /// an end may be followed by a restart. The machine's lock is held. `None` if the machine was removed.
    pub(crate) fn settle(&self, mut record: Record, dir: &MachineDir) -> Option<(Record, Status)> {
        loop {
            let status = self.observe(&record, dir);
            let is_new = match &status {
                Status::Ended { .. } => record.run.as_ref().is_some_and(|run| run.end.is_none()),
                Status::StartLost | Status::Unrecorded { .. } => true,
                _ => false,
            };
            let (reconciled, removed) = self.reconcile(record, &status, dir);
            if removed {
                return None;
            }
            record = reconciled;
            if !is_new {
                return Some((record, status));
            }
        }
    }

    /// Updates the record of a machine that has no monitor, until both agree. What a living monitor is
    /// about to record is left to it: only a parent knows how its VMM exited.
    pub(crate) fn settle_lost(&self, record: Record, dir: &MachineDir) -> Option<(Record, Status)> {
        let status = self.observe(&record, dir);
        if status.is_consistent() {
            return Some((record, status));
        }
        self.settle(record, dir)
    }

    /// Updates the record to the observed status, and removes a machine that has ended if its
    /// specification says so. The machine's lock is held. Returns the new record, and whether the
    /// machine was removed.
    ///
    /// If the record cannot be written (a full disk), the next access determines the status again.
    pub(crate) fn reconcile(
        &self,
        mut record: Record,
        status: &Status,
        dir: &MachineDir,
    ) -> (Record, bool) {
        match status {
            Status::Ended { ending, .. } => {
                if let Some(run) = &mut record.run
                    && run.end.is_none()
                {
                    run.end = Some(ending.clone());
                    record.restarts.schedule(
                        record.spec.get().lifecycle.restart,
                        run.started_at,
                        ending,
                        Some(&run.monitor),
                    );
                    record.starting = None;
                    let _ = record.store(dir);
                }
                if record.spec.get().remove_when_ended && !record.is_suspended() {
                    // Before those who wait for the machine to be gone continue. A volume that stays is
                    // listed, and can be removed.
                    let mounts = &record.spec.get().volumes;
                    let _ = self.remove_anonymous_volumes(mounts, Some(&record.name));
                    let removed = self.remove_directory(record.id).is_ok();
                    return (record, removed);
                }
            }
            Status::StartLost => {
                record.starting = None;
                let _ = record.store(dir);
            }
            Status::Unrecorded { run } => {
                record.starting = None;
                record.restarts.done();
                record.run = Some((**run).clone());
                let _ = record.store(dir);
                // It was being restored: then it is suspended again.
                self.recover(&mut record, dir);
            }
            Status::Idle
            | Status::Starting
            | Status::Running { .. }
            | Status::Orphaned { .. }
            | Status::Restarting
            | Status::RestartLost
            | Status::Asleep
            | Status::SleepLost => {}
        }
        (record, false)
    }
}

/// Returns the public view of a machine.
fn machine(record: &Record, status: &Status, dir: &MachineDir) -> Machine {
    let run = match status {
        Status::Unrecorded { run } => Some(run.as_ref()),
        _ => record.run.as_ref(),
    };
    let ended = status.ending().cloned().or_else(|| {
        // A machine that is being started again has its last end until then.
        run.filter(|_| !status.is_alive())
            .and_then(|run| run.end.clone())
    });
    let (pid, monitor_pid) = match run {
        Some(run) if status.is_alive() => (
            run.vmm.as_ref().map(|vmm| vmm.pid),
            run.monitor.is_alive().then_some(run.monitor.pid),
        ),
        _ => {
            let starting = record.starting.as_ref().map(|starting| &starting.monitor);
            let pending = record.restarts.pending.as_ref();
            let waiting = pending.and_then(|pending| pending.monitor.as_ref());
            let monitor = starting.or(waiting).or(record.asleep.as_ref());
            let alive = monitor.filter(|monitor| monitor.is_alive());
            (None, alive.map(|monitor| monitor.pid))
        }
    };
    Machine {
        id: record.id,
        name: record.name.clone(),
        spec: record.spec.get().clone(),
        ports: match run {
            Some(run) if status.is_alive() || record.is_asleep() => run.ports.clone(),
            _ => record.spec.get().ports.clone(),
        },
        state: status.state(record),
        created_at: record.created_at,
        started_at: run.map(|run| run.started_at),
        ended_at: ended.as_ref().map(|ending: &Ending| ending.at),
        end: ended.map(|ending| ending.reason),
        restarts: record.restarts.count,
        health: record
            .spec
            .get()
            .lifecycle
            .health
            .as_ref()
            .filter(|_| status.is_alive())
            .map(|_| health::read(dir)),
        restart_at: match status {
            Status::Restarting | Status::RestartLost => {
                record.restarts.pending.as_ref().map(|it| it.due)
            }
            _ => None,
        },
        pid,
        monitor_pid,
        dir: dir.path().to_owned(),
        log: dir.vmm_log(),
    }
}

/// Returns the time now, for records.
pub(crate) fn now() -> Timestamp {
    // A time after the year 9999 cannot be represented.
    Timestamp::try_from(std::time::UNIX_EPOCH + clock::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
