//! What is done to a machine that exists: stop, pause, go on, remove.

use std::fs::File;
use std::time::{Duration, Instant};

use kraft_core::machine::{EndReason, MachineState};
use kraft_sys::lock::Lock;
use kraft_sys::process::{Identity, Process, short_path};
use rustix::process::Signal;

use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::lost::{LAST_WAIT, kill_vmms, vmms_of};
use crate::machines::truth::{Truth, read_diary, state_of_living, truth, written_ending};
use crate::machines::{Error, Machine, Machines, StopOptions, now};
use crate::qmp::{Qmp, QmpError};
use crate::record::{Ending, Record};

/// How long a VMM may take to answer a command.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a VMM that is to end may take to greet us before it gets a signal instead.
const GREETING: Duration = Duration::from_secs(1);

/// How long a VMM may take to obey SIGTERM.
const TERM_WAIT: Duration = Duration::from_secs(1);

/// A machine that nobody else may change.
struct Held {
    _lock: Lock,
    dir: MachineDir,
    record: Record,
    truth: Truth,
    /// Whether it was being started, and we ended that.
    start_ended: bool,
}

impl Held {
    fn state(&self) -> MachineState {
        self.truth.state(&self.record)
    }

    fn name(&self) -> String {
        self.record.name.clone()
    }

    /// Returns the VMM's process if it lives.
    fn vmm(&self) -> Option<&Identity> {
        if !self.truth.is_alive() {
            return None;
        }
        self.record.run.as_ref()?.vmm.as_ref()
    }

    fn not_running(&self) -> Error {
        Error::NotRunning {
            name: self.name(),
            state: self.state(),
        }
    }

    /// Opens a conversation with the VMM.
    fn talk(&self, limit: Duration) -> Result<Qmp, QmpError> {
        let dir = File::open(self.dir.path())?;
        Qmp::connect(&short_path(&dir).join("control.sock"), limit)
    }
}

impl Machines {
    /// Ends a machine and returns how it ended: most likely [`EndReason::Stopped`], but a guest may
    /// have been quicker.
    ///
    /// The VMM is asked to quit; if it does not within the grace period, it gets SIGTERM and then
    /// SIGKILL. The guest is not asked: few unikernels listen to a power button.
    ///
    /// A start under way is ended, too, when the grace period is over.
    pub fn stop(&self, id: &Id, options: StopOptions) -> Result<Ending, Error> {
        let patience = if options.force {
            Duration::ZERO
        } else {
            options.grace
        };
        let stopped = || Ending {
            at: now(),
            reason: EndReason::Stopped,
        };
        let mut held = match self.hold(*id, Some(patience)) {
            Err(Error::EndedAndRemoved { .. }) => return Ok(stopped()),
            held => held?,
        };
        if held.truth.is_alive() {
            return self.end(&mut held, options);
        }
        let ended = held.record.run.as_ref().and_then(|run| run.end.clone());
        match ended {
            Some(ending) if held.start_ended => Ok(ending),
            _ if held.start_ended => Ok(stopped()),
            _ => Err(held.not_running()),
        }
    }

    /// Stops the guest's processors; what it was doing stays as it is.
    pub fn pause(&self, id: &Id) -> Result<Machine, Error> {
        let held = self.hold(*id, None)?;
        match held.state() {
            MachineState::Running => {}
            MachineState::Paused => return Err(Error::AlreadyPaused { name: held.name() }),
            _ => return Err(held.not_running()),
        }
        self.command(&held, "pause", "stop", MachineState::Paused)
    }

    /// Lets a paused guest go on.
    pub fn unpause(&self, id: &Id) -> Result<Machine, Error> {
        let held = self.hold(*id, None)?;
        let state = held.state();
        if state != MachineState::Paused {
            return Err(Error::NotPaused {
                name: held.name(),
                state,
            });
        }
        self.command(&held, "unpause", "cont", MachineState::Running)
    }

    /// Removes a machine with everything it left. A running one is refused, or with `force`
    /// killed first; with `force` even one is removed whose record is damaged or missing, or whose
    /// directory is gone while its VMM runs on.
    pub fn remove(&self, id: &Id, force: bool) -> Result<(), Error> {
        let patience = force.then_some(Duration::ZERO);
        let mut held = match self.hold(*id, patience) {
            Err(Error::Unreadable { source, .. }) if force && !source.is_foreign() => {
                return self.remove_blindly(*id);
            }
            Err(Error::EndedAndRemoved { .. }) => return Ok(()),
            held => held?,
        };
        if held.truth.is_alive() {
            if !force {
                return Err(Error::Running {
                    name: held.name(),
                    state: held.state(),
                });
            }
            let options = StopOptions {
                force: true,
                ..StopOptions::default()
            };
            self.end(&mut held, options)?;
            if held.record.spec.get().remove_when_ended {
                return Ok(());
            }
        }
        // A record can be older than what runs: restored, or edited.
        if force {
            kill_vmms(*id, &held.record.name)?;
        } else if !vmms_of(*id).is_empty() {
            return Err(Error::Running {
                name: held.name(),
                state: MachineState::Running,
            });
        }
        self.bury(*id)
    }

