//! Saving the memory of a machine: to suspend it, or for a snapshot.
//!
//! ```text
//! kraft ──starts──► saver: lock ─► record "saving" ─► pause ─► save ─► rename ─► record the end ─► VMM exits
//!   ▲                 └─────────────────── one line of JSON: done, or an error ◄──────────────────────┘
//! ```
//!
//! The saver is a process like a monitor, so that it makes no difference when the `kraft` that
//! waits for it is killed. When the saver itself is killed, the next access [recovers](Machines::recover)
//! the machine: it is suspended if that is on record, and continues otherwise. In the same way a machine
//! whose monitor is killed while it restores the guest is suspended again, unless the guest runs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kraft_core::machine::{EndReason, MachineState, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::Identity;

use crate::driver::{Action, ControlError, Driver, Vmm};
use crate::id::Id;
use crate::layout::{MachineDir, SAVE, SAVED};
use crate::machines::lifecycle::LockedMachine;
use crate::machines::processes::kill;
use crate::machines::start::{Report, SAVED_AS};
use crate::machines::status::guest_state;
use crate::machines::{Error, Machine, Machines, Snapshot, now};
use crate::record::{Ending, Record, Saving};
use crate::saved::{Origin, SavedMachine};

/// How long a VMM may take for a step without any progress.
const STEP_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a guest may take to continue.
const RESUME_TIMEOUT: Duration = Duration::from_secs(2);

/// What a machine is saved for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It ends, and continues from what was saved.
    Suspend,
    /// The same, until there is a connection to one of its ports, which this process keeps open.
    Sleep,
    /// A snapshot with this name; the machine continues.
    Snapshot(String),
    /// Copies of the machine, which the process makes that waits for it; the machine continues.
    Fork(Id),
}

/// What copies of a machine are made of.
#[derive(Debug)]
pub struct ForkSource {
    dir: PathBuf,
    saved: SavedMachine,
    #[expect(dead_code, reason = "removed when it is dropped")]
    temporary: Option<Temporary>,
}

impl ForkSource {
    /// Returns the directory of the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns what was saved.
    pub fn saved(&self) -> &SavedMachine {
        &self.saved
    }
}

impl From<Snapshot> for ForkSource {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            dir: snapshot.dir,
            saved: snapshot.saved,
            temporary: None,
        }
    }
}

/// A directory that is removed when this is dropped, or later if this process is killed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_tree(&self.path);
    }
}

impl Machines {
    /// Suspends a machine: saves its memory and devices to disk and ends its VMM.
    /// [`start`](Self::start) continues from there.
    pub fn suspend(&self, id: &Id) -> Result<Machine, Error> {
        if self.get(*id)?.state == MachineState::Asleep {
            // It was saved already. Its monitor sees the change and exits.
            let mut locked = self.lock_machine(*id, None)?;
            locked.record.asleep = None;
            locked.record.store(&locked.dir)?;
            drop(locked);
            return self.get(*id);
        }
        self.check_savable(*id)?;
        self.run_saver(*id, "suspend", None)?;
        self.get(*id)
    }

    /// Saves the memory and the devices of a machine, which continues, as a snapshot.
    pub(super) fn save_snapshot(&self, id: Id, name: &str) -> Result<(), Error> {
        self.check_savable(id)?;
        self.run_saver(id, "snapshot", Some(name))
    }

    /// Saves a machine, which continues, for copies that this process makes. What was saved is removed
    /// when the result is dropped.
    pub fn save_for_forks(&self, id: &Id) -> Result<ForkSource, Error> {
        if self.load_record(*id)?.is_suspended() {
            let dir = self.layout.machine(*id).saved();
            let saved = SavedMachine::load(&dir)?;
            let temporary = None;
            return Ok(ForkSource {
                dir,
                saved,
                temporary,
            });
        }
        self.check_savable(*id)?;
        let own = Id::new();
        let path = self.layout.unfinished_save(own);
        fs::create_dir(&path, 0o700)?;
        let temporary = Temporary {
            _lock: Lock::exclusive(&path)?,
            path,
        };
        self.run_saver(*id, "fork", Some(&own.to_string()))?;
        let dir = temporary.path.join(SAVED);
        Ok(ForkSource {
            saved: SavedMachine::load(&dir)?,
            dir,
            temporary: Some(temporary),
        })
    }

