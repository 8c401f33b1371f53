//! `kraft clean`.

use crate::app::App;
use crate::commands::build::ProjectArgs;
use crate::failure::Failure;
use crate::ops::build::{self, Wish};
use crate::ops::project;

/// Remove what was built of a project
///
/// Removes the objects and the kernels of each target that is meant. Components, configurations
/// and the root filesystem stay. With `--proper`, everything that make works with goes, too, so that
/// the next build begins anew.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft clean
  kraft clean --proper -t qemu/x86_64")]
pub(crate) struct Args {
    #[command(flatten)]
    project: ProjectArgs,

    /// Remove everything that make works with
    #[arg(short = 'P', long)]
    proper: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let site = args.project.site(app)?;
    for target in project::meant_targets(&site.resolved, &args.project.which.wish())? {
        build::with_target(app, &site, &target, &Wish::default(), |job, orders| {
            job.clean(args.proper, orders)
        })?;
    }
    Ok(())
}
