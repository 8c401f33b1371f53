//! The supervisor: the process of a container, as engines see it.
//!
//! It is this program, started by `create` with a hidden argument. It enters the control group and the
//! network namespace of the container and waits. When it is asked to, it starts the VMM as its child;
//! it copies the console, relays name servers, passes on signals, cleans up, and exits with the code of
//! the container. If it is killed, the system kills the VMM.
//!
//! ```text
//! create ─► created ──start──► running ◄─pause, resume─► paused
//!              │ TERM             │ the guest ends, TERM, the VMM is killed
//!              ▼                  ▼
//!           exit 143           exit CODE
//! ```
//!
//! ```no_run
//! let mut args = std::env::args_os().skip(1);
//! if args.next().is_some_and(|arg| arg == kraft_runu::supervisor::ARGUMENT) {
//!     std::process::exit(i32::from(kraft_runu::supervisor::main(args)));
//! }
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kraft_core::machine::EndReason;
use kraft_machine::direct::Direct;
use kraft_machine::driver::Action;
use kraft_net::takeover;
use kraft_sys::{fs, process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

use crate::control::{self, Pending, Request};
use crate::failure::Failure;
use crate::network;
use crate::state::{Container, Network, StateDir, Status};

mod files;
mod launch;
mod names;
mod streams;

use launch::Launched;

/// The hidden argument with which this program becomes a supervisor.
pub const ARGUMENT: &str = "__runu-supervisor";

/// The interval at which the files of the VMM are kept small.
const TURN: Duration = Duration::from_secs(1);

/// How long a VMM may take to do something.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the rest of the output may take to be written, once the VMM has exited.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// How long a guest that reports a crash may take to end by itself.
const CRASHING: Duration = Duration::from_secs(1);

/// The exit code of a container whose machine could not be started.
const NOT_STARTED: u8 = 127;

/// What happens.
#[derive(Debug)]
enum Event {
    Signal(i32),
    Asked(Pending),
    /// The VMM has exited.
    Exited,
    /// The guest has printed that it crashed.
    Crashed,
}

/// Becomes the supervisor of the container in a directory, and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let Some(dir) = args.into_iter().next() else {
        return 2;
    };
    let dir = StateDir::of(PathBuf::from(dir));
    match Supervisor::prepare(dir.clone()) {
        Ok(supervisor) => supervisor.run(),
        Err(failure) => {
            dir.set_failure(&failure);
            1
        }
    }
}

struct Supervisor {
    dir: StateDir,
    container: Container,
    events: Receiver<Event>,
    /// For the threads that watch something.
    sender: Sender<Event>,
}

impl Supervisor {
    /// Does all that `create` waits for.
    fn prepare(dir: StateDir) -> Result<Self, Failure> {
        let container = dir.load()?;
        let failed = |what: &'static str| move |e: std::io::Error| Failure::of(what, &e);
        process::keep_files_from_children().map_err(failed("cannot examine open files"))?;
        std::env::set_current_dir(dir.path())
            .map_err(failed("cannot enter the directory of the container"))?;
        // Fails only if this process leads a session already.
        let _ = process::leave_session();
        if container.terminal {
            // Its size is reported by a signal then. Without that, it has the first one only.
            let _ = rustix::process::ioctl_tiocsctty(std::io::stdin());
        }
        process::survive_file_size_limit().map_err(failed("cannot ignore a signal"))?;
        container.cgroup.join()?;
        network::enter(&container.network)?;
        let (sender, events) = mpsc::channel();
        watch_signals(&sender).map_err(failed("cannot watch signals"))?;
        let listener = control::listen().map_err(failed("cannot listen for requests"))?;
        let requests = sender.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(pending) = Pending::read(stream)
                    && requests.send(Event::Asked(pending)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            dir,
            container,
            events,
            sender,
        })
    }

    fn run(mut self) -> u8 {
        let launched = loop {
            match self.events.recv() {
                Ok(Event::Signal(signal)) if is_end(signal) => return by_signal(signal),
                Ok(Event::Asked(pending)) => match pending.request {
                    Request::Hello => pending.answer(Ok(())),
                    Request::Start => match self.start() {
                        Ok(launched) => {
                            pending.answer(Ok(()));
                            break launched;
                        }
                        Err(failure) => {
                            pending.answer(Err(failure));
                            return NOT_STARTED;
                        }
                    },
                    Request::Pause | Request::Resume => pending.answer(Err(Failure(format!(
                        "container `{}` is not running",
                        self.container.id
                    )))),
                },
                Ok(Event::Signal(_) | Event::Exited | Event::Crashed) => {}
                Err(_) => return NOT_STARTED,
            }
        };
        let code = self.attend(launched);
        self.clean();
        code
    }

    fn start(&mut self) -> Result<Launched, Failure> {
        let launched = launch::launch(&self.dir, &mut self.container, &self.sender);
        if launched.is_err() {
            self.clean();
        }
        let launched = launched?;
        self.dir.set_phase(Status::Running)?;
        Ok(launched)
    }

    /// Does what is due until the VMM has exited; returns the exit code.
    fn attend(&mut self, mut launched: Launched) -> u8 {
        let mut run = Run::default();
        loop {
            let machine = &mut launched.machine;
            let deadline = run.deadline();
            let turn = deadline.map_or(TURN, |it| it.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(turn.min(TURN)) {
                Ok(Event::Exited) => break,
                Ok(Event::Signal(SIGWINCH)) => streams::resize(machine),
                Ok(Event::Signal(signal)) if is_end(signal) => run.end(signal, machine),
                Ok(Event::Signal(_)) => {}
                Ok(Event::Crashed) => {
                    run.crashed.get_or_insert(Instant::now() + CRASHING);
                }
                Ok(Event::Asked(pending)) => self.answer(pending, &mut run, machine),
                Err(RecvTimeoutError::Timeout) => machine.compact(),
                Err(RecvTimeoutError::Disconnected) => machine.kill(),
            }
            if deadline.is_some_and(|it| it <= Instant::now()) {
                machine.kill();
            }
        }
        let tail = launched.output.finish(LAST_OUTPUT);
        let ending = launched.machine.ending(&tail);
        let reason = ending.map_or(EndReason::Vanished, |ending| ending.reason);
        if let EndReason::MonitorFailed { message, .. } = &reason {
            streams::complain(&format!("the VMM failed: {message}"));
        }
        exit_code(&reason, &run)
    }

    fn answer(&self, pending: Pending, run: &mut Run, machine: &Direct) {
        let (action, phase) = match pending.request {
            Request::Hello => return pending.answer(Ok(())),
            Request::Start => {
                let id = &self.container.id;
                return pending.answer(Err(Failure(format!("container `{id}` runs already"))));
            }
            Request::Pause => (Action::Pause, Status::Paused),
            Request::Resume => (Action::Resume, Status::Running),
        };
        let done = machine
            .control(action, PATIENCE)
            .map_err(|e| Failure::of("the VMM does not do that", &e))
            .and_then(|()| Ok(self.dir.set_phase(phase)?));
        if done.is_ok() {
            run.paused = phase == Status::Paused;
        }
        pending.answer(done);
    }

    /// Removes what the machine needed.
    fn clean(&self) {
        // A namespace of an engine may have other containers in it, and a machine that runs there keeps
        // its cards.
        if self.container.network != Network::Host
            && let Ok(_claim) = network::claim()
        {
            let links = takeover::links().unwrap_or_default();
            let _ = takeover::clean(&links);
        }
        let _ = fs::remove_tree(&self.dir.machine());
        let _ = fs::remove_file(&self.dir.initrd());
    }
}

