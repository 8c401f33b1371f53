//! `kraft fetch`.

use kraft_build::pipeline::Configure;

use crate::app::App;
use crate::commands::build::ProjectArgs;
use crate::failure::Failure;
use kraft_engine::build::{self, BuildOptions};
use kraft_engine::project;

/// Fetch everything that a build needs
///
/// Downloads the components of the project and the sources that their makefiles download.
/// Afterwards the project can be built offline.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft fetch
  kraft fetch --locked && kraft --offline build")]
pub(crate) struct Args {
    #[command(flatten)]
    project: ProjectArgs,

    /// Fetch for the existing configuration
    #[arg(long)]
    no_configure: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let site = args.project.site(app)?;
    let options = BuildOptions {
        configure: if args.no_configure {
            Configure::Never
        } else {
            Configure::IfNeeded
        },
        // `kraft build` reports lost options; the downloads do not depend on them.
        allow_lost: true,
        ..BuildOptions::default()
    };
    for target in project::select_targets(&site.resolved, &args.project.which.filter())? {
        build::with_target(app, &site, &target, &options, |job, orders| {
            if !args.no_configure {
                job.configure(orders)?;
            }
            job.targets(&["fetch"], orders)
        })?;
    }
    Ok(())
}
