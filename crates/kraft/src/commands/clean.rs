//! `kraft clean`.

use crate::app::App;
use crate::commands::build::ProjectArgs;
use crate::failure::Failure;
use kraft_engine::build;

/// Remove build artifacts of a project
///
/// Removes the objects and the kernels of the selected targets. Components, configurations and the
/// root filesystem are kept. With `--proper`, all files of make are removed, too, so that the next
/// build starts from scratch.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft clean
  kraft clean --proper -t qemu/x86_64")]
pub(crate) struct Args {
    #[command(flatten)]
    project: ProjectArgs,

    /// Remove all files of make, configurations included
    #[arg(short = 'P', long)]
    proper: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    args.project.fetching.warn_of_ignored(app);
    let project = args.project.read(app)?;
    let targets = args.project.which.filter();
    Ok(build::clean(app, project, &targets, args.proper)?)
}
