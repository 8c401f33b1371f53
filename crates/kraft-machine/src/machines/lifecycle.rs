//! Changing an existing machine: stop, pause, resume, remove.

use std::time::{Duration, Instant};

use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::{EndReason, MachineState};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::Process;
use rustix::process::Signal;

use crate::console::ConsoleInput;
use crate::driver::{Action, ControlError, Driver, Vmm};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::processes::{KILL_TIMEOUT, kill_vmms};
use crate::machines::status::{Status, guest_state, reported_ending};
use crate::machines::{Error, Machine, Machines, StopOptions, now};
use crate::record::{Ending, Record};

/// How long a VMM may take to answer a command.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a VMM may take to accept a request to exit before it gets a signal instead.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a VMM may take to exit after SIGTERM.
const TERM_TIMEOUT: Duration = Duration::from_secs(1);

/// A signal that ends a VMM.
///
/// ```
/// use kraft_machine::KillSignal;
///
/// assert_eq!("SIGTERM".parse::<KillSignal>(), "15".parse());
/// assert!("HUP".parse::<KillSignal>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillSignal(Signal);

impl Default for KillSignal {
    fn default() -> Self {
        Self(Signal::KILL)
    }
}

impl std::str::FromStr for KillSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        match upper.strip_prefix("SIG").unwrap_or(&upper) {
            "KILL" | "9" => Ok(Self(Signal::KILL)),
            "TERM" | "15" => Ok(Self(Signal::TERM)),
            "INT" | "2" => Ok(Self(Signal::INT)),
            _ => Err("a VMM can be sent KILL, TERM or INT".to_owned()),
        }
    }
}

/// A machine whose lock is held.
pub(super) struct LockedMachine {
    _lock: Lock,
    pub(super) dir: MachineDir,
    pub(super) record: Record,
    status: Status,
    pub(super) driver: Option<&'static dyn Driver>,
    /// Whether a start in progress was ended to get the lock.
    start_ended: bool,
}

impl LockedMachine {
    pub(super) fn state(&self) -> MachineState {
        self.status.state(&self.record)
    }

    pub(super) fn name(&self) -> String {
        self.record.name.clone()
    }

    /// Returns the VMM if it is alive.
    pub(super) fn vmm(&self) -> Option<Vmm<'_>> {
        if !self.status.is_alive() {
            return None;
        }
        let process = self.record.run.as_ref()?.vmm.as_ref()?;
        Some(Vmm {
            dir: &self.dir,
            process,
        })
    }

    /// Records that the user ended it, before it is ended: if this process is killed meanwhile, its
    /// restart policy must not start it again.
    fn record_stop(&mut self) {
        self.record.restarts.stopped = true;
        let _ = self.record.store(&self.dir);
    }

    /// Returns whether it is about to be started again by its restart policy.
    fn is_restarting(&self) -> bool {
        matches!(self.status, Status::Restarting | Status::RestartLost)
    }

    fn will_not_end(&self, vmm: &Vmm<'_>) -> Error {
        Error::WillNotEnd {
            name: self.name(),
            pid: vmm.process.pid,
        }
    }

    pub(super) fn not_running(&self) -> Error {
        Error::NotRunning {
            name: self.name(),
            state: self.state(),
        }
    }
}

impl Machines {
    /// Stops a machine and returns how it ended: usually [`EndReason::Stopped`], but the guest may
    /// have ended first.
    ///
    /// The guest is asked to shut down first, if it is the built-in runtime or a Linux kernel, or a
    /// time for that is set. Then the VMM is asked to exit. If it does not within the grace period, it gets
    /// SIGTERM and then SIGKILL.
    ///
    /// A start in progress is ended as well, after the grace period.
    pub fn stop(&self, id: &Id, options: StopOptions) -> Result<Ending, Error> {
        let grace = if options.force {
            Duration::ZERO
        } else {
            options.grace
        };
        let stopped = || Ending {
            at: now(),
            reason: EndReason::Stopped,
        };
        let mut locked = match self.lock_machine(*id, Some(grace)) {
            Err(Error::EndedAndRemoved { .. }) => return Ok(stopped()),
            locked => locked?,
        };
        if locked.status.is_alive() {
            return self.end(&mut locked, options);
        }
        if let Some(ending) = cancel_restart(&mut locked, options)? {
            return Ok(ending);
        }
        if locked.record.is_suspended() && !options.host_down {
            return self.discard(&mut locked);
        }
        let ended = locked.record.run.as_ref().and_then(|run| run.end.clone());
        match ended {
            // One that is suspended stays so when the host goes down.
            Some(ending) if locked.start_ended || locked.record.is_suspended() => Ok(ending),
            _ if locked.start_ended => Ok(stopped()),
            _ => Err(locked.not_running()),
        }
    }

