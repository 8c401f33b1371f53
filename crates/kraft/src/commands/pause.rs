//! `kraft pause`.

use kraft_core::machine::MachineState;

use crate::app::App;
use crate::commands::machines::{Done, Selection};
use crate::failure::Failure;
use kraft_engine::machines;

/// Pause machines
///
/// Pause running machines, and print their names. `kraft unpause` resumes them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let runs = |state| state == MachineState::Running;
    crate::commands::machines::each(
        app,
        &machines,
        &args.selection,
        |machine| runs(machine.state),
        |machine| {
            machines.pause(&machine.id)?;
            Ok(Done::Something)
        },
    )
}
