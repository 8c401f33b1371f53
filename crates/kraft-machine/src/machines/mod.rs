//! All machines of one runtime directory: what one looks like from outside, listing and finding
//! them, and bringing a record up to the truth.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::port::PortMapping;
use kraft_sys::clock;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::id::Id;
use crate::layout::{Layout, MachineDir};
use crate::record::{Ending, Record, RecordError};

mod act;
mod create;
mod error;
mod lost;
mod start;
mod truth;

pub use error::Error;
use error::near;
pub use start::StartError;
pub(crate) use start::{Started, attend, report};
pub(crate) use truth::{Truth, read_diary, truth, vmm_log, written_ending};

/// What this room needs to know from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the machines live; made if it is missing.
    pub runtime_dir: PathBuf,
    /// The words that start this very program as a [`monitor`](crate::monitor): its path, then
    /// the hidden word. [`monitor::main`](crate::monitor::main) gets what follows them.
    pub monitor: Vec<OsString>,
    /// The QEMU to use instead of the usual one; may have arguments after blanks.
    pub qemu: Option<String>,
    /// The most that the console of each machine takes on disk, in bytes; at least
    /// [`LEAST_CONSOLE_LIMIT`](crate::LEAST_CONSOLE_LIMIT).
    pub console_limit: u64,
}

/// The machines of one runtime directory.
#[derive(Debug, Clone)]
pub struct Machines {
    pub(crate) settings: Settings,
    pub(crate) layout: Layout,
}

/// A machine, as it is at the moment of looking.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its identity.
    pub id: Id,
    /// Its name, unique in the runtime directory.
    pub name: String,
    /// What it was made from.
    pub spec: MachineSpec,
    /// Its ports; while it runs, with those allocated that the specification leaves open.
    pub ports: Vec<PortMapping>,
    /// What it does.
    pub state: MachineState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Why it last ended; `None` while it runs.
    pub end: Option<EndReason>,
    /// The VMM's process, while it lives.
    pub pid: Option<u32>,
    /// The monitor's process, while it lives: also while it starts the machine.
    pub monitor_pid: Option<u32>,
    /// Its directory.
    pub dir: PathBuf,
}

/// An entry of the list of machines.
#[derive(Debug)]
pub enum Listed {
    /// A machine.
    Machine(Box<Machine>),
    /// A machine whose directory or record cannot be read: its state is unknown.
    Unreadable(Unreadable),
}

/// A machine about which nothing can be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its identity.
    pub id: Id,
    /// Its name, if that can be told.
    pub name: Option<String>,
    /// Its directory.
    pub path: PathBuf,
    /// What is wrong.
    pub error: RecordError,
    /// Its VMM's process, if one lives.
    pub pid: Option<u32>,
}

/// How a machine is stopped.
#[derive(Debug, Clone, Copy)]
pub struct StopOptions {
    /// How long the VMM may take to end when it is asked to, before it is killed.
    pub grace: Duration,
    /// Kill it at once.
    pub force: bool,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            force: false,
        }
    }
}

impl Machines {
    /// Opens the machines of a runtime directory that there may be: where it is missing, there are
    /// none, and none can be made.
    pub fn existing(settings: Settings) -> Self {
        let layout = Layout::new(settings.runtime_dir.clone());
        Self { settings, layout }
    }

    /// Opens the machines of a runtime directory, which is made if it is missing.
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

