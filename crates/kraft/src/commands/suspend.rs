//! `kraft suspend`.

use kraft_core::machine::MachineState;

use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Suspend machines to disk
///
/// Save the memory and the devices of running or paused machines to disk, end their VMMs, and print the
/// names of the machines. `kraft resume` continues them where they stopped, also after a boot of the host.
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
    let lives = |state| matches!(state, MachineState::Running | MachineState::Paused);
    crate::commands::machines::each(
        app,
        &machines,
        &args.selection,
        |machine| lives(machine.state),
        |machine| {
            machines.suspend(&machine.id)?;
            Ok(Done::Something)
        },
    )
}