/// What has happened to a machine that runs.
#[derive(Debug, Default)]
struct Run {
    /// The signal that asked it to end.
    asked: Option<i32>,
    /// When the VMM is killed that was asked to exit.
    quitting: Option<Instant>,
    /// When the VMM of a guest is killed that has crashed.
    crashed: Option<Instant>,
    paused: bool,
}

impl Run {
    /// Ends a machine: a guest that can shut down is asked to, others have nothing to lose.
    fn end(&mut self, signal: i32, machine: &Direct) {
        self.asked.get_or_insert(signal);
        if !self.paused && self.quitting.is_none() && machine.ask_to_shut_down(PATIENCE) {
            return;
        }
        // It may exit before it answers.
        let _ = machine.control(Action::Quit, PATIENCE);
        self.quitting.get_or_insert(Instant::now() + PATIENCE);
    }

    fn deadline(&self) -> Option<Instant> {
        self.quitting.into_iter().chain(self.crashed).min()
    }
}

/// Returns the exit code of a container.
fn exit_code(reason: &EndReason, run: &Run) -> u8 {
    if run.crashed.is_some() {
        return 1;
    }
    match (reason, run.asked) {
        // The guest did not end by itself.
        (EndReason::Stopped | EndReason::Killed { .. } | EndReason::Vanished, Some(signal)) => {
            by_signal(signal)
        }
        (reason, _) => u8::try_from(reason.exit_code()).unwrap_or(1),
    }
}

/// Returns the exit code of a process that a signal ended.
fn by_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Returns whether a signal asks a container to end.
fn is_end(signal: i32) -> bool {
    matches!(signal, SIGTERM | SIGINT | SIGQUIT)
}

fn watch_signals(sender: &Sender<Event>) -> std::io::Result<()> {
    // SIGHUP means that the terminal was closed: an engine ends its containers by other signals.
    let watched = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGWINCH];
    let mut signals = signal_hook::iterator::Signals::new(watched)?;
    let sender = sender.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_guests_unless_a_signal_ended_it() {
        let asked = Run {
            asked: Some(SIGTERM),
            ..Run::default()
        };
        let none = Run::default();
        let crashed = Run {
            crashed: Some(Instant::now()),
            ..Run::default()
        };
        let killed = EndReason::Killed { signal: Some(9) };
        let own = EndReason::Exited { code: 7 };
        assert_eq!(exit_code(&EndReason::PoweredOff, &none), 0);
        assert_eq!(exit_code(&own, &none), 7);
        assert_eq!(exit_code(&own, &asked), 7);
        assert_eq!(exit_code(&EndReason::Stopped, &asked), 143);
        assert_eq!(exit_code(&killed, &asked), 143);
        // Memory ran out, or another process killed the VMM.
        assert_eq!(exit_code(&killed, &none), 137);
        assert_eq!(exit_code(&EndReason::PoweredOff, &crashed), 1);
    }
}
