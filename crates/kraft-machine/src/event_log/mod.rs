//! What a VMM reported about its guest, folded into one value.
//!
//! A VMM appends one line per event to a file in the machine's directory. The driver parses the
//! lines ([`Driver::parse_event`](crate::driver::Driver::parse_event)) and records what they mean;
//! state and end of the machine follow from that. [`mod@file`] reads the file and keeps it small.

use std::collections::VecDeque;

use jiff::Timestamp;
use kraft_core::machine::{EndReason, MachineState};
use serde::{Deserialize, Serialize};

use crate::record::Ending;

pub(crate) mod file;

/// The number of state changes that are kept: the latest ones.
const MAX_CHANGES: usize = 256;

/// The events of one run, folded line by line.
///
/// It can be stored and continued later: the lines it was made from are not needed any more. The
/// names of its fields on disk are those of the first versions, so that running machines are
/// understood after an upgrade.
///
/// ```
/// use jiff::Timestamp;
/// use kraft_core::machine::{EndReason, MachineState};
/// use kraft_machine::{EventLog, StateChange, VmmEvent};
///
/// let mut log = EventLog::default();
/// assert!(!log.is_ready());
/// log.set_ready();
/// log.record(Timestamp::UNIX_EPOCH, VmmEvent::Change(StateChange::Paused));
/// assert_eq!(log.state(), MachineState::Paused);
/// log.record(Timestamp::UNIX_EPOCH, VmmEvent::Ended(EndReason::PoweredOff));
/// assert_eq!(log.ending().map(|end| end.reason), Some(EndReason::PoweredOff));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    ready: bool,
    #[serde(rename = "entries")]
    changes: VecDeque<TimedChange>,
    /// Whether there was an event.
    #[serde(rename = "begun")]
    has_events: bool,
    #[serde(rename = "changed")]
    last_change: Option<StateChange>,
    /// Whether the guest was resumed.
    #[serde(default)]
    resumed: bool,
    panicked_at: Option<Timestamp>,
    #[serde(default)]
    crash_loaded: bool,
    ending: Option<Ending>,
}

/// A change of the guest's state, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedChange {
    /// The time of the change, by the clock of the host.
    pub at: Timestamp,
    /// The change.
    #[serde(rename = "what")]
    pub change: StateChange,
}

/// A change of the guest's state that does not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateChange {
    /// Its processors were stopped.
    Paused,
    /// Its processors were started again.
    Resumed,
    /// The guest suspended itself.
    Suspended,
    /// The guest woke up.
    Woken,
}

/// An event that a VMM reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmmEvent {
    /// The state of the guest changed.
    Change(StateChange),
    /// The guest reported a panic. The VMM may continue.
    Panicked,
    /// The guest reported that it handles a panic itself. With an exit status of the guest, this is
    /// the status's highest bit.
    CrashLoaded,
    /// The VMM is about to end.
    Ended(EndReason),
}

impl EventLog {
    /// Records that the VMM is ready: its devices exist, its ports are open and the kernel is
    /// loaded.
    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Records an event. After the end, events have no effect.
    ///
    /// A resume as the first event is not a change: that is how a guest begins to run that is
    /// started paused.
    pub fn record(&mut self, at: Timestamp, event: VmmEvent) {
        let first = !std::mem::replace(&mut self.has_events, true);
        if self.ending.is_some() {
            return;
        }
        self.resumed |= event == VmmEvent::Change(StateChange::Resumed);
        match event {
            VmmEvent::Change(StateChange::Resumed) if first => {}
            VmmEvent::Change(change) => {
                self.last_change = Some(change);
                self.changes.push_back(TimedChange { at, change });
                if self.changes.len() > MAX_CHANGES {
                    self.changes.pop_front();
                }
            }
            VmmEvent::Panicked => {
                self.panicked_at.get_or_insert(at);
            }
            VmmEvent::CrashLoaded => {
                self.crash_loaded |= self.panicked_at.is_none();
                self.panicked_at.get_or_insert(at);
            }
            VmmEvent::Ended(reason) => {
                let reason = if self.panicked_at.is_some() {
                    panicked()
                } else {
                    reason
                };
                self.ending = Some(Ending { at, reason });
            }
        }
    }

    /// Returns whether the VMM has become ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Returns whether the guest was resumed: a guest that is started paused has not run before.
    pub fn has_resumed(&self) -> bool {
        self.resumed
    }

    /// Returns the latest state changes, oldest first.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = &TimedChange> {
        self.changes.iter()
    }

    /// Returns the state of the guest while the VMM lives; the state after its end if the VMM has
    /// reported that and not yet exited.
    pub fn state(&self) -> MachineState {
        if let Some(ending) = &self.ending {
            return state_after(&ending.reason);
        }
        match self.last_change {
            Some(StateChange::Paused) => MachineState::Paused,
            Some(StateChange::Suspended) => MachineState::Suspended,
            Some(StateChange::Resumed | StateChange::Woken) | None => MachineState::Running,
        }
    }

    /// Returns how the machine ended, as far as the VMM reported it. A panic counts as the end if
    /// the VMM was ended before it could report one.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.clone().or_else(|| {
            self.panicked_at.map(|at| Ending {
                at,
                reason: panicked(),
            })
        })
    }

    /// Returns whether the first thing that the guest reported is that it handles a panic itself.
    pub fn is_crash_loaded(&self) -> bool {
        self.crash_loaded
    }

    /// Returns whether the guest has reported a panic.
    pub fn has_panicked(&self) -> bool {
        self.panicked_at.is_some()
    }
}

fn panicked() -> EndReason {
    EndReason::Crashed {
        what: "guest panicked".to_owned(),
    }
}

/// Returns the state of a machine that has ended for this reason.
pub(crate) fn state_after(reason: &EndReason) -> MachineState {
    match reason {
        EndReason::PoweredOff
        | EndReason::Exited { .. }
        | EndReason::Stopped
        | EndReason::Killed { .. }
        | EndReason::HostDown
        | EndReason::Vanished => MachineState::Exited,
        EndReason::Suspended => MachineState::Suspended,
        EndReason::Crashed { .. } => MachineState::Errored,
        EndReason::MonitorFailed { .. } => MachineState::Failed,
    }
}
