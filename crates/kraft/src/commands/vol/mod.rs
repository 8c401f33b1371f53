//! `kraft vol`: manages named volumes.

mod create;
mod inspect;
pub(crate) mod ls;
mod prune;
mod remove;

use clap::Subcommand;
use kraft_core::mount::DRIVER;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Manage volumes of machines
///
/// A volume is a directory that kraft keeps: what a machine writes there is found by the next one
/// that mounts it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft vol create database
  kraft run --volume database:/var/lib/db ./image
  kraft vol ls")]
pub(crate) struct Args {
    /// Set the driver; 9pfs is the only one
    #[arg(
        short,
        long,
        global = true,
        value_name = "DRIVER",
        default_value = DRIVER,
        hide_default_value = true
    )]
    driver: String,

    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    #[command(visible_alias = "get")]
    Inspect(inspect::Args),
    #[command(visible_aliases = ["rm", "delete", "del"])]
    Remove(remove::Args),
    Prune(prune::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if args.driver != DRIVER {
        // KraftKit compat: its message.
        return Err(Failure::usage(format!(
            "unsupported volume driver strategy: {}",
            args.driver
        ))
        .hint("leave out `--driver`: volumes are directories, and no kernel of kraft has a file system for block devices"));
    }
    match &args.command.0 {
        Command::Create(args) => create::exec(app, args),
        Command::Ls(args) => ls::exec(app, args),
        Command::Inspect(args) => inspect::exec(app, args),
        Command::Remove(args) => remove::exec(app, args),
        Command::Prune(args) => prune::exec(app, args),
    }
}
