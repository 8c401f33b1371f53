//! `kraft kill`.

use kraft_machine::{Error, KillSignal};

use super::stop::is_up;
use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Kill machines
///
/// Send a signal to the VMMs of machines, and print the names of the machines that ended. KILL ends a
/// machine at once; TERM and INT have its VMM exit in an orderly way. The guest is not asked in any
/// case: `kraft stop` does that. A killed machine is not started again by its restart policy.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft kill alice
  kraft kill --signal TERM alice bob")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Send this signal: KILL, TERM or INT
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: KillSignal,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    crate::commands::machines::each(app, &machines, &args.selection, is_up, |machine| {
        match machines.kill(&machine.id, args.signal) {
            Ok(_) => Ok(Done::Something),
            // It ended meanwhile and was removed.
            Err(Error::NotFound { .. }) => Ok(Done::Nothing),
            Err(error) => Err(error.into()),
        }
    })
}
