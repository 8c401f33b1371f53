//! Events of all machines, as a stream.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::machine::EndReason;

use crate::event_log::StateChange;
use crate::id::Id;
use crate::machines::{Error, Listed, Machine, Machines, now};

/// The interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An event of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineEvent {
    /// The time of the event.
    pub at: Timestamp,
    /// The id of the machine.
    pub id: Id,
    /// The name of the machine.
    pub name: String,
    /// What happened.
    pub kind: EventKind,
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Created,
    /// It was started.
    Started,
    /// It was paused.
    Paused,
    /// It was resumed.
    Unpaused,
    /// It suspended itself.
    Suspended,
    /// It woke up.
    Woken,
    /// It ended.
    Ended(EndReason),
    /// It was removed.
    Removed,
}

/// The events of all machines since the stream was opened.
///
/// ```
/// use std::time::Duration;
///
/// use kraft_machine::driver::Drivers;
/// use kraft_machine::{DEFAULT_CONSOLE_LIMIT, Machines, Settings};
///
/// let dir = tempfile::tempdir()?;
/// let machines = Machines::open(Settings {
///     runtime_dir: dir.path().to_owned(),
///     monitor: vec!["/proc/self/exe".into(), "__monitor".into()],
///     drivers: Drivers::default(),
///     console_limit: DEFAULT_CONSOLE_LIMIT,
/// })?;
/// let mut events = machines.events()?;
/// assert!(events.next(Duration::ZERO)?.is_none(), "nothing happened");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventStream {
    machines: Machines,
    known: BTreeMap<Id, Known>,
    waiting: VecDeque<MachineEvent>,
}

/// What was already reported about a machine.
#[derive(Debug)]
struct Known {
    name: String,
    reported: Vec<(Timestamp, EventKind)>,
}

impl Machines {
    /// Opens a stream of the events from now on.
    pub fn events(&self) -> Result<EventStream, Error> {
        let mut stream = EventStream {
            machines: self.clone(),
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        stream.poll()?;
        stream.waiting.clear();
        Ok(stream)
    }
}

impl EventStream {
    /// Waits for the next event, at most for `limit`.
    pub fn next(&mut self, limit: Duration) -> Result<Option<MachineEvent>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            self.poll()?;
            if self.waiting.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                std::thread::sleep(POLL_INTERVAL.min(left));
            }
        }
    }

    /// Compares all machines with what was reported about them.
    fn poll(&mut self) -> Result<(), Error> {
        let mut fresh = Vec::new();
        let mut seen = Vec::new();
        for listed in self.machines.list()? {
            match listed {
                Listed::Machine(machine) => {
                    seen.push(machine.id);
                    self.compare(&machine, &mut fresh);
                }
                // It exists; its events cannot be read.
                Listed::Unreadable(unreadable) => seen.push(unreadable.id),
            }
        }
        self.known.retain(|id, known| {
            let exists = seen.contains(id);
            if !exists {
                fresh.push(MachineEvent {
                    at: now(),
                    id: *id,
                    name: known.name.clone(),
                    kind: EventKind::Removed,
                });
            }
            exists
        });
        fresh.sort_by_key(|event| event.at);
        self.waiting.extend(fresh);
        Ok(())
    }

    fn compare(&mut self, machine: &Machine, fresh: &mut Vec<MachineEvent>) {
        let known = self.known.entry(machine.id).or_insert_with(|| Known {
            name: machine.name.clone(),
            reported: Vec::new(),
        });
        let history = history(&self.machines, machine);
        for (at, kind) in &history {
            if !known.reported.contains(&(*at, kind.clone())) {
                fresh.push(MachineEvent {
                    at: *at,
                    id: machine.id,
                    name: machine.name.clone(),
                    kind: kind.clone(),
                });
            }
        }
        known.reported = history;
    }
}

/// Returns the known events of a machine in order: its creation and its last run.
fn history(machines: &Machines, machine: &Machine) -> Vec<(Timestamp, EventKind)> {
    let mut history = vec![(machine.created_at, EventKind::Created)];
    let Some(started_at) = machine.started_at else {
        return history;
    };
    history.push((started_at, EventKind::Started));
    if let Ok(driver) = machines.settings.drivers.get(machine.spec.platform) {
        let log = driver.events(&machines.machine_dir(machine.id));
        history.extend(log.changes().map(|change| (change.at, kind(change.change))));
    }
    if let (Some(at), Some(reason)) = (machine.ended_at, &machine.end) {
        history.push((at, EventKind::Ended(reason.clone())));
    }
    history
}

fn kind(change: StateChange) -> EventKind {
    match change {
        StateChange::Paused => EventKind::Paused,
        StateChange::Resumed => EventKind::Unpaused,
        StateChange::Suspended => EventKind::Suspended,
        StateChange::Woken => EventKind::Woken,
    }
}
