//! `kraft cloud`: what runs on Unikraft Cloud.

mod choose;
mod deploy;
mod instance;
mod metro;
mod output;
mod shape;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Failure;
use crate::ops::cloud::Where;

/// Look after what runs on Unikraft Cloud
///
/// The metro is named by `--metro` or `UKC_METRO`; the token is read from `UKC_TOKEN`, or is that of
/// `kraft login index.unikraft.io`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_aliases = ["launch", "run"])]
    Deploy(Box<deploy::Args>),
    #[command(visible_aliases = ["inst", "instances", "vm", "vms"])]
    Instance(instance::Args),
    #[command(visible_aliases = ["metros", "m"])]
    Metro(metro::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Deploy(command) => deploy::exec(app, &args.at, command),
        Command::Instance(command) => instance::exec(app, &args.at, command),
        Command::Metro(command) => metro::exec(app, command),
    }
}
