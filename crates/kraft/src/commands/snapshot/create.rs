//! `kraft snapshot create`.

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::Failure;
use kraft_engine::machines;

/// Save a machine as a snapshot
///
/// Save the memory and the devices of a machine as a snapshot, and print the name of the snapshot. A
/// machine that runs continues; it is paused for as long as its memory is copied.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot create web
  kraft snapshot create web ready")]
pub(crate) struct Args {
    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    /// Name of the snapshot (default: that of the machine)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let machine = machines.find(&args.machine)?;
    let name = args.name.as_ref().unwrap_or(&machine.name);
    let snapshot = machines.take_snapshot(&machine.id, name)?;
    app.ui.line(&snapshot.name)
}
