//! `kraft snapshot`: manages snapshots of machines.

mod create;
mod export;
mod import;
mod inspect;
mod ls;
mod prune;
mod remove;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Manage snapshots of machines
///
/// A snapshot is the memory and the devices of a machine at one moment. Machines that are made from
/// it continue from there, and do not boot.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft snapshot create web ready
  kraft run --detach --snapshot ready --port 8081:80
  kraft fork ready --number 20
  kraft snapshot ls")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Inspect(inspect::Args),
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
    Prune(prune::Args),
    Export(export::Args),
    Import(import::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Create(args) => create::exec(app, args),
        Command::Ls(args) => ls::exec(app, args),
        Command::Inspect(args) => inspect::exec(app, args),
        Command::Remove(args) => remove::exec(app, args),
        Command::Prune(args) => prune::exec(app, args),
        Command::Export(args) => export::exec(app, args),
        Command::Import(args) => import::exec(app, args),
    }
}
