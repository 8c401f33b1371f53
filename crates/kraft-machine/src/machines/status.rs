//! The status of a machine: its record, its processes and its event log, put together.
//!
//! Observing changes nothing. A process that holds the machine's lock may then reconcile the record
//! with what it observed.

use std::process::ExitStatus;
use std::time::Duration;

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::kernel::Guest;
use kraft_core::machine::{EndReason, MachineState};
use kraft_core::platform::Platform;
use kraft_sys::fs;
use kraft_sys::process::{self, Identity};
use serde_json::Map;

use crate::compact;
use crate::console;
use crate::driver::{Driver, Exited, Vmm};
use crate::event_log::{EventLog, state_after};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::processes::is_monitor_task;
use crate::machines::{Machines, now};
use crate::record::{Ending, Record, Run, Starting};

/// How long a VMM may take to report its state.
const QUERY_TIMEOUT: Duration = Duration::from_millis(300);

/// The observed status of a machine.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// Nothing runs, and the record says so: the machine was never started, or has ended.
    Idle,
    /// A monitor is starting it.
    Starting,
    /// The monitor that was starting it died before there was a VMM.
    StartLost,
    /// The monitor that was starting it died when there was a VMM, before it was recorded.
    Unrecorded {
        /// What should have been recorded.
        run: Box<Run>,
    },
    /// Its VMM and its monitor are alive.
    Running {
        /// The state of the guest.
        state: MachineState,
    },
    /// Its VMM is alive, and its monitor is not.
    Orphaned {
        /// The state of the guest.
        state: MachineState,
    },
    /// It has ended, and a monitor waits to start it again.
    Restarting,
    /// It has ended and is to be started again, and no monitor waits for that.
    RestartLost,
    /// It is suspended because it was idle, and a monitor waits for a connection that wakes it.
    Asleep,
    /// It is suspended because it was idle, and no monitor keeps its ports open.
    SleepLost,
    /// Its VMM has exited, and the end has to be recorded or the machine to be removed.
    Ended {
        /// How it ended.
        ending: Ending,
        /// Whether its monitor is alive and will do that.
        handled: bool,
    },
}

impl Status {
    /// Returns whether the record is up to date, or will be updated by a living process.
    pub(crate) fn is_consistent(&self) -> bool {
        match self {
            Self::Idle
            | Self::Starting
            | Self::Running { .. }
            | Self::Restarting
            | Self::Asleep => true,
            Self::Ended { handled, .. } => *handled,
            Self::StartLost
            | Self::Unrecorded { .. }
            | Self::Orphaned { .. }
            | Self::RestartLost
            | Self::SleepLost => false,
        }
    }

    /// Returns whether the machine has ended and nothing says how, except the exit status that its monitor gets and
    /// is about to record.
    pub(crate) fn is_known_to_monitor_alone(&self) -> bool {
        let Self::Ended { ending, handled } = self else {
            return false;
        };
        *handled && ending.reason == EndReason::Vanished
    }

    /// Returns the task of the monitor that the machine needs; `None` if it has one, or needs none.
    pub(crate) fn needs_keeper(&self) -> Option<&'static str> {
        match self {
            Self::Orphaned { .. } => Some("adopt"),
            Self::RestartLost => Some("restart"),
            Self::SleepLost => Some("sleep"),
            Self::Idle
            | Self::Starting
            | Self::StartLost
            | Self::Unrecorded { .. }
            | Self::Running { .. }
            | Self::Restarting
            | Self::Asleep
            | Self::Ended { .. } => None,
        }
    }

    /// Returns whether a VMM is alive.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Orphaned { .. } | Self::Unrecorded { .. } => true,
            Self::Idle
            | Self::Starting
            | Self::StartLost
            | Self::Restarting
            | Self::RestartLost
            | Self::Asleep
            | Self::SleepLost
            | Self::Ended { .. } => false,
        }
    }

    pub(crate) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Ended { ending, .. } => Some(ending),
            Self::Idle
            | Self::Starting
            | Self::StartLost
            | Self::Unrecorded { .. }
            | Self::Running { .. }
            | Self::Restarting
            | Self::RestartLost
            | Self::Asleep
            | Self::SleepLost
            | Self::Orphaned { .. } => None,
        }
    }

    pub(crate) fn state(&self, record: &Record) -> MachineState {
        match self {
            Self::Running { state } | Self::Orphaned { state } => *state,
            Self::Unrecorded { .. } => MachineState::Running,
            Self::Restarting | Self::RestartLost => MachineState::Restarting,
            Self::Asleep | Self::SleepLost => MachineState::Asleep,
            Self::Ended { ending, .. } => state_after(&ending.reason),
            Self::Idle | Self::Starting | Self::StartLost => {
                let run = record.run.as_ref();
                let run = run.map(|run| run.restoring.as_deref().unwrap_or(run));
                let last = run.and_then(|run| run.end.as_ref());
                // It is being woken.
                if record.asleep.is_some() && run.is_some_and(Run::is_suspended) {
                    return MachineState::Asleep;
                }
                last.map_or(MachineState::Created, |end| state_after(&end.reason))
            }
        }
    }
}

