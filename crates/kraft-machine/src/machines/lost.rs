//! Processes of a machine, found without its record: by the id on their command lines.
//!
//! A record can be damaged or missing, and a directory can be removed under a running VMM. The
//! VMM carries the machine's id all the same (`-name ID`), its monitor as well.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity, Process};
use rustix::process::Signal;

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::truth::{is_vmm, read_diary};
use crate::machines::{Error, Machines};
use crate::record::{Record, RecordError};

/// How long the system may take to carry out SIGKILL.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(2);

/// How long a command may take that changes a machine before we give up on its lock.
const MOST_WORK: Duration = Duration::from_secs(15);

/// Between two looks at a lock.
const STEP: Duration = Duration::from_millis(5);

/// Returns the living VMMs of a machine.
pub(crate) fn vmms_of(id: Id) -> Vec<Identity> {
    let me = std::process::id();
    process::all()
        .filter(|pid| *pid != me && is_vmm(&process::command_line(*pid), id))
        .filter_map(Identity::of)
        .collect()
}

/// Kills every VMM of a machine; an error if one does not end.
pub(crate) fn kill_vmms(id: Id, name: &str) -> Result<(), Error> {
    for vmm in vmms_of(id) {
        if !kill(&vmm).map_err(Error::on("end the VMM"))? {
            return Err(Error::WillNotEnd {
                name: name.to_owned(),
                pid: vmm.pid,
            });
        }
    }
    Ok(())
}

fn kill(identity: &Identity) -> std::io::Result<bool> {
    match Process::open(identity)? {
        Some(process) => {
            process.signal(Signal::KILL)?;
            process.wait(Some(LAST_WAIT))
        }
        None => Ok(true),
    }
}

/// Resolves the links of a path of which the last directories may be missing.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => canonical(above).join(name),
        _ => path.to_owned(),
    }
}

impl Machines {
    /// Returns the machines whose directory was removed while their VMM ran, and still runs.
    ///
    /// Such a VMM works in a directory that is deleted; the system remembers its path.
    pub(crate) fn lost(&self) -> Vec<Id> {
        let machines = canonical(&self.layout.machines());
        let mut lost: Vec<Id> = process::all()
            .filter_map(|pid| {
                let dir = process::working_dir(pid)?;
                let dir = dir.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
                let dir = Path::new(OsStr::from_bytes(dir));
                let id: Id = dir.file_name()?.to_str()?.parse().ok()?;
                let ours = dir.parent() == Some(machines.as_path());
                (ours && is_vmm(&process::command_line(pid), id)).then_some(id)
            })
            .collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// Reads the record of a machine; `None` if there is no such machine, or not any more.
    pub(crate) fn load(&self, id: Id) -> Result<Option<Record>, RecordError> {
        let dir = self.layout.machine(id);
        let is_dir = || std::fs::symlink_metadata(dir.path()).map(|meta| meta.is_dir());
        match is_dir() {
            Ok(true) => {}
            Ok(false) => {
                return Err(RecordError::Foreign {
                    path: dir.path().to_owned(),
                });
            }
            Err(_) => return self.without_directory(id, &dir),
        }
        match Record::load(&dir) {
            // It was removed this instant, unless the directory is still there.
            Err(e) if e.is_not_found() => match is_dir() {
                Ok(_) => Err(RecordError::Missing { path: dir.record() }),
                Err(_) => Ok(None),
            },
            other => other.map(Some),
        }
    }

    fn without_directory(&self, id: Id, dir: &MachineDir) -> Result<Option<Record>, RecordError> {
        match vmms_of(id).first() {
            // One that is being removed is elsewhere already, and its VMM about to end.
            Some(vmm) if self.lost().contains(&id) => Err(RecordError::Lost {
                path: dir.path().to_owned(),
                pid: vmm.pid,
            }),
            _ => Ok(None),
        }
    }

    /// Takes a machine's lock. A start under way has `patience` to come to its end, and is ended
    /// then: its VMM is killed, and if that does not help, its monitor. Returns whether it was.
    ///
    /// `None` for the patience waits for the start to end by itself.
    pub(crate) fn seize(&self, id: Id, patience: Option<Duration>) -> Result<(Lock, bool), Error> {
        let dir = self.layout.machine(id);
        let begun = Instant::now();
        let mut stage = Stage::Wait;
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
            let waited = begun.elapsed();
            if waited > MOST_WORK {
                return Err(Error::Busy {
                    name: self.name_of(id).unwrap_or_else(|| id.to_string()),
                });
            }
            let next = Stage::after(patience, waited);
            if next != stage && self.is_starting(id, &dir) {
                stage = next;
                self.end_start(id, stage)?;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Tells whether a machine is about to run, and does not yet. One whose record cannot be read
    /// may be.
    fn is_starting(&self, id: Id, dir: &MachineDir) -> bool {
        let Ok(Some(record)) = self.load(id) else {
            return true;
        };
        let begins = record.starting.as_ref();
        let claimed = begins.is_some_and(|starting| starting.monitor.is_alive());
        let comes_up = record.run.as_ref().is_some_and(|run| {
            run.end.is_none() && run.monitor.is_alive() && !read_diary(dir).ready
        });
        // Before its first word in the record, the monitor holds the lock and finds out about the
        // VMM's program.
        claimed || comes_up || !self.monitors_of(id).is_empty() && vmms_of(id).is_empty()
    }

    fn end_start(&self, id: Id, stage: Stage) -> Result<(), Error> {
        let name = self.name_of(id).unwrap_or_else(|| id.to_string());
        kill_vmms(id, &name)?;
        if stage == Stage::MonitorKilled {
            for monitor in self.monitors_of(id) {
                kill(&monitor).map_err(Error::on("end the monitor"))?;
            }
            // One that it started in its last moment.
            kill_vmms(id, &name)?;
        }
        Ok(())
    }

    /// Returns the living monitors of a machine that start it: `… start RUNTIME_DIR ID …`.
    fn monitors_of(&self, id: Id) -> Vec<Identity> {
        let id = id.to_string();
        let runtime_dir = self.settings.runtime_dir.as_os_str().as_bytes();
        let is_monitor = |words: &[Vec<u8>]| {
            words.windows(3).any(|window| match window {
                [task, dir, word] => {
                    task == b"start" && dir == runtime_dir && word == id.as_bytes()
                }
                _ => false,
            })
        };
        let me = std::process::id();
        process::all()
            .filter(|pid| *pid != me && is_monitor(&process::command_line(*pid)))
            .filter_map(Identity::of)
            .collect()
    }
}

/// How far the end of a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Wait,
    VmmKilled,
    MonitorKilled,
}

impl Stage {
    fn after(patience: Option<Duration>, waited: Duration) -> Self {
        /// How long the monitor may take to put on record that its VMM was killed.
        const TO_RECORD: Duration = Duration::from_millis(500);
        match patience {
            None => Self::Wait,
            Some(patience) if waited < patience => Self::Wait,
            Some(patience) if waited < patience + TO_RECORD => Self::VmmKilled,
            Some(_) => Self::MonitorKilled,
        }
    }
}
