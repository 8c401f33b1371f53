//! Machines in the foreground: their consoles on stdout until they end or Ctrl-C stops them.

use kraft_core::machine::EndReason;
use kraft_engine::follow::{self, Stopped};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines::how_it_ended;
use kraft_machine::{Error, LogsOptions, Machines, StopOptions, Watch};

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
            Err(Failure::reported(Kind::Interrupted))
        }
        Err(error) => {
            // Without a console the machines must not continue: they were not started in the
            // background.
            stop_all(app, machines, started);
            Err(error.into())
        }
    }
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
        EndReason::PoweredOff | EndReason::Stopped => Ok(()),
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
