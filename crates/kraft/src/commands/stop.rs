//! `kraft stop`.

use std::time::Duration;

use kraft_machine::{Error, Machine, StopOptions};

use super::values;
use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Stop machines
///
/// Stop machines and print their names. Machines that have ended already are not an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft stop alice bob
  kraft stop --all")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Set how long the guest may take to shut down before it is stopped
    #[arg(short, long, visible_alias = "time", value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Kill the VMM instead of asking it to quit
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let options = StopOptions {
        force: args.force,
        timeout: args.timeout,
        ..StopOptions::default()
    };
    crate::commands::machines::each(app, &machines, &args.selection, is_up, |machine| {
        if !is_up(machine) {
            return Ok(Done::Nothing);
        }
        match machines.stop(&machine.id, options) {
            Ok(_) => Ok(Done::Something),
            // It ended meanwhile, and may have been removed.
            Err(Error::NotRunning { .. } | Error::NotFound { .. }) => Ok(Done::Nothing),
            Err(error) => Err(error.into()),
        }
    })
}

/// Returns whether a machine has something to stop: a VMM, or a monitor that starts one.
pub(crate) fn is_up(machine: &Machine) -> bool {
    machine.pid.is_some() || machine.monitor_pid.is_some() || machine.state.is_up()
}
