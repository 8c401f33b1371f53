//! Events of all machines, as a stream.
//!
//! The files of machines are watched (`inotify(7)`), and so are the processes of their VMMs: a VMM
//! whose monitor was killed ends without a write. Where files cannot be watched, they are read again
//! and again.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::machine::EndReason;

use kraft_sys::process::{Identity, Process, wait_readable};

use crate::event_log::StateChange;
use crate::file_watch::FileWatch;
use crate::id::Id;
use crate::machines::{Error, Listed, Machine, Machines, now};

/// The interval of polling where files cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The shortest time between two looks at all machines: a guest may cause any number of changes.
const SPACING: Duration = Duration::from_millis(10);

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
    watch: Option<FileWatch>,
    /// Whether the directory of machines is watched.
    watches_all: bool,
    looked: Instant,
}

/// What was already reported about a machine.
#[derive(Debug)]
struct Known {
    name: String,
    reported: Vec<(Timestamp, EventKind)>,
    /// Whether its directory is watched.
    watched: bool,
    /// The process of its VMM by its id; no longer open once it has ended.
    vmm: Option<(u32, Option<Process>)>,
}

impl Known {
    /// Opens the process of the VMM, unless that is the known one.
    fn follow(&mut self, pid: Option<u32>) {
        let known = self.vmm.as_ref().map(|(pid, _)| *pid);
        if known != pid {
            self.vmm = pid.map(|pid| {
                let process = Identity::of(pid).and_then(|id| Process::open(&id).ok()?);
                (pid, process)
            });
        }
    }
}

impl Machines {
    /// Opens a stream of the events from now on.
    pub fn events(&self) -> Result<EventStream, Error> {
        self.open_events(None)
    }

    /// As [`events`](Self::events), and the stream begins with the known events since a time: for each
    /// machine that exists its creation, and the events of its last run.
    ///
    /// # Errors
    ///
    /// If the directory of the machines cannot be read.
    pub fn events_since(&self, since: Timestamp) -> Result<EventStream, Error> {
        self.open_events(Some(since))
    }

    fn open_events(&self, since: Option<Timestamp>) -> Result<EventStream, Error> {
        let mut stream = EventStream {
            machines: self.clone(),
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            watch: FileWatch::empty(),
            watches_all: false,
            looked: Instant::now(),
        };
        stream.look()?;
        let is_asked = |at| since.is_some_and(|since| at >= since);
        stream.waiting.retain(|event| is_asked(event.at));
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
            self.look()?;
            if self.waiting.is_empty() {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                self.wait(deadline)
                    .map_err(Error::on("wait for a change of the machines"))?;
            }
        }
    }

    /// Waits for a change, at most until `deadline`.
    fn wait(&mut self, deadline: Instant) -> std::io::Result<()> {
        let until = if self.watches_all && self.known.values().all(|known| known.watched) {
            deadline
        } else {
            deadline.min(Instant::now() + POLL_INTERVAL)
        };
        let mut vmms: Vec<&mut Option<Process>> = self
            .known
            .values_mut()
            .filter_map(|known| known.vmm.as_mut().map(|(_, process)| process))
            .filter(|process| process.is_some())
            .collect();
        let files: Vec<_> = vmms
            .iter()
            .filter_map(|process| process.as_ref().map(AsFd::as_fd))
            .chain(self.watch.as_ref().map(AsFd::as_fd))
            .collect();
        let ready = wait_readable(&files, Some(until))?;
        for (process, ended) in vmms.iter_mut().zip(ready) {
            if ended {
                **process = None;
            }
        }
        let spaced = self.looked + SPACING;
        std::thread::sleep(spaced.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Compares all machines with what was reported about them. A machine is looked at again once it
    /// is watched, so that no change is missed in between.
    fn look(&mut self) -> Result<(), Error> {
        loop {
            if let Some(watch) = &self.watch {
                watch.clear();
            }
            self.compare_all()?;
            if !self.watch_more() {
                self.looked = Instant::now();
                return Ok(());
            }
        }
    }

    /// Watches the directories that are not watched yet; returns whether there were any.
    fn watch_more(&mut self) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        let layout = &self.machines.layout;
        // It may not exist yet, or be removed and made again.
        let watches_all = watch.add_dir(&layout.machines());
        let mut more = watches_all && !self.watches_all;
        self.watches_all = watches_all;
        for (id, known) in &mut self.known {
            if !known.watched && watch.add_dir(layout.machine(*id).path()) {
                known.watched = true;
                more = true;
            }
        }
        more
    }

    fn compare_all(&mut self) -> Result<(), Error> {
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
            watched: false,
            vmm: None,
        });
        known.follow(machine.pid);
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
