//! `kraft x`: experiments.

mod probe;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Run experimental commands; their flags and output may change
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "COMMAND", arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Probe(probe::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Probe(args) => probe::exec(app, args),
    }
}
