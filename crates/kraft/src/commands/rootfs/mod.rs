//! `kraft rootfs`: root filesystems, without a machine.

mod build;
pub(super) mod cat;
pub(super) mod ls;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

/// Build and read root filesystems
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(Box<build::Args>),
    Cat(cat::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Build(args) => build::exec(app, args),
        Command::Cat(args) => cat::exec(app, args),
        Command::Ls(args) => ls::exec(app, args),
    }
}

/// Turns an error of an archive into a failure with its path.
fn archive_error(
    path: &std::path::Path,
) -> impl Fn(kraft_rootfs::archive::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |source| {
        kraft_rootfs::Error::Archive {
            path: path.clone(),
            source,
        }
        .into()
    }
}
