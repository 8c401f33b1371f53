//! `kraft snapshot remove`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Remove snapshots
///
/// Remove snapshots and print their names. Machines that were made from them stay, and so does the
/// memory that they share.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot rm ready")]
pub(crate) struct Args {
    /// Names of the snapshots
    #[arg(value_name = "SNAPSHOT", required = true)]
    names: Vec<String>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let mut tally = Tally::default();
    for name in &args.names {
        if tally.count(app, machines.remove_snapshot(name)).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}
