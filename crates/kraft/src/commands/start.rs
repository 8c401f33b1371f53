//! `kraft start`.

use kraft_core::machine::MachineState;

use crate::app::App;
use crate::commands::foreground::{self, Started};
use crate::commands::machines::Selection;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines;
use kraft_machine::StopOptions;

/// Start machines
///
/// Start machines that were created or have ended, resume paused and suspended ones, and print their
/// consoles until they end. Ctrl-C stops them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft start alice
  kraft start --detach alice bob
  kraft start --all --detach")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Run in the background and print the names of the machines
    #[arg(short, long)]
    detach: bool,

    /// Do not prefix lines with the names of machines
    #[arg(long)]
    no_prefix: bool,

    /// Remove the machines when they end
    #[arg(long, conflicts_with = "detach")]
    rm: bool,

    /// Boot suspended machines instead of continuing them: what was saved of them is removed
    #[arg(long)]
    cold: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    let mut started = Vec::new();
    let interrupt = (!args.detach).then(|| app.interrupt.listen());
    for chosen in crate::commands::machines::choose(app, &machines, &args.selection, |machine| {
        can_start(machine.state)
    })? {
        let done = chosen.and_then(|machine| {
            let is_saved = machine.state == MachineState::Asleep
                || machine.state == MachineState::Suspended && machine.pid.is_none();
            if is_saved && args.cold {
                machines.stop(&machine.id, StopOptions::default())?;
            }
            let watch = match machine.state {
                MachineState::Paused | MachineState::Suspended if !is_saved => {
                    machines.unpause(&machine.id)?;
                    machines.watch(&machine.id)?
                }
                MachineState::Unknown
                | MachineState::Created
                | MachineState::Failed
                | MachineState::Restarting
                | MachineState::Running
                | MachineState::Paused
                | MachineState::Suspended
                | MachineState::Asleep
                | MachineState::Exited
                | MachineState::Errored => machines.start_unless(&machine.id, || {
                    interrupt.as_ref().is_some_and(Interrupt::is_cancelled)
                })?,
            };
            Ok(Started {
                name: machine.name,
                watch,
            })
        });
        if let Some(machine) = tally.count(app, done) {
            if args.detach {
                app.ui.line(&machine.name)?;
            }
            started.push(machine);
        }
    }
    let Some(interrupt) = interrupt.filter(|_| !started.is_empty()) else {
        return tally.outcome();
    };
    let ended = foreground::run(app, &machines, &started, !args.no_prefix, &interrupt);
    if args.rm {
        for machine in &started {
            let removed = machines.remove_with_volumes(&machine.watch.id(), false);
            tally.count(app, removed);
        }
    }
    ended.and(tally.outcome())
}

fn can_start(state: MachineState) -> bool {
    match state {
        MachineState::Created
        | MachineState::Exited
        | MachineState::Errored
        | MachineState::Failed
        | MachineState::Paused
        | MachineState::Suspended
        | MachineState::Asleep => true,
        MachineState::Running | MachineState::Restarting | MachineState::Unknown => false,
    }
}