    /// Sends a signal to the VMM of a machine, and returns how the machine ended. SIGKILL ends it at
    /// once, SIGTERM and SIGINT have the VMM exit. Its restart policy does not start it again.
    pub fn kill(&self, id: &Id, signal: KillSignal) -> Result<Ending, Error> {
        let mut locked = self.lock_machine(*id, Some(Duration::ZERO))?;
        if !locked.status.is_alive() {
            if locked.record.is_suspended() {
                return self.discard(&mut locked);
            }
            let options = StopOptions::default();
            return match cancel_restart(&mut locked, options)? {
                Some(ending) => Ok(ending),
                None => Err(locked.not_running()),
            };
        }
        locked.record_stop();
        let Some(vmm) = locked.vmm() else {
            return Err(locked.not_running());
        };
        let opened = Process::open(vmm.process).map_err(Error::on("open the VMM's process"))?;
        if let Some(process) = opened {
            let ended = || -> std::io::Result<bool> {
                process.signal(signal.0)?;
                process.wait(Some(CONTROL_TIMEOUT))
            };
            if !ended().map_err(Error::on("end the VMM"))? {
                return Err(locked.will_not_end(&vmm));
            }
        }
        let reported = locked
            .driver
            .and_then(|driver| reported_ending(driver, &locked.dir, None).1);
        let ending = reported.unwrap_or_else(|| Ending {
            at: now(),
            reason: EndReason::Killed {
                signal: Some(signal.0.as_raw()),
            },
        });
        Ok(self.record_end(&mut locked, ending))
    }

    /// Kills the VMM of a machine at once, also while another process or thread is stopping it. That
    /// one records the end, else the machine's monitor.
    pub fn kill_now(&self, id: Id) -> Result<(), Error> {
        let Ok(Some(record)) = self.load(id) else {
            return Err(Error::not_found(id));
        };
        match record.run.as_ref().and_then(|run| run.vmm.as_ref()) {
            Some(vmm) => kill_vmms(std::slice::from_ref(vmm), &record.name),
            None => Ok(()),
        }
    }

    /// Pauses a machine: stops the guest's processors.
    pub fn pause(&self, id: &Id) -> Result<Machine, Error> {
        let locked = self.lock_machine(*id, None)?;
        match locked.state() {
            MachineState::Running => {}
            MachineState::Paused => {
                return Err(Error::AlreadyPaused {
                    name: locked.name(),
                });
            }
            _ => return Err(locked.not_running()),
        }
        self.control(&locked, "pause", Action::Pause, MachineState::Paused)
    }

    /// Resumes a paused or a suspended machine.
    pub fn resume(&self, id: &Id) -> Result<Machine, Error> {
        let machine = self.get(*id)?;
        let is_suspended = machine.state == MachineState::Suspended && machine.pid.is_none();
        if is_suspended || machine.state == MachineState::Asleep {
            self.start(id)?;
            return self.get(*id);
        }
        self.unpause(id)
    }

    /// Resumes a paused machine.
    pub fn unpause(&self, id: &Id) -> Result<Machine, Error> {
        let locked = self.lock_machine(*id, None)?;
        let state = locked.state();
        if state != MachineState::Paused {
            return Err(Error::NotPaused {
                name: locked.name(),
                state,
            });
        }
        self.control(&locked, "unpause", Action::Resume, MachineState::Running)
    }