impl Machines {
    /// Returns the driver for a machine; `None` if this kraft has none.
    pub(crate) fn driver(&self, record: &Record) -> Option<&'static dyn Driver> {
        self.settings.drivers.get(record.spec.get().platform).ok()
    }

    /// Determines the status of a machine.
    pub(crate) fn observe(&self, record: &Record, dir: &MachineDir) -> Status {
        if let Some(starting) = &record.starting {
            return if starting.monitor.is_alive() {
                Status::Starting
            } else {
                self.observe_lost_start(record, starting, dir)
            };
        }
        let Some(run) = &record.run else {
            return Status::Idle;
        };
        let monitor_lives = run.monitor.is_alive();
        if let Some(ending) = &run.end {
            if let Some(pending) = &record.restarts.pending {
                return if pending.is_handled() {
                    Status::Restarting
                } else {
                    Status::RestartLost
                };
            }
            if let Some(monitor) = record.asleep.as_ref().filter(|_| run.is_suspended()) {
                return if monitor.is_alive() {
                    Status::Asleep
                } else {
                    Status::SleepLost
                };
            }
            return if record.spec.get().remove_when_ended && !run.is_suspended() {
                Status::Ended {
                    ending: ending.clone(),
                    handled: monitor_lives,
                }
            } else {
                Status::Idle
            };
        }
        if run.restoring.is_some() && monitor_lives {
            return Status::Starting;
        }
        match &run.vmm {
            Some(vmm) if vmm.is_alive() => {
                let vmm = Vmm { dir, process: vmm };
                let state = guest_state(self.driver(record), &vmm);
                if monitor_lives {
                    Status::Running { state }
                } else {
                    Status::Orphaned { state }
                }
            }
            vmm => Status::Ended {
                ending: ending(self.driver(record), vmm.as_ref(), dir),
                handled: monitor_lives,
            },
        }
    }

    /// Looks for what a monitor left behind that died before it could record a VMM.
    fn observe_lost_start(&self, record: &Record, starting: &Starting, dir: &MachineDir) -> Status {
        if starting.monitor.is_from_another_boot() {
            return Status::StartLost;
        }
        let suspended = record.run.clone().filter(Run::is_suspended);
        for identity in process::living_in(dir.path()) {
            let argv = process::command_line(identity.pid);
            if self.settings.drivers.is_vmm(&argv, record.id) {
                return Status::Unrecorded {
                    run: Box::new(Run {
                        started_at: now(),
                        monitor: starting.monitor.clone(),
                        vmm: Some(identity),
                        ports: starting.ports.clone(),
                        hidden_ports: starting.hidden_ports.clone(),
                        end: None,
                        // What it was to restore it did not, or not completely.
                        restoring: suspended.clone().map(Box::new),
                        unknown: Map::new(),
                    }),
                };
            }
            // Between fork and exec, a process has the arguments of its parent, or none.
            if is_forked_monitor(&argv, record.id) || argv.iter().all(Vec::is_empty) {
                return Status::Starting;
            }
        }
        Status::StartLost
    }
}

/// Returns whether these are the arguments of a monitor that starts this machine: then the process
/// is about to become the VMM.
fn is_forked_monitor(argv: &[Vec<u8>], id: Id) -> bool {
    let id = id.to_string();
    argv.windows(3).any(|window| match window {
        [task, _, word] => is_monitor_task(task) && word == id.as_bytes(),
        _ => false,
    })
}

