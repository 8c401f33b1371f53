//! `kraft resume`.

use kraft_core::machine::MachineState;

use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Resume suspended or paused machines
///
/// Continue machines that were suspended or paused where they stopped, and print their names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft suspend web
  kraft resume web")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let rests = |state| {
        matches!(
            state,
            MachineState::Paused | MachineState::Suspended | MachineState::Asleep
        )
    };
    crate::commands::machines::each(
        app,
        &machines,
        &args.selection,
        |machine| rests(machine.state),
        |machine| {
            machines.resume(&machine.id)?;
            Ok(Done::Something)
        },
    )
}
