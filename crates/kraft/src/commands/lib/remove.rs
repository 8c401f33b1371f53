//! `kraft lib remove`.

use kraft_build::sources::is_ours;
use kraft_sys::fs;

use crate::app::App;
use crate::commands::project::ProjectOptions;
use crate::failure::{Failure, Kind};
use kraft_engine::kraftfile::{self, Change};
use kraft_engine::workplace::Workplace;

/// Remove a library from a project
///
/// Removes the library from the Kraftfile, and its sources from the project. A directory that the
/// project only links to is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft lib remove lwip")]
pub(crate) struct Args {
    /// Libraries, by their names in the Kraftfile
    #[arg(value_name = "LIBRARY", required = true)]
    libraries: Vec<String>,

    #[command(flatten)]
    project: ProjectOptions,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let project = args.project.open(app)?;
    let known: Vec<String> = project
        .kraftfile
        .libraries
        .iter()
        .map(|library| library.name.value.clone())
        .collect();
    let mut changes = Vec::new();
    for name in &args.libraries {
        if !known.contains(name) {
            let failure = Failure::new(
                Kind::NotFound,
                format!("library `{name}` does not exist in the project"),
            );
            return Err(if known.is_empty() {
                failure
            } else {
                failure.hint(format!("its libraries are {}", known.join(", ")))
            });
        }
        changes.push(Change::NoValue(vec!["libraries".to_owned(), name.clone()]));
    }
    // A key without content is not a mapping.
    if known.iter().all(|name| args.libraries.contains(name)) {
        changes = vec![Change::NoValue(vec!["libraries".to_owned()])];
    }
    kraftfile::change(app, &project, &changes)?;
    let workplace = Workplace::open(app, &project)?;
    for name in &args.libraries {
        let place = workplace.components().join("libs").join(name);
        if is_ours(&place) {
            fs::remove_tree(&place)?;
        }
        app.ui.line(name)?;
    }
    Ok(())
}
