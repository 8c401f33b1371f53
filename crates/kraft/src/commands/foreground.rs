//! Machines in the foreground: their consoles on stdout until they end or Ctrl-C stops them.

use std::io;
use std::os::fd::AsFd;

use kraft_core::machine::EndReason;
use kraft_engine::attach::{COMMAND_TIMEOUT, DetachKeys, Session};
use kraft_engine::follow::{self, Console, Stopped};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines::how_it_ended;
use kraft_machine::{Error, LogsOptions, Machines, StopOptions, Watch};
use kraft_sys::terminal;

use crate::app::App;
use crate::failure::{Failure, Kind};

/// A machine in the foreground.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its name.
    pub(crate) name: String,
    /// Reports its end, even if the machine is removed when it ends.
    pub(crate) watch: Watch,
}

/// Prints the consoles of machines until they end; an interrupt stops the machines.
///
/// `interrupt` was registered before the first machine was created, so that an interrupt never
/// leaves a machine running. The first machine that failed decides the failure.
pub(crate) fn run(
    app: &App,
    machines: &Machines,
    started: &[Started],
    prefixes: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut named = Vec::new();
    for machine in started {
        named.push((
            machine.name.as_str(),
            machine.watch.logs(LogsOptions::default())?,
        ));
    }
    let prefixes = prefixes && started.len() > 1;
    let consoles = follow::consoles(named, prefixes, app.ui.colour());
    let followed = follow::follow(app, &mut app.ui.output(), consoles, interrupt);
    outcome(app, started, followed, Some(machines))
}

/// Returns the outcome of following machines. `stops` stops them unless they ended: machines that
/// were not started in the background must not continue without a console.
fn outcome(
    app: &App,
    started: &[Started],
    followed: Result<Stopped, follow::Error>,
    stops: Option<&Machines>,
) -> Result<(), Failure> {
    if let (Some(machines), Ok(Stopped::Interrupted) | Err(_)) = (stops, &followed) {
        stop_all(app, machines, started);
    }
    match followed? {
        Stopped::AllEnded => {
            let mut outcome = Ok(());
            for machine in started {
                let ending = machine.watch.wait()?;
                outcome = outcome.and(judge(&machine.name, &ending.reason));
            }
            outcome
        }
        Stopped::Interrupted => Err(Failure::reported(Kind::Interrupted)),
    }
}

/// Prints the console of a machine from now on, until it ends or the user interrupts.
pub(crate) fn follow(app: &App, machine: &Started, interrupt: &Interrupt) -> Result<(), Failure> {
    let logs = machine.watch.logs(LogsOptions {
        tail: Some(0),
        ..LogsOptions::default()
    })?;
    let consoles = vec![Console::plain(logs)];
    let followed = follow::follow(app, &mut app.ui.output(), consoles, interrupt);
    outcome(app, std::slice::from_ref(machine), followed, None)
}

/// How the user's terminal is connected to a console.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Whether the terminal is in raw mode, so that each key goes to the guest.
    pub(crate) tty: bool,
    /// The keys that end the connection.
    pub(crate) keys: DetachKeys,
    /// The part of the console that is printed first.
    pub(crate) logs: LogsOptions,
    /// Whether an interrupt stops the machine, or only ends the connection.
    pub(crate) stops: bool,
}

/// Checks before anything is created that a terminal can be connected.
pub(crate) fn check_terminal(tty: bool) -> Result<(), Failure> {
    if tty && !terminal::stdin_is_terminal() {
        return Err(Failure::new(
            Kind::Failed,
            "the input device is not a terminal: `--tty` needs one",
        )
        .hint("leave out `--tty`: with `--interactive` alone, the input can be a pipe or a file"));
    }
    Ok(())
}

/// Connects stdin and stdout to the console of a machine until it ends, or the user detaches.
pub(crate) fn connect(
    app: &App,
    machines: &Machines,
    machine: &Started,
    connection: Connection,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let logs = machine.watch.logs(connection.logs)?;
    let session = match machine.watch.input() {
        Ok(mut input) => {
            if connection.stops {
                // Fails only if the machine has ended.
                let _ = input.begin(COMMAND_TIMEOUT);
            }
            let begun = io::stdin().as_fd().try_clone_to_owned().and_then(|stdin| {
                Session::begin(stdin, input, connection.tty, connection.keys, interrupt)
            });
            Some(begun.map_err(|error| Failure::new(Kind::Failed, error))?)
        }
        // It may have ended already; its output is printed all the same.
        Err(_) => None,
    };
    let followed = follow::follow(
        app,
        &mut app.ui.output(),
        vec![Console::plain(logs)],
        interrupt,
    );
    let detached = session.as_ref().is_some_and(Session::is_detached);
    // Restores the terminal.
    drop(session);
    if detached && matches!(followed, Ok(Stopped::Interrupted)) {
        let name = &machine.name;
        app.ui.info(&format!(
            "detached from `{name}`, which continues: `kraft attach {name}` connects again"
        ));
        return Ok(());
    }
    let stops = connection.stops.then_some(machines);
    outcome(app, std::slice::from_ref(machine), followed, stops)
}

fn stop_all(app: &App, machines: &Machines, started: &[Started]) {
    for machine in started {
        match machines.stop(&machine.watch.id(), StopOptions::default()) {
            // It ended meanwhile, and may have been removed.
            Ok(_) | Err(Error::NotRunning { .. } | Error::NotFound { .. }) => {}
            Err(error) => app.failure(&error.into()),
        }
    }
}

/// Returns the failure of a machine that did not end normally.
fn judge(name: &str, reason: &EndReason) -> Result<(), Failure> {
    match reason {
        EndReason::PoweredOff | EndReason::Stopped | EndReason::Suspended => Ok(()),
        EndReason::Exited { code } => Err(Failure::reported(Kind::Guest(*code))),
        EndReason::Crashed { .. }
        | EndReason::Killed { .. }
        | EndReason::MonitorFailed { .. }
        | EndReason::HostDown
        | EndReason::Vanished => Err(Failure::new(
            Kind::Crashed,
            format!("the machine `{name}` {}", how_it_ended(reason)),
        )),
    }
}
