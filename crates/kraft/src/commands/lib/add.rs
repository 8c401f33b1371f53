//! `kraft lib add`.

use crate::app::App;
use crate::commands::project::ProjectOptions;
use crate::failure::Failure;
use kraft_engine::kraftfile;
use kraft_engine::library::find;

/// Add a library to a project
///
/// Adds the library to the Kraftfile and keeps its comments. The library is one of the catalog, a
/// directory, an archive or a Git repository.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft lib add lwip:stable
  kraft lib add ../lib-mine
  kraft lib add https://github.com/unikraft/lib-musl.git@staging")]
pub(crate) struct Args {
    /// `[lib/]NAME[:VERSION]`, a directory, or a URL
    #[arg(value_name = "LIBRARY", required = true)]
    libraries: Vec<String>,

    #[command(flatten)]
    project: ProjectOptions,

    /// Do not update the catalog
    #[arg(long)]
    no_update: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let project = args.project.open(app)?;
    let mut changes = Vec::new();
    for library in &args.libraries {
        let found = find::find(app, &project.dir, library, args.no_update)?;
        changes.extend(found.changes());
        app.ui.line(&found.name)?;
    }
    kraftfile::change(app, &project, &changes)?;
    Ok(())
}
