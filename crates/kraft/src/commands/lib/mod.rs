//! `kraft lib`: the libraries of a project.

mod add;
mod create;
mod remove;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Add, remove or create libraries of a project
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "COMMAND", arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(add::Args),
    Create(Box<create::Args>),
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Create(args) => create::exec(app, args),
        Command::Add(args) => add::exec(app, args),
        Command::Remove(args) => remove::exec(app, args),
    }
}
