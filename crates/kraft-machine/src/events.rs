//! What happens to all machines, as a stream.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::machine::EndReason;

use crate::diary::Change;
use crate::id::Id;
use crate::machines::{Error, Listed, Machine, Machines, now, read_diary};

/// How often the machines are looked at.
const STEP: Duration = Duration::from_millis(50);

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineEvent {
    /// When.
    pub at: Timestamp,
    /// To which machine.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// What.
    pub what: What,
}

/// What can happen to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was made.
    Created,
    /// It was started.
    Started,
    /// It was paused.
    Paused,
    /// It goes on.
    Unpaused,
    /// It put itself to sleep.
    Suspended,
    /// It woke up.
    Woken,
    /// It ended.
    Ended(EndReason),
    /// It was removed.
    Removed,
}

/// What happens to all machines from the moment it was made.
#[derive(Debug)]
pub struct EventStream {
    machines: Machines,
    known: BTreeMap<Id, Known>,
    waiting: VecDeque<MachineEvent>,
}

/// What was already told of a machine.
#[derive(Debug)]
struct Known {
    name: String,
    told: Vec<(Timestamp, What)>,
}

impl Machines {
    /// Begins to collect what happens to the machines, from now on.
    pub fn events(&self) -> Result<EventStream, Error> {
        let mut stream = EventStream {
            machines: self.clone(),
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        stream.look()?;
        stream.waiting.clear();
        Ok(stream)
    }
}

impl EventStream {
    /// Waits for the next event, at most as long as told.
    pub fn next(&mut self, limit: Duration) -> Result<Option<MachineEvent>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            self.look()?;
            if self.waiting.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                std::thread::sleep(STEP.min(left));
            }
        }
    }

    /// Compares all machines with what was told of them.
    fn look(&mut self) -> Result<(), Error> {
        let mut fresh = Vec::new();
        let mut seen = Vec::new();
        for listed in self.machines.list()? {
            match listed {
                Listed::Machine(machine) => {
                    seen.push(machine.id);
                    self.compare(&machine, &mut fresh);
                }
                // It is there; more cannot be told.
                Listed::Unreadable(unreadable) => seen.push(unreadable.id),
            }
        }
        self.known.retain(|id, known| {
            let stays = seen.contains(id);
            if !stays {
                fresh.push(MachineEvent {
                    at: now(),
                    id: *id,
                    name: known.name.clone(),
                    what: What::Removed,
                });
            }
            stays
        });
        fresh.sort_by_key(|event| event.at);
        self.waiting.extend(fresh);
        Ok(())
    }

    fn compare(&mut self, machine: &Machine, fresh: &mut Vec<MachineEvent>) {
        let known = self.known.entry(machine.id).or_insert_with(|| Known {
            name: machine.name.clone(),
            told: Vec::new(),
        });
        let history = history(&self.machines, machine);
        for (at, what) in &history {
            if !known.told.contains(&(*at, what.clone())) {
                fresh.push(MachineEvent {
                    at: *at,
                    id: machine.id,
                    name: machine.name.clone(),
                    what: what.clone(),
                });
            }
        }
        known.told = history;
    }
}

/// Returns what is known to have happened to a machine, in order: its making and its last run.
fn history(machines: &Machines, machine: &Machine) -> Vec<(Timestamp, What)> {
    let mut history = vec![(machine.created_at, What::Created)];
    let Some(started_at) = machine.started_at else {
        return history;
    };
    history.push((started_at, What::Started));
    for entry in read_diary(&machines.machine_dir(machine.id)).entries {
        let what = match entry.what {
            Change::Paused => What::Paused,
            Change::Resumed => What::Unpaused,
            Change::Suspended => What::Suspended,
            Change::Woken => What::Woken,
        };
        history.push((entry.at, what));
    }
    if let (Some(at), Some(reason)) = (machine.ended_at, &machine.end) {
        history.push((at, What::Ended(reason.clone())));
    }
    history
}
