//! `kraft net`: manages networks of machines.

mod create;
mod inspect;
mod ls;
mod prune;
mod remove;
mod state;

use clap::Subcommand;
use kraft_core::net::BRIDGE;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Manage networks of machines
///
/// Machines of one network find each other by name. Root and ordinary users use the same commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft net create web
  kraft run --detach --network web --name server ./server
  kraft run --network web ./client http://server/")]
pub(crate) struct Args {
    /// Set the driver; bridge is the only one
    #[arg(
        short,
        long,
        global = true,
        value_name = "DRIVER",
        default_value = BRIDGE,
        hide_default_value = true
    )]
    driver: String,

    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "add")]
    Create(create::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Inspect(inspect::Args),
    #[command(visible_alias = "start")]
    Up(state::UpArgs),
    #[command(visible_alias = "stop")]
    Down(state::DownArgs),
    #[command(visible_aliases = ["rm", "delete", "del"])]
    Remove(remove::Args),
    Prune(prune::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if args.driver != BRIDGE {
        // KraftKit compat: its message.
        return Err(Failure::usage(format!(
            "unsupported network driver strategy: {} (contributions welcome!)",
            args.driver
        ))
        .hint("leave out `--driver`: networks are bridges"));
    }
    match &args.command.0 {
        Command::Create(args) => create::exec(app, args),
        Command::Ls(args) => ls::exec(app, args),
        Command::Inspect(args) => inspect::exec(app, args),
        Command::Up(args) => state::up(app, args),
        Command::Down(args) => state::down(app, args),
        Command::Remove(args) => remove::exec(app, args),
        Command::Prune(args) => prune::exec(app, args),
    }
}
