//! The truth about a machine: its record, its processes and its diary, put together.
//!
//! Looking changes nothing; who looks under the machine's lock may then bring the record up to the
//! truth.

use std::time::Duration;

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineState};
use kraft_sys::fs;
use kraft_sys::process::{self, Identity};
use serde_json::Map;

use crate::console;
use crate::diary::{Diary, state_after};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::now;
use crate::qmp::Qmp;
use crate::record::{Ending, Record, Run, Starting};
use crate::upkeep;

/// The most of the VMM's own log that is read, in bytes: its end.
const MOST_LOG: u64 = 64 << 10;

/// How long a VMM may take to tell its state.
const PATIENCE: Duration = Duration::from_millis(300);

/// What is so.
#[derive(Debug, Clone)]
pub(crate) enum Truth {
    /// Nothing runs, and the record says so: it was never started, or has ended.
    Idle,
    /// A monitor is starting it.
    Starting,
    /// A monitor was starting it, and died before a VMM ran.
    NeverRan,
    /// A monitor was starting it, and died when the VMM ran and was not yet recorded.
    Found { run: Box<Run> },
    /// Its VMM lives.
    Alive { state: MachineState },
    /// Its VMM lives and its monitor does not.
    Orphaned { state: MachineState },
    /// Its VMM does not live, and that is to be written down or the machine to be removed. Unless
    /// it is as good as `settled`, because its monitor lives, that is on us.
    Ended { ending: Ending, settled: bool },
}

impl Truth {
    /// Tells whether the record says all of it, or somebody lives who will see to that.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Idle | Self::Starting | Self::Alive { .. } => true,
            Self::Ended { settled, .. } => *settled,
            Self::NeverRan | Self::Found { .. } | Self::Orphaned { .. } => false,
        }
    }

    /// Tells whether a VMM runs.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            Self::Alive { .. } | Self::Orphaned { .. } | Self::Found { .. } => true,
            Self::Idle | Self::Starting | Self::NeverRan | Self::Ended { .. } => false,
        }
    }

    pub(crate) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Ended { ending, .. } => Some(ending),
            Self::Idle
            | Self::Starting
            | Self::NeverRan
            | Self::Found { .. }
            | Self::Alive { .. }
            | Self::Orphaned { .. } => None,
        }
    }

    pub(crate) fn state(&self, record: &Record) -> MachineState {
        match self {
            Self::Alive { state } | Self::Orphaned { state } => *state,
            Self::Found { .. } => MachineState::Running,
            Self::Ended { ending, .. } => state_after(&ending.reason),
            Self::Idle | Self::Starting | Self::NeverRan => {
                let last = record.run.as_ref().and_then(|run| run.end.as_ref());
                last.map_or(MachineState::Created, |end| state_after(&end.reason))
            }
        }
    }
}

/// Finds out what is so.
pub(crate) fn truth(record: &Record, dir: &MachineDir) -> Truth {
    if let Some(starting) = &record.starting {
        return if starting.monitor.is_alive() {
            Truth::Starting
        } else {
            left_by_monitor(record, starting, dir)
        };
    }
    let Some(run) = &record.run else {
        return Truth::Idle;
    };
    let monitor_lives = run.monitor.is_alive();
    if let Some(ending) = &run.end {
        return if record.spec.get().remove_when_ended {
            Truth::Ended {
                ending: ending.clone(),
                settled: monitor_lives,
            }
        } else {
            Truth::Idle
        };
    }
    let diary = read_diary(dir);
    match &run.vmm {
        Some(vmm) if vmm.is_alive() => {
            let state = state_of_living(&diary, dir);
            if monitor_lives {
                Truth::Alive { state }
            } else {
                Truth::Orphaned { state }
            }
        }
        vmm => Truth::Ended {
            ending: ending(&diary, vmm.as_ref(), dir),
            settled: monitor_lives,
        },
    }
}

/// Returns whether a command line is that of a VMM of this machine: `… -name ID …`.
pub(crate) fn is_vmm(words: &[Vec<u8>], id: Id) -> bool {
    let id = id.to_string();
    words.windows(2).any(|window| match window {
        [option, value] => option == b"-name" && value == id.as_bytes(),
        _ => false,
    })
}

/// Tells whether these are still a monitor's words: of one that is about to become the VMM.
fn is_becoming_vmm(words: &[Vec<u8>], id: Id) -> bool {
    let id = id.to_string();
    words.windows(3).any(|window| match window {
        [task, _, word] => task == b"start" && word == id.as_bytes(),
        _ => false,
    })
}