    /// Removes a machine with all its files. A running one is an error, or with `force` killed
    /// first. With `force`, a machine is removed even if its record is damaged or missing, or if its
    /// directory was removed while its VMM runs.
    pub fn remove(&self, id: &Id, force: bool) -> Result<(), Error> {
        let grace = force.then_some(Duration::ZERO);
        let mut locked = match self.lock_machine(*id, grace) {
            Err(Error::Unreadable { source, .. }) if force && !source.is_foreign() => {
                return self.remove_unreadable(*id);
            }
            Err(Error::EndedAndRemoved { .. }) => return Ok(()),
            locked => locked?,
        };
        if locked.status.is_alive() || locked.is_restarting() || locked.record.is_suspended() {
            if !force {
                return Err(Error::Running {
                    name: locked.name(),
                    state: locked.state(),
                });
            }
            let options = StopOptions {
                force: true,
                ..StopOptions::default()
            };
            if locked.status.is_alive() {
                self.end(&mut locked, options)?;
            }
            if locked.record.spec.get().remove_when_ended && !locked.record.is_suspended() {
                return Ok(());
            }
        }
        // The record may be older than the VMM, if it was restored or edited.
        if force {
            kill_vmms(&self.vmms_of(*id), &locked.record.name)?;
        } else if !self.vmms_of(*id).is_empty() {
            return Err(Error::Running {
                name: locked.name(),
                state: MachineState::Running,
            });
        }
        self.remove_directory(*id)
    }

    /// Removes a machine as [`remove`](Self::remove) does, and the volumes that belonged to it alone.
    pub fn remove_with_volumes(&self, id: &Id, force: bool) -> Result<(), Error> {
        let mounts = self.load(*id).ok().flatten();
        let mounts = mounts.map(|record| record.spec.get().volumes.clone());
        self.remove(id, force)?;
        self.remove_anonymous_volumes(&mounts.unwrap_or_default(), None)
    }

    /// Removes a machine without a readable record. All its processes are killed.
    fn remove_unreadable(&self, id: Id) -> Result<(), Error> {
        let name = self.name_of(id).unwrap_or_else(|| id.to_string());
        let lock = match self.acquire_lock(id, Some(Duration::ZERO)) {
            Ok((lock, _)) => Some(lock),
            // Its directory was removed while its VMM runs.
            Err(Error::NotFound { .. } | Error::EndedAndRemoved { .. }) => None,
            Err(error) => return Err(error),
        };
        kill_vmms(&self.vmms_of(id), &name)?;
        if lock.is_some() {
            return self.remove_directory(id);
        }
        self.release_name(id, &name)
    }

    /// Locks a machine and reconciles its record. For `grace` see [`Self::acquire_lock`].
    pub(super) fn lock_machine(
        &self,
        id: Id,
        grace: Option<Duration>,
    ) -> Result<LockedMachine, Error> {
        let dir = self.layout.machine(id);
        let gone = || Error::not_found(id);
        let load = || match self.load(id) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(gone()),
            Err(source) => Err(Error::Unreadable { id, source }),
        };
        // Checked before: what is not a machine must not be locked.
        load()?;
        let (lock, start_ended) = self.acquire_lock(id, grace)?;
        let record = load().map_err(|error| match error {
            Error::NotFound { .. } if start_ended => Error::EndedAndRemoved { id },
            error => error,
        })?;
        let mut record = record;
        self.recover(&mut record, &dir);
        let Some((record, status)) = self.settle(record, &dir) else {
            return Err(if start_ended {
                Error::EndedAndRemoved { id }
            } else {
                gone()
            });
        };
        Ok(LockedMachine {
            _lock: lock,
            driver: self.driver(&record),
            status,
            dir,
            record,
            start_ended,
        })
    }

    /// Ends the VMM and records the end. The monitor, which waits for the VMM as well, finds the
    /// end recorded and does not change it.
    fn end(&self, locked: &mut LockedMachine, options: StopOptions) -> Result<Ending, Error> {
        if !options.host_down {
            locked.record_stop();
        }
        let Some(vmm) = locked.vmm() else {
            return Err(locked.not_running());
        };
        let process = Process::open(vmm.process).map_err(Error::on("open the VMM's process"))?;
        let shut_down = match &process {
            Some(process) => {
                shut_down(locked, &vmm, process, options).map_err(Error::on("wait for the VMM"))?
            }
            None => false,
        };
        if let Some(process) = process
            && !end_process(locked.driver, &vmm, &process, options)
                .map_err(Error::on("end the VMM"))?
        {
            return Err(locked.will_not_end(&vmm));
        }
        let mut ending = ending_of_stopped(locked.driver, &locked.dir, shut_down);
        if options.host_down {
            ending.reason = EndReason::HostDown;
        }
        Ok(self.record_end(locked, ending))
    }

    /// Removes what was saved of a suspended machine, which has ended then.
    fn discard(&self, locked: &mut LockedMachine) -> Result<Ending, Error> {
        let ending = Ending {
            at: now(),
            reason: EndReason::Stopped,
        };
        if locked.record.spec.get().remove_when_ended {
            self.remove_directory(locked.record.id)?;
            return Ok(ending);
        }
        if let Some(run) = &mut locked.record.run {
            run.end = Some(ending.clone());
        }
        locked.record.restarts.stopped = true;
        // Its monitor, if it has one, sees that and exits.
        locked.record.asleep = None;
        locked.record.store(&locked.dir)?;
        fs::remove_tree(&locked.dir.saved())?;
        Ok(ending)
    }

    /// Records how a machine ended.
    fn record_end(&self, locked: &mut LockedMachine, ending: Ending) -> Ending {
        let status = Status::Ended {
            ending: ending.clone(),
            handled: false,
        };
        let (record, _) = self.reconcile(locked.record.clone(), &status, &locked.dir);
        locked.record = record;
        locked.status = status;
        ending
    }

    /// Has the VMM do something to the guest and waits for the new state.
    fn control(
        &self,
        locked: &LockedMachine,
        what: &'static str,
        action: Action,
        expected: MachineState,
    ) -> Result<Machine, Error> {
        let failed = |source| Error::Vmm {
            what,
            name: locked.name(),
            source,
        };
        let driver = self
            .settings
            .drivers
            .get(locked.record.spec.get().platform)?;
        if !driver.capabilities().pause {
            return Err(failed(ControlError::Unsupported));
        }
        let Some(vmm) = locked.vmm() else {
            return Err(locked.not_running());
        };
        driver
            .control(&vmm, action, CONTROL_TIMEOUT)
            .map_err(failed)?;
        // Other processes see the new state only when the event is written.
        let deadline = Instant::now() + CONTROL_TIMEOUT;
        while guest_state(Some(driver), &vmm) != expected
            && Instant::now() < deadline
            && vmm.process.is_alive()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.get(locked.record.id)
    }
}

