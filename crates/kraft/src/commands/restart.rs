//! `kraft restart`.

use std::time::Duration;

use kraft_machine::{Error, StopOptions};

use super::stop::is_up;
use super::values;
use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Restart machines
///
/// Stop machines that run, start them again in the background, and print their names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft restart alice
  kraft restart --timeout 30 alice bob")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Set how long the guest may take to shut down before it is stopped
    #[arg(short, long, visible_alias = "time", value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let options = StopOptions {
        timeout: args.timeout,
        ..StopOptions::default()
    };
    crate::commands::machines::each(app, &machines, &args.selection, is_up, |machine| {
        if is_up(machine) {
            match machines.stop(&machine.id, options) {
                // It may have ended meanwhile.
                Ok(_) | Err(Error::NotRunning { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        machines.start(&machine.id)?;
        Ok(Done::Something)
    })
}
