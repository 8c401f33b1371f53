//! `kraft fetch`.

use std::path::PathBuf;

use kraft_build::build::Configure;

use crate::app::App;
use crate::commands::build::{FetchArgs, Which};
use crate::failure::Failure;
use crate::ops::build::{self, Wish};
use crate::ops::project;

/// Fetch everything that a build needs
///
/// Gets the components of the project, and what their makefiles download themselves. After that the
/// project can be built without a network.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft fetch
  kraft fetch --locked && kraft --offline build")]
pub(crate) struct Args {
    /// The directory of the project
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    fetching: FetchArgs,

    /// Fetch for the configuration as it is
    #[arg(long)]
    no_configure: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let project = project::read(app, args.dir.as_deref(), args.which.kraftfile.as_deref())?;
    let project = project::sound(app, project)?;
    let site = build::site(app, project, &args.fetching.fetching())?;
    let wish = Wish {
        configure: if args.no_configure {
            Configure::Never
        } else {
            Configure::IfNeeded
        },
        ..Wish::default()
    };
    for target in project::meant_targets(&site.resolved, &args.which.wish())? {
        build::with_target(app, &site, &target, &wish, |job, orders| {
            if !args.no_configure {
                job.configure(orders)?;
            }
            job.targets(&["fetch"], orders)
        })?;
    }
    Ok(())
}