    /// Returns every machine, oldest first. One that cannot be read hides no other, and one whose
    /// directory was removed is listed as long as its VMM runs.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for id in self.all_ids()? {
            match self.look(id) {
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

    /// Finds a machine by its name or id, by a beginning that no other name has, or by a beginning
    /// that no other id has; in this order.
    pub fn find(&self, word: &str) -> Result<Machine, Error> {
        let id = self.resolve(word)?;
        self.get(id)
    }

    /// Returns the machine with that id.
    pub fn get(&self, id: Id) -> Result<Machine, Error> {
        match self.look(id) {
            Ok(Some(machine)) => Ok(machine),
            Ok(None) => Err(Error::NotFound {
                word: id.to_string(),
                near: Vec::new(),
            }),
            Err(source) => Err(Error::Unreadable { id, source }),
        }
    }

    /// Finds the id that a word means, even if nothing else can be read about the machine.
    pub fn resolve(&self, word: &str) -> Result<Id, Error> {
        let all: Vec<(Id, String)> = self
            .all_ids()?
            .into_iter()
            .map(|id| (id, self.name_of(id).unwrap_or_default()))
            .collect();
        let exact = |(id, name): &&(Id, String)| *name == word || id.to_string() == word;
        if let Some((id, _)) = all.iter().find(exact) {
            return Ok(*id);
        }
        let beginning = |begins: &dyn Fn(Id, &str) -> bool| -> Vec<&(Id, String)> {
            all.iter()
                .filter(|(id, name)| !word.is_empty() && begins(*id, name))
                .collect()
        };
        // Names first: an id that happens to begin like a name must not be in its way.
        let mut begins = beginning(&|_, name| name.starts_with(word));
        if begins.is_empty() {
            begins = beginning(&|id, _| id.to_string().starts_with(word));
        }
        match begins.as_slice() {
            [(id, _)] => Ok(*id),
            [] => Err(Error::NotFound {
                word: word.to_owned(),
                near: near(word, all.iter().map(|(_, name)| name.as_str())),
            }),
            several => Err(Error::Ambiguous {
                word: word.to_owned(),
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

    /// Returns the ids of all machines, also of those whose directory was removed under their VMM.
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
            // Nothing was made here yet.
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

    /// Returns a machine's name: from its record, or else from the link that reserves it.
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
            pid: lost::vmms_of(id).first().map(|vmm| vmm.pid),
            error,
        }
    }

    /// Looks at a machine and mends its record if that is behind the truth; `None` if there is no
    /// such machine, or not any more.
    pub(crate) fn look(&self, id: Id) -> Result<Option<Machine>, RecordError> {
        let dir = self.layout.machine(id);
        let Some(record) = self.load(id)? else {
            return Ok(None);
        };
        let truth = truth(&record, &dir);
        if truth.is_settled() {
            return Ok(Some(machine(&record, &truth, &dir)));
        }
        Ok(self.mend(&record, &truth, &dir))
    }

    /// Brings a record up to the truth, unless somebody is at work on the machine.
    fn mend(&self, record: &Record, truth: &Truth, dir: &MachineDir) -> Option<Machine> {
        if let Truth::Orphaned { .. } = truth {
            // It needs somebody who waits for its end. Whoever is first with the lock becomes
            // that; failing only means that the next look tries again.
            let _ = self.spawn_adopter(record.id);
        } else if let Ok(Some(lock)) = Lock::try_exclusive(dir.path())
            && let Ok(record) = Record::load(dir)
        {
            let truth = self::truth(&record, dir);
            if truth.is_settled() {
                return Some(machine(&record, &truth, dir));
            }
            let (record, removed) = self.settle(record, &truth, dir);
            drop(lock);
            if removed {
                return None;
            }
            return Some(machine(&record, &truth, dir));
        }
        Some(machine(record, truth, dir))
    }

    /// Records an end that nobody recorded, and removes the machine if that was wished. The
    /// machine's lock is held. Returns the new record, and whether the machine is gone.
    ///
    /// A record that cannot be written (a full disk) is no loss: the truth is found again by the
    /// next who looks.
    pub(crate) fn settle(
        &self,
        mut record: Record,
        truth: &Truth,
        dir: &MachineDir,
    ) -> (Record, bool) {
        match truth {
            Truth::Ended { ending, .. } => {
                if let Some(run) = &mut record.run
                    && run.end.is_none()
                {
                    run.end = Some(ending.clone());
                    record.starting = None;
                    let _ = record.store(dir);
                }
                if record.spec.get().remove_when_ended {
                    let gone = self.bury(record.id).is_ok();
                    return (record, gone);
                }
            }
            Truth::NeverRan => {
                record.starting = None;
                let _ = record.store(dir);
            }
            Truth::Found { run } => {
                record.starting = None;
                record.run = Some((**run).clone());
                let _ = record.store(dir);
            }
            Truth::Idle | Truth::Starting | Truth::Alive { .. } | Truth::Orphaned { .. } => {}
        }
        (record, false)
    }
}

/// Puts together what a caller sees of a machine.
fn machine(record: &Record, truth: &Truth, dir: &MachineDir) -> Machine {
    let run = match truth {
        Truth::Found { run } => Some(run.as_ref()),
        _ => record.run.as_ref(),
    };
    let ended = truth.ending().cloned().or_else(|| {
        // A machine that is being started again still has its last end.
        run.filter(|_| !truth.is_alive())
            .and_then(|run| run.end.clone())
    });
    let (pid, monitor_pid) = match run {
        Some(run) if truth.is_alive() => (
            run.vmm.as_ref().map(|vmm| vmm.pid),
            run.monitor.is_alive().then_some(run.monitor.pid),
        ),
        _ => {
            let starting = record.starting.as_ref().map(|starting| &starting.monitor);
            let alive = starting.filter(|monitor| monitor.is_alive());
            (None, alive.map(|monitor| monitor.pid))
        }
    };
    Machine {
        id: record.id,
        name: record.name.clone(),
        spec: record.spec.get().clone(),
        ports: match run {
            Some(run) if truth.is_alive() => run.ports.clone(),
            _ => record.spec.get().ports.clone(),
        },
        state: truth.state(record),
        created_at: record.created_at,
        started_at: run.map(|run| run.started_at),
        ended_at: ended.as_ref().map(|ending: &Ending| ending.at),
        end: ended.map(|ending| ending.reason),
        pid,
        monitor_pid,
        dir: dir.path().to_owned(),
    }
}

/// Returns the time now, for records.
pub(crate) fn now() -> Timestamp {
    // A clock that shows a time beyond the year 9999 shows no time.
    Timestamp::try_from(std::time::UNIX_EPOCH + clock::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