    /// Removes a machine without a readable record: whatever runs in its name is killed.
    fn remove_blindly(&self, id: Id) -> Result<(), Error> {
        let name = self.name_of(id).unwrap_or_else(|| id.to_string());
        let lock = match self.seize(id, Some(Duration::ZERO)) {
            Ok((lock, _)) => Some(lock),
            // Its directory was removed under its VMM.
            Err(Error::NotFound { .. } | Error::EndedAndRemoved { .. }) => None,
            Err(error) => return Err(error),
        };
        kill_vmms(id, &name)?;
        if lock.is_some() {
            return self.bury(id);
        }
        self.free_name(id, &name)
    }

    /// Takes a machine's lock and finds out how it is. For `patience` see [`Self::seize`].
    fn hold(&self, id: Id, patience: Option<Duration>) -> Result<Held, Error> {
        let dir = self.layout.machine(id);
        let gone = || Error::not_found(id);
        let load = || match self.load(id) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(gone()),
            Err(source) => Err(Error::Unreadable { id, source }),
        };
        // What is not a machine is not locked either.
        load()?;
        let (lock, start_ended) = self.seize(id, patience)?;
        let record = load().map_err(|error| match error {
            Error::NotFound { .. } if start_ended => Error::EndedAndRemoved { id },
            error => error,
        })?;
        let before = truth(&record, &dir);
        let (record, removed) = self.settle(record, &before, &dir);
        if removed {
            return Err(if start_ended {
                Error::EndedAndRemoved { id }
            } else {
                gone()
            });
        }
        let truth = if before.is_settled() {
            before
        } else {
            truth(&record, &dir)
        };
        Ok(Held {
            _lock: lock,
            dir,
            record,
            truth,
            start_ended,
        })
    }

    /// Ends the VMM and writes the end down. Whoever holds the lock when the process is dead does
    /// that; the monitor, which sees it as well, comes second and leaves it as it is.
    fn end(&self, held: &mut Held, options: StopOptions) -> Result<Ending, Error> {
        let Some(vmm) = held.vmm().cloned() else {
            return Err(held.not_running());
        };
        let process = Process::open(&vmm).map_err(Error::on("look after the VMM"))?;
        if let Some(process) = process
            && !end_process(held, &process, options).map_err(Error::on("end the VMM"))?
        {
            return Err(Error::WillNotEnd {
                name: held.name(),
                pid: vmm.pid,
            });
        }
        let ending = stopped(&held.dir);
        let truth = Truth::Ended {
            ending: ending.clone(),
            settled: false,
        };
        let (record, _) = self.settle(held.record.clone(), &truth, &held.dir);
        held.record = record;
        held.truth = truth;
        Ok(ending)
    }

    /// Has the VMM do something to the guest and waits until it is so.
    fn command(
        &self,
        held: &Held,
        what: &'static str,
        command: &str,
        wanted: MachineState,
    ) -> Result<Machine, Error> {
        let mut qmp = held
            .talk(PATIENCE)
            .map_err(|source| refused(held, what, source))?;
        qmp.execute(command)
            .map_err(|source| refused(held, what, source))?;
        // It talks to one at a time.
        drop(qmp);
        // The diary is what everybody else looks at.
        let state = || state_of_living(&read_diary(&held.dir), &held.dir);
        let deadline = Instant::now() + PATIENCE;
        while state() != wanted && Instant::now() < deadline {
            let vmm_lives = held.vmm().is_some_and(Identity::is_alive);
            if !vmm_lives {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.get(held.record.id)
    }
}

fn refused(held: &Held, what: &'static str, source: QmpError) -> Error {
    Error::Vmm {
        what,
        name: held.name(),
        source,
    }
}

/// Ends a VMM, politely first; returns whether it ended.
fn end_process(held: &Held, process: &Process, options: StopOptions) -> std::io::Result<bool> {
    if !options.force {
        let patience = options.grace.clamp(Duration::from_millis(100), GREETING);
        // A VMM that does not answer is ended all the same. One that quits may not find the time
        // to answer.
        if let Ok(mut qmp) = held.talk(patience) {
            let _ = qmp.execute("quit");
            if process.wait(Some(options.grace))? {
                return Ok(true);
            }
        }
        process.signal(Signal::TERM)?;
        if process.wait(Some(TERM_WAIT))? {
            return Ok(true);
        }
    }
    process.signal(Signal::KILL)?;
    process.wait(Some(LAST_WAIT))
}

/// Works out the end of a machine that we stopped: as the guest would have it, if it came first.
fn stopped(dir: &MachineDir) -> Ending {
    let by_us = |at| Ending {
        at,
        reason: EndReason::Stopped,
    };
    match written_ending(&read_diary(dir), dir) {
        Some(Ending {
            at,
            reason: EndReason::Killed { .. },
        }) => by_us(at),
        Some(ending) => ending,
        None => by_us(now()),
    }
}
