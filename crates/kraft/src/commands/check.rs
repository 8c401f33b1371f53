//! `kraft check`.

use std::path::PathBuf;

use clap::ValueEnum;
use kraft_core::problem::Severity;

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::project;

/// Check a project's Kraftfile
///
/// Tells every fault and every warning at once, with its place, and fails if there is one. With
/// `-o json` or `-o yaml` the project is printed as it is understood: one form for every version
/// of the format, variables replaced, names and paths filled in; then only faults make it fail.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The project's directory, or its Kraftfile; the current directory and those above it if
    /// left out
    path: Option<PathBuf>,

    /// Read this Kraftfile; `-` is standard input
    #[arg(short = 'K', long, value_name = "FILE")]
    kraftfile: Option<PathBuf>,

    /// Do not fail because of warnings
    #[arg(long)]
    allow_warnings: bool,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Only what is wrong, to stderr
    #[value(alias = "table")]
    Text,
    /// The resolved project as a JSON object
    Json,
    /// The resolved project as YAML
    Yaml,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let project = project::read(app, args.path.as_deref(), args.kraftfile.as_deref())?;
    let resolved = project.resolved();
    let warnings_fail = args.output == Output::Text && !args.allow_warnings;
    let failed = project
        .problems
        .iter()
        .any(|problem| match problem.severity {
            Severity::Error => true,
            Severity::Warning => warnings_fail,
        });
    if failed {
        return Err(Failure::problems_in(
            Kind::Failed,
            project.text,
            project.problems,
        ));
    }
    app.ui.problems(Some(&project.text), &project.problems);
    match args.output {
        Output::Text => {
            app.ui.info(&format!("{} is sound", project.text.name));
            Ok(())
        }
        Output::Json => app.ui.json(&resolved),
        Output::Yaml => app.ui.yaml(&resolved),
    }
}
