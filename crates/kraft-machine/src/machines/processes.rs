//! The processes of a machine, found without its record: by the id in their arguments.
//!
//! A record can be damaged or missing, and a directory can be removed while the VMM runs. The
//! arguments of the VMM and of its monitor contain the machine's id all the same.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_sys::process::{self, Identity, Process};
use rustix::process::Signal;

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Error, Machines};
use crate::record::{Record, RecordError};

/// How long a process may take to exit after SIGKILL.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// The tasks of a monitor: to start a machine, to adopt an orphaned VMM, to start a machine again, to
/// keep the ports of one that sleeps open, and to save one.
pub(crate) const MONITOR_TASKS: [&str; 7] = [
    "start", "adopt", "restart", "sleep", "suspend", "snapshot", "fork",
];

/// Returns whether an argument is a task of a monitor.
pub(super) fn is_monitor_task(argument: &[u8]) -> bool {
    MONITOR_TASKS.iter().any(|task| task.as_bytes() == argument)
}

/// Kills VMMs of a machine; an error if one does not exit.
pub(super) fn kill_vmms(vmms: &[Identity], name: &str) -> Result<(), Error> {
    for vmm in vmms {
        if !kill(vmm).map_err(Error::on("end the VMM"))? {
            return Err(Error::WillNotEnd {
                name: name.to_owned(),
                pid: vmm.pid,
            });
        }
    }
    Ok(())
}

/// Kills a process and returns whether it has exited.
pub(super) fn kill(identity: &Identity) -> std::io::Result<bool> {
    match Process::open(identity)? {
        Some(process) => {
            process.signal(Signal::KILL)?;
            process.wait(Some(KILL_TIMEOUT))
        }
        None => Ok(true),
    }
}

/// Returns the living processes with certain arguments, without this one.
fn processes(has: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Identity> {
    let me = std::process::id();
    process::all()
        .filter(|pid| *pid != me && has(&process::command_line(*pid)))
        .filter_map(Identity::of)
        .collect()
}

/// Resolves the symbolic links of a path whose last components may be missing.
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
    /// Returns the living VMMs of a machine.
    pub(super) fn vmms_of(&self, id: Id) -> Vec<Identity> {
        processes(|argv| self.settings.drivers.is_vmm(argv, id))
    }

    /// Returns the living monitors of a machine: `… start RUNTIME_DIR ID …`.
    pub(super) fn monitors_of(&self, id: Id) -> Vec<Identity> {
        let id = id.to_string();
        let runtime_dir = self.settings.runtime_dir.as_os_str().as_bytes();
        processes(|argv| {
            argv.windows(3).any(|window| match window {
                [task, dir, word] => {
                    is_monitor_task(task) && dir == runtime_dir && word == id.as_bytes()
                }
                _ => false,
            })
        })
    }

    /// Returns the machines whose directory was removed while their VMM runs.
    ///
    /// Such a VMM has a deleted working directory, whose path the system remembers.
    pub(super) fn lost(&self) -> Vec<Id> {
        let machines = canonical(&self.layout.machines());
        let mut lost: Vec<Id> = process::all()
            .filter_map(|pid| {
                let dir = process::working_dir(pid)?;
                let dir = dir.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
                let dir = Path::new(OsStr::from_bytes(dir));
                let id: Id = dir.file_name()?.to_str()?.parse().ok()?;
                let ours = dir.parent() == Some(machines.as_path());
                let argv = || process::command_line(pid);
                (ours && self.settings.drivers.is_vmm(&argv(), id)).then_some(id)
            })
            .collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// Loads the record of a machine; `None` if there is no such machine (any more).
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
            Err(_) => return self.load_without_directory(id, &dir),
        }
        match Record::load(&dir) {
            // The machine was removed meanwhile, unless the directory still exists.
            Err(e) if e.is_not_found() => match is_dir() {
                Ok(_) => Err(RecordError::Missing { path: dir.record() }),
                Err(_) => Ok(None),
            },
            other => other.map(Some),
        }
    }

    fn load_without_directory(
        &self,
        id: Id,
        dir: &MachineDir,
    ) -> Result<Option<Record>, RecordError> {
        match self.vmms_of(id).first() {
            // While a machine is removed, its directory is elsewhere and its VMM about to exit.
            Some(vmm) if self.lost().contains(&id) => Err(RecordError::Lost {
                path: dir.path().to_owned(),
                pid: vmm.pid,
            }),
            _ => Ok(None),
        }
    }
}
