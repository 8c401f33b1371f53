//! `kraft snapshot prune`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::{machines, warm};
use kraft_machine::Error;

/// Remove the snapshots of warm starts, or all
///
/// Remove the snapshots that `kraft run --warm` has made, with --all also those that were made by name,
/// and print their names. Machines that were made from them stay. With --all and without --force, ask
/// first; without a terminal, this is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft snapshot prune
  kraft snapshot prune --all --force")]
pub(crate) struct Args {
    /// Remove all snapshots
    #[arg(short, long)]
    all: bool,

    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let mut names = machines.snapshot_names()?;
    names.retain(|name| args.all || name.starts_with(warm::PREFIX));
    let asks = args.all && !args.force && !names.is_empty();
    if asks && !confirmed(app, &names)? {
        return Ok(());
    }
    let mut tally = Tally::default();
    for name in &names {
        let removed = match machines.remove_snapshot(name) {
            // Another process was first.
            Err(Error::NoSnapshot { .. }) => continue,
            other => other,
        };
        if tally.count(app, removed).is_some() {
            app.ui.line(name)?;
        }
    }
    machines.remove_leftovers();
    tally.outcome()
}

/// Asks whether to remove snapshots.
fn confirmed(app: &App, names: &[String]) -> Result<bool, Failure> {
    let question = format!("Remove {}?", names.join(", "));
    let answers = ["No", "Yes"].map(str::to_owned);
    match app.select(&question, &answers)? {
        Some(answer) => Ok(answer == 1),
        None => Err(
            Failure::usage("removing all snapshots needs a confirmation")
                .hint("`kraft snapshot prune --all --force` does not ask"),
        ),
    }
}
