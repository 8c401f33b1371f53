//! `kraft store`: manages the local image store.

mod du;
mod gc;
mod import_kraftkit;
mod verify;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Manage the local image store
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(verify::Args),
    #[command(visible_alias = "prune")]
    Gc(gc::Args),
    Du(du::Args),
    ImportKraftkit(import_kraftkit::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Verify(args) => verify::exec(app, args),
        Command::Gc(args) => gc::exec(app, args),
        Command::Du(args) => du::exec(app, args),
        Command::ImportKraftkit(args) => import_kraftkit::exec(app, args),
    }
}