    /// Reports what prevents a machine from being saved, before anything is done to it.
    fn check_savable(&self, id: Id) -> Result<(), Error> {
        let machine = self.get(id)?;
        let name = machine.name;
        match machine.state {
            MachineState::Running | MachineState::Paused => {}
            // One that suspended itself has a VMM.
            MachineState::Suspended if machine.pid.is_none() => {
                return Err(Error::AlreadySuspended { name });
            }
            state => return Err(Error::NotRunning { name, state }),
        }
        if machine.spec.volumes.is_empty() {
            return Ok(());
        }
        // QEMU's 9p devices refuse to migrate once they are mounted.
        Err(Error::MountsVolumes { name })
    }

    /// Runs a saver until it reports.
    fn run_saver(&self, id: Id, task: &str, name: Option<&str>) -> Result<(), Error> {
        let machine = self.name_of(id).unwrap_or_else(|| id.to_string());
        let failed = |why: String| Error::Save {
            name: machine.clone(),
            why,
        };
        let name = name.map(|name| format!("{SAVED_AS}{name}"));
        let child = self.spawn_monitor(task, id, name.as_deref(), Stdio::piped());
        let child = child.map_err(Error::on("start the process that saves the machine"))?;
        let output = child
            .wait_with_output()
            .map_err(Error::on("read the report of the saver"))?;
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(format!("the saver ended: {}", output.status)))?;
        report
            .error
            .map_or(Ok(()), |why| Err(failed(why.to_string())))
    }

    /// Saves a machine. The current process is the saver.
    pub(crate) fn save(&self, id: Id, purpose: &Purpose) -> Result<(), Error> {
        let mut locked = self.lock_machine(id, None)?;
        let state = locked.state();
        if !matches!(state, MachineState::Running | MachineState::Paused) {
            return Err(locked.not_running());
        }
        let me = Identity::me().ok_or_else(|| {
            Error::on("identify this process")(std::io::Error::other("`/proc` is not mounted"))
        })?;
        if let Purpose::Snapshot(name) = purpose {
            check_name(name)?;
        }
        let partial = self.layout.unfinished_save(Id::new());
        fs::create_dir(&partial, 0o700)?;
        let _partial = Lock::exclusive(&partial)?;
        let resumes = state == MachineState::Running;
        locked.record.saving = Some(Saving {
            process: me,
            resumes,
        });
        let saved = locked
            .record
            .store(&locked.dir)
            .map_err(Error::from)
            .and_then(|()| save_into(&mut locked, &partial, purpose))
            .and_then(|()| match purpose {
                Purpose::Suspend => commit_suspension(&mut locked, &partial, None),
                Purpose::Sleep => commit_suspension(&mut locked, &partial, Identity::me()),
                Purpose::Snapshot(name) => self.commit_snapshot(&partial, name),
                Purpose::Fork(id) => {
                    let to = self.layout.unfinished_save(*id).join(SAVED);
                    Ok(fs::rename(&partial, &to)?)
                }
            });
        if saved.is_err() {
            // Only the first error is returned.
            let _ = fs::remove_tree(&partial);
        }
        // A machine that is suspended by now loses its VMM, any other continues.
        finish(locked.driver, &mut locked.record, &locked.dir)?;
        saved
    }

    /// Gives a snapshot its name.
    pub(super) fn commit_snapshot(&self, partial: &Path, name: &str) -> Result<(), Error> {
        let to = self.layout.snapshot(name);
        // Under this lock no other process gives a name.
        let _lock = self.lock_all()?;
        if to.exists() {
            return Err(Error::SnapshotTaken {
                name: name.to_owned(),
            });
        }
        fs::create_dir_all(&self.layout.snapshots(), 0o700)?;
        fs::rename(partial, &to)?;
        fs::sync_dir(&self.layout.snapshots())?;
        Ok(())
    }

    /// Completes or undoes what a killed process was doing with the memory of a machine. The
    /// machine's lock is held.
    pub(crate) fn recover(&self, record: &mut Record, dir: &MachineDir) {
        if !needs_recovery(record) {
            return;
        }
        tracing::debug!(machine = %record.id, "recovering the machine");
        let driver = self.driver(record);
        // What cannot be done now is tried again by the next access.
        let _ = finish(driver, record, dir);
        self.remove_stale_saves();
    }

    /// Removes what killed savers left incomplete.
    pub(super) fn remove_stale_saves(&self) {
        for entry in std::fs::read_dir(self.layout.partial())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let is_save = name.to_str().is_some_and(|name| name.starts_with(SAVE));
            if is_save && matches!(Lock::try_exclusive(&entry.path()), Ok(Some(_))) {
                let _ = fs::remove_tree(&entry.path());
            }
        }
    }
}

/// Returns whether a process was killed while it saved or restored the memory of a machine.
pub(crate) fn needs_recovery(record: &Record) -> bool {
    let saving = record
        .saving
        .as_ref()
        .is_some_and(|saving| !saving.process.is_alive());
    let run = record.run.as_ref();
    saving || run.is_some_and(|run| run.restoring.is_some() && !run.monitor.is_alive())
}

