//! `kraft bench show`.

use std::path::PathBuf;

use kraft_engine::profile::BootReport;

use super::ReportArgs;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// Print a report of earlier boots, or compare two
///
/// Nothing boots: both reports are files that `kraft bench boot -o json` or `kraft run
/// --profile=FILE.json` has written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft bench show now.json --compare before.json
  kraft bench show now.json --compare before.json -o html > boot.html")]
pub(super) struct Args {
    /// File of the report
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let report = BootReport::read(&args.file).map_err(|error| Failure::new(Kind::Failed, error))?;
    let before = args.report.before()?;
    args.report.print(app, &report, before.as_ref())
}
