//! `kraft rename`.

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::Failure;
use kraft_engine::machines;

/// Rename a machine
///
/// Give a machine another name, also while it runs. In its networks it has the new name from its next
/// start on.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft rename happy_turing web")]
pub(crate) struct Args {
    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    /// Its new name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let machine = machines.find(&args.machine)?;
    machines.rename(&machine.id, &args.name)?;
    Ok(())
}