/// Cancels the restart of a machine that waits for it, and returns how it ended before; `None`
/// if none was due.
fn cancel_restart(
    locked: &mut LockedMachine,
    options: StopOptions,
) -> Result<Option<Ending>, Error> {
    if !locked.is_restarting() {
        return Ok(None);
    }
    locked.record.restarts.pending = None;
    locked.record.restarts.stopped |= !options.host_down;
    let end = locked
        .record
        .run
        .as_mut()
        .and_then(|run| run.end.as_mut())
        .map(|end| {
            if options.host_down {
                end.reason = EndReason::HostDown;
            }
            end.clone()
        });
    locked.record.store(&locked.dir)?;
    Ok(end)
}

/// The exit status of a program that SIGTERM ended.
const TERMINATED: u8 = 128 + 15;

/// How long a Linux guest may take to shut down, unless it is said otherwise, as for containers in
/// Docker.
const LINUX_TIMEOUT: Duration = Duration::from_secs(10);

/// Has the guest shut down, and waits for that; returns whether the VMM has exited. The built-in
/// runtime sends its program SIGTERM, others get the machine's power button.
///
/// Unikernels are asked only if a time is set: few react.
fn shut_down(
    locked: &LockedMachine,
    vmm: &Vmm<'_>,
    process: &Process,
    options: StopOptions,
) -> std::io::Result<bool> {
    let spec = locked.record.spec.get();
    let set = spec.lifecycle.stop_timeout.map(u64::from);
    let reacts = spec.guest == Guest::Runtime || spec.boot == BootProtocol::LinuxBzImage;
    let usual = reacts.then_some(LINUX_TIMEOUT);
    let limit = options
        .timeout
        .or(set.map(Duration::from_secs))
        .or(usual)
        .unwrap_or_default();
    // A paused guest cannot react.
    if options.force || limit.is_zero() || locked.state() != MachineState::Running {
        return Ok(false);
    }
    let patience = limit.min(QUIT_TIMEOUT);
    let asked = if spec.guest == Guest::Runtime {
        ConsoleInput::open(&vmm.dir.console(), spec)
            .and_then(|mut input| input.terminate(patience))
            .map_err(|error| error.to_string())
    } else {
        let driver = locked.driver.ok_or_else(|| "it has no driver".to_owned());
        driver.and_then(|driver| {
            let pressed = driver.control(vmm, Action::PowerButton, patience);
            pressed.map(|()| true).map_err(|error| error.to_string())
        })
    };
    match asked {
        Ok(true) => process.wait(Some(limit)),
        Ok(false) => Ok(false),
        Err(error) => {
            tracing::debug!(
                pid = vmm.process.pid,
                error,
                "cannot ask the guest to shut down"
            );
            Ok(false)
        }
    }
}

