//! Machines in the foreground: their consoles on stdout until they end or Ctrl-C stops them.

use kraft_core::machine::EndReason;
use kraft_engine::follow::{self, Console, Stopped};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines::how_it_ended;
use kraft_machine::{Error, LogsOptions, Machines, StopOptions, Watch};

use crate::app::App;
use crate::failure::{Failure, Kind};

/// A machine that was started just now, under watch.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its name.
    pub(crate) name: String,
    /// Knows its end, even if it removes itself.
    pub(crate) watch: Watch,
}

/// Shows what machines print until they end; an interrupt stops them.
///
/// The interrupt is listened for since before the first of them was made: whenever it comes, no
/// machine is left to run unseen.
/// The first that did not end well decides the failure.
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
    let consoles = if prefixes && started.len() > 1 {
        follow::prefixed(named, app.ui.colour())
    } else {
        named
            .into_iter()
            .map(|(_, logs)| Console::plain(logs))
            .collect()
    };
    match follow::follow(app, &mut app.ui.output(), consoles, interrupt) {
        Ok(Stopped::AllEnded) => {
            let mut outcome = Ok(());
            for machine in started {
                let ending = machine.watch.wait()?;
                outcome = outcome.and(judge(&machine.name, &ending.reason));
            }
            outcome
        }
        Ok(Stopped::Interrupted) => {
            stop_all(app, machines, started);
            Err(Failure::told(Kind::Interrupted))
        }
        Err(failure) => {
            // Nobody sees the machines any more, and nobody asked for them to go on unseen.
            stop_all(app, machines, started);
            Err(failure)
        }
    }
}

fn stop_all(app: &App, machines: &Machines, started: &[Started]) {
    for machine in started {
        match machines.stop(&machine.watch.id(), StopOptions::default()) {
            // It ended by itself meanwhile, and perhaps removed itself.
            Ok(_) | Err(Error::NotRunning { .. } | Error::NotFound { .. }) => {}
            Err(error) => app.ui.failure(&error.into()),
        }
    }
}

/// Returns whether a machine in the foreground ended as it should.
fn judge(name: &str, reason: &EndReason) -> Result<(), Failure> {
    match reason {
        EndReason::PoweredOff | EndReason::Stopped => Ok(()),
        EndReason::Exited { code } => Err(Failure::told(Kind::Guest(*code))),
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