/// Pauses the guest, saves it, and completes the directory.
fn save_into(locked: &mut LockedMachine, to: &Path, purpose: &Purpose) -> Result<(), Error> {
    let name = locked.name();
    let failed = |what| {
        let name = name.clone();
        move |source| Error::Vmm { what, name, source }
    };
    let unsupported = || failed("save")(ControlError::Unsupported);
    let driver = locked.driver.ok_or_else(unsupported)?;
    let Some(vmm) = locked.vmm() else {
        return Err(locked.not_running());
    };
    let resumes = locked
        .record
        .saving
        .as_ref()
        .is_some_and(|saving| saving.resumes);
    if resumes {
        let paused = driver.control(&vmm, Action::Pause, STEP_TIMEOUT);
        paused.map_err(failed("pause"))?;
    }
    let at = now();
    let conditions = driver
        .save(&vmm, to, STEP_TIMEOUT)
        .map_err(|error| failed("save")(ControlError::Vmm(error.into())))?;
    let continues = !matches!(purpose, Purpose::Suspend | Purpose::Sleep);
    if continues && resumes {
        // It does not wait for the disk.
        let done = driver.control(&vmm, Action::Resume, STEP_TIMEOUT);
        done.map_err(failed("resume"))?;
    }
    let origin = Origin {
        id: locked.record.id,
        name: &name,
        spec: locked.record.spec.get(),
        created_at: at,
    };
    SavedMachine::finish(to, &origin, conditions, continues)?;
    Ok(())
}

/// Makes a machine suspended, or asleep with the process that keeps its ports open: what was saved gets its place, and then the end is recorded.
fn commit_suspension(
    locked: &mut LockedMachine,
    partial: &Path,
    asleep: Option<Identity>,
) -> Result<(), Error> {
    let (dir, record) = (&locked.dir, &mut locked.record);
    fs::remove_tree(&dir.saved())?;
    fs::rename(partial, &dir.saved())?;
    fs::sync_dir(dir.path())?;
    let Some(run) = &mut record.run else {
        return Ok(());
    };
    run.end = Some(Ending {
        at: now(),
        reason: EndReason::Suspended,
    });
    record.asleep = asleep;
    let stored = record.store(dir);
    if stored.is_err()
        && let Some(run) = &mut record.run
    {
        run.end = None;
        record.asleep = None;
    }
    Ok(stored?)
}

/// Brings a machine into the state that its record says, and notes that nothing is being done to
/// its memory any more.
fn finish(
    driver: Option<&'static dyn Driver>,
    record: &mut Record,
    dir: &MachineDir,
) -> Result<(), Error> {
    let process = record.run.as_ref().and_then(|run| run.vmm.clone());
    let process = process.filter(Identity::is_alive);
    let end = |process: &Identity| kill(process).map_err(Error::on("end the VMM"));
    if let Some(saving) = record.saving.take() {
        match &process {
            Some(process) if record.is_suspended() => {
                end(process)?;
            }
            Some(process) if saving.resumes => resume(driver, &Vmm { dir, process }),
            Some(_) | None => {}
        }
    }
    if let Some(run) = &mut record.run
        && let Some(suspended) = run.restoring.take()
        && !driver.is_some_and(|driver| has_resumed(driver, dir, process.as_ref()))
    {
        if let Some(process) = &process {
            end(process)?;
        }
        record.run = Some(*suspended);
    }
    record.store(dir)?;
    if !record.is_suspended() {
        fs::remove_tree(&dir.saved())?;
    }
    Ok(())
}

/// Returns whether a guest that was restored has continued.
fn has_resumed(driver: &dyn Driver, dir: &MachineDir, process: Option<&Identity>) -> bool {
    let asked = || {
        let process = process.filter(|_| !driver.capabilities().event_log)?;
        driver.query_state(&Vmm { dir, process }, RESUME_TIMEOUT)
    };
    driver.events(dir).has_resumed() || asked() == Some(MachineState::Running)
}

/// Has a guest continue that was paused to be saved, and waits until others see that.
fn resume(driver: Option<&'static dyn Driver>, vmm: &Vmm<'_>) {
    let Some(driver) = driver else {
        return;
    };
    let state = || guest_state(Some(driver), vmm);
    if state() == MachineState::Running {
        return;
    }
    // If it does not answer, it stays paused, and the user can resume it.
    let _ = driver.control(vmm, Action::Resume, RESUME_TIMEOUT);
    let deadline = Instant::now() + RESUME_TIMEOUT;
    while state() != MachineState::Running && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