/// Ends a VMM, by request first; returns whether it has exited.
fn end_process(
    driver: Option<&'static dyn Driver>,
    vmm: &Vmm<'_>,
    process: &Process,
    options: StopOptions,
) -> std::io::Result<bool> {
    if !options.force {
        let limit = options
            .grace
            .clamp(Duration::from_millis(100), QUIT_TIMEOUT);
        // A VMM that does not accept the request gets signals at once.
        let accepted = driver.is_some_and(|driver| {
            let asked = driver.control(vmm, Action::Quit, limit);
            if let Err(error) = &asked {
                tracing::debug!(pid = vmm.process.pid, %error, "cannot ask the VMM to exit");
            }
            asked.is_ok()
        });
        if accepted && process.wait(Some(options.grace))? {
            return Ok(true);
        }
        process.signal(Signal::TERM)?;
        if process.wait(Some(TERM_TIMEOUT))? {
            return Ok(true);
        }
    }
    process.signal(Signal::KILL)?;
    process.wait(Some(KILL_TIMEOUT))
}

/// Determines the end of a machine that was stopped: that of the guest, if it ended first. A guest that
/// shut down because it was asked to was stopped, whatever its program made of that.
fn ending_of_stopped(
    driver: Option<&'static dyn Driver>,
    dir: &MachineDir,
    shut_down: bool,
) -> Ending {
    let (events, reported) = driver.map_or_else(Default::default, |driver| {
        reported_ending(driver, dir, None)
    });
    let Some(mut ending) = reported else {
        return Ending {
            at: now(),
            reason: EndReason::Stopped,
        };
    };
    let is_stop = match ending.reason {
        EndReason::Killed { .. } => true,
        EndReason::PoweredOff | EndReason::Exited { code: TERMINATED } => shut_down,
        // The status of a program that SIGTERM ended: only the VMM's parent knows more of it than
        // that its highest bit is set.
        EndReason::Crashed { .. } => shut_down && events.is_crash_loaded(),
        EndReason::Exited { .. }
        | EndReason::Stopped
        | EndReason::MonitorFailed { .. }
        | EndReason::HostDown
        | EndReason::Suspended
        | EndReason::Vanished => false,
    };
    if is_stop {
        ending.reason = EndReason::Stopped;
    }
    ending
}

#[cfg(test)]
mod tests {
    use kraft_core::platform::Platform;

    use super::*;
    use crate::driver;
    use crate::layout::Layout;

    /// Returns how a machine ended whose VMM wrote these events before it was stopped.
    fn end(events: &[&str], shut_down: bool) -> EndReason {
        let home = tempfile::tempdir().unwrap();
        let dir = Layout::new(home.path().to_owned()).machine(Id::new());
        kraft_sys::fs::create_dir_all(dir.path(), 0o700).unwrap();
        let mut text = "{\"return\": {}}\n".to_owned();
        for event in events {
            text.push_str("{\"timestamp\": {\"seconds\": 1, \"microseconds\": 0}, \"event\": ");
            text.push_str(event);
            text.push_str("}\n");
        }
        kraft_sys::fs::replace_file(&dir.events(), text.as_bytes()).unwrap();
        ending_of_stopped(driver::built_in(Platform::Qemu), &dir, shut_down).reason
    }

    #[test]
    fn a_guest_that_shut_down_when_it_was_asked_to_was_stopped_whatever_its_status() {
        let off = "\"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}";
        // The highest bit of a status, as of 143 after SIGTERM.
        let bit = "\"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}";
        let panic = "\"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}";
        assert_eq!(end(&[off], true), EndReason::Stopped);
        assert_eq!(end(&[bit, off], true), EndReason::Stopped);
        assert_eq!(end(&[], false), EndReason::Stopped);
        // It was not asked, or failed meanwhile.
        assert_eq!(end(&[off], false), EndReason::PoweredOff);
        assert!(matches!(end(&[panic], true), EndReason::Crashed { .. }));
        assert!(matches!(
            end(&[panic, bit, off], true),
            EndReason::Crashed { .. }
        ));
    }
}