/// Returns the state of a guest whose VMM is alive.
pub(crate) fn guest_state(driver: Option<&'static dyn Driver>, vmm: &Vmm<'_>) -> MachineState {
    let Some(driver) = driver else {
        return MachineState::Running;
    };
    let log = driver.events(vmm.dir);
    if !log.is_ready() {
        // Nothing of the guest has run.
        return MachineState::Created;
    }
    let state = log.state();
    // A VMM may stop a guest that it cannot execute any further without an event that says why.
    let ask = state == MachineState::Paused
        || !driver.capabilities().event_log
        || compact::may_have_gaps(vmm.dir);
    let answer = ask
        .then(|| driver.query_state(vmm, QUERY_TIMEOUT))
        .flatten();
    answer.unwrap_or(state)
}

/// Determines how a machine ended whose VMM has exited, without its exit status.
fn ending(driver: Option<&'static dyn Driver>, vmm: Option<&Identity>, dir: &MachineDir) -> Ending {
    if let Some(ending) = driver.and_then(|driver| reported_ending(driver, dir, None).1) {
        return ending;
    }
    let from_another_boot = vmm.is_some_and(Identity::is_from_another_boot);
    Ending {
        at: last_activity(dir).unwrap_or_else(now),
        reason: if from_another_boot {
            EndReason::HostDown
        } else {
            EndReason::Vanished
        },
    }
}

/// Returns the events of a VMM that has exited, and the end that follows from them and from its
/// exit status.
pub(crate) fn reported_ending(
    driver: &dyn Driver,
    dir: &MachineDir,
    status: Option<ExitStatus>,
) -> (EventLog, Option<Ending>) {
    let events = driver.events(dir);
    let exited = Exited {
        dir,
        events: &events,
        status,
    };
    let mut ending = driver.ending(&exited);
    if let Some(ending) = &mut ending
        && ending.reason == EndReason::PoweredOff
        && let Some(code) = status_on_console(dir).filter(|code| *code != 0)
    {
        ending.reason = EndReason::Exited { code };
    }
    (events, ending)
}

/// Returns the exit status that the built-in runtime printed last: only QEMU on `x86_64` has a device
/// that takes it.
fn status_on_console(dir: &MachineDir) -> Option<u8> {
    let record = Record::load(dir).ok()?;
    let spec = record.spec.get();
    let has_device = spec.arch == Arch::X86_64 && spec.platform == Platform::Qemu;
    if spec.guest != Guest::Runtime || has_device {
        return None;
    }
    let tail = fs::read_tail(&console::last_written(&dir.console())?, LONGEST_STATUS).ok()?;
    exit_status(&tail)
}

/// The size of the end of a console that has the line with the exit status, in bytes.
const LONGEST_STATUS: u64 = 64;

/// Parses the last line of a console: `kraft: exit status 7`.
pub(crate) fn exit_status(tail: &[u8]) -> Option<u8> {
    let text = String::from_utf8_lossy(tail);
    let last = text.trim_end().lines().next_back()?;
    last.strip_prefix("kraft: exit status ")?.parse().ok()
}

/// Returns when the VMM last wrote to one of its files.
fn last_activity(dir: &MachineDir) -> Option<Timestamp> {
    [dir.events(), dir.vmm_log()]
        .into_iter()
        .chain(console::last_written(&dir.console()))
        .filter_map(|path| std::fs::metadata(path).ok()?.modified().ok())
        .max()
        .and_then(|time| Timestamp::try_from(time).ok())
}

#[cfg(test)]
mod tests {
    use super::exit_status;

    #[test]
    fn the_exit_status_is_the_last_line_of_the_console() {
        for (tail, expected) in [
            (&b"hello\r\nkraft: exit status 7\r\n"[..], Some(7)),
            (b"kraft: exit status 255\n", Some(255)),
            (b"kraft: exit status 256\n", None),
            (b"kraft: exit status 7\r\nmore\r\n", None),
            (b"\xff not kraft: exit status 7\n", None),
            (b"", None),
        ] {
            assert_eq!(exit_status(tail), expected, "{tail:?}");
        }
    }
}
