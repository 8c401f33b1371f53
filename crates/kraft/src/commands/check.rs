//! `kraft check`.

use std::path::PathBuf;

use clap::ValueEnum;
use kraft_core::problem::Severity;

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::project;

/// Check a project's Kraftfile
///
/// Reports all errors and warnings with their places, and fails if there are any. `-o json` and `-o
/// yaml` print the resolved project: the same fields for every version of the format, variables
/// replaced, default names and paths filled in; then only errors make the command fail.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Project directory or Kraftfile (default: the current directory and its parents)
    path: Option<PathBuf>,

    /// Use this Kraftfile; `-` is stdin
    #[arg(short = 'K', long, value_name = "FILE")]
    kraftfile: Option<PathBuf>,

    /// Do not fail because of warnings
    #[arg(long)]
    allow_warnings: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Errors and warnings only, to stderr
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
            app.ui.info(&format!("{} is valid", project.text.name));
            Ok(())
        }
        Output::Json => app.ui.json(&resolved),
        Output::Yaml => app.ui.yaml(&resolved),
    }
}