/// Looks for what a monitor left behind that died before it could record a VMM.
fn left_by_monitor(record: &Record, starting: &Starting, dir: &MachineDir) -> Truth {
    if starting.monitor.is_from_another_boot() {
        return Truth::NeverRan;
    }
    for identity in process::living_in(dir.path()) {
        let words = process::command_line(identity.pid);
        if is_vmm(&words, record.id) {
            return Truth::Found {
                run: Box::new(Run {
                    started_at: now(),
                    monitor: starting.monitor.clone(),
                    vmm: Some(identity),
                    ports: starting.ports.clone(),
                    end: None,
                    unknown: Map::new(),
                }),
            };
        }
        // Between its birth and its first own word a program has the words of its parent, or none.
        if is_becoming_vmm(&words, record.id) || words.iter().all(Vec::is_empty) {
            return Truth::Starting;
        }
    }
    Truth::NeverRan
}

/// Reads the diary, or nothing where there is none.
pub(crate) fn read_diary(dir: &MachineDir) -> Diary {
    upkeep::read(dir)
}

pub(crate) fn state_of_living(diary: &Diary, dir: &MachineDir) -> MachineState {
    if !diary.ready {
        // The VMM has not come up: nothing of the guest has run.
        return MachineState::Created;
    }
    let state = diary.state();
    // QEMU also stops a guest that it cannot execute any further, and does not write down why.
    if state != MachineState::Paused && !upkeep::has_gaps(dir) {
        return state;
    }
    match ask(dir).as_deref() {
        Some("internal-error" | "io-error") => MachineState::Failed,
        Some("guest-panicked") => MachineState::Errored,
        Some("running") => MachineState::Running,
        Some("paused") => MachineState::Paused,
        Some("suspended") => MachineState::Suspended,
        _ => state,
    }
}

fn ask(dir: &MachineDir) -> Option<String> {
    let open = std::fs::File::open(dir.path()).ok()?;
    let socket = process::short_path(&open).join("control.sock");
    Qmp::connect(&socket, PATIENCE).ok()?.status().ok()
}

/// Works out how a machine ended whose VMM is gone and whose exit status nobody got.
fn ending(diary: &Diary, vmm: Option<&Identity>, dir: &MachineDir) -> Ending {
    if let Some(ending) = written_ending(diary, dir) {
        return ending;
    }
    let from_another_boot = vmm.is_some_and(Identity::is_from_another_boot);
    Ending {
        at: last_sign(dir).unwrap_or_else(now),
        reason: if from_another_boot {
            EndReason::HostDown
        } else {
            EndReason::Vanished
        },
    }
}

/// Returns the ending that the diary tells, with the signal's number if the VMM told that.
pub(crate) fn written_ending(diary: &Diary, dir: &MachineDir) -> Option<Ending> {
    let ending = diary.ending().or_else(|| {
        // It panicked, and the VMM was ended before it could end itself.
        diary.panicked_at().map(|at| Ending {
            at,
            reason: EndReason::Crashed {
                what: "guest panicked".to_owned(),
            },
        })
    })?;
    Some(match ending.reason {
        EndReason::Killed { signal: None } => Ending {
            reason: EndReason::Killed {
                signal: signal_in(&vmm_log(dir)),
            },
            ..ending
        },
        _ => ending,
    })
}

/// Returns what the VMM's program said.
pub(crate) fn vmm_log(dir: &MachineDir) -> String {
    let bytes = fs::read_tail(&dir.vmm_log(), MOST_LOG).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Finds the signal in QEMU's words: `terminating on signal 15 from pid 1 (init)`.
fn signal_in(log: &str) -> Option<i32> {
    let (_, after) = log.rsplit_once("terminating on signal ")?;
    after
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Returns when the machine last left a trace.
fn last_sign(dir: &MachineDir) -> Option<Timestamp> {
    [dir.diary_out(), dir.vmm_log()]
        .into_iter()
        .chain(console::last_written(&dir.console()))
        .filter_map(|path| std::fs::metadata(path).ok()?.modified().ok())
        .max()
        .and_then(|time| Timestamp::try_from(time).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_found_in_the_vmms_words() {
        let log = "qemu-system-x86_64: terminating on signal 15 from pid 42 (kill)\n";
        assert_eq!(signal_in(log), Some(15));
        assert_eq!(signal_in("terminating on signal "), None);
        assert_eq!(signal_in(""), None);
    }
}
