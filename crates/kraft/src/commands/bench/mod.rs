//! `kraft bench`: measures machines.

mod boot;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use kraft_core::readable;
use kraft_engine::profile::{self, BootReport};

use super::profile::{FileKind, lines};
use super::values;
use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::{Failure, Kind};

/// Measure how long machines take to boot
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft bench boot ./kernel
  kraft bench boot --port 8080:80 -o json ./image > before.json
  kraft bench boot --port 8080:80 --compare before.json --budget 300ms ./image
  kraft bench show before.json -o html > boot.html")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Boot(Box<boot::Args>),
    Show(show::Args),
}

/// How a report is printed, and what it may not exceed.
#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// Compare with this earlier report: a file that was written with `-o json`
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    compare: Option<PathBuf>,

    /// Fail if the median of the boots takes longer
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    budget: Option<Duration>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table of the parts of the median
    Table,
    /// A JSON object with all runs
    Json,
    /// The same as YAML
    Yaml,
    /// A page with a chart that loads nothing
    Html,
    /// The chart alone
    Svg,
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    match args.command.0 {
        Command::Boot(args) => boot::exec(app, *args),
        Command::Show(args) => show::exec(app, &args),
    }
}

impl ReportArgs {
    /// Reads the earlier report.
    fn before(&self) -> Result<Option<BootReport>, Failure> {
        let read = |path: &PathBuf| BootReport::read(path);
        let before = self.compare.as_ref().map(read).transpose();
        before.map_err(|error| {
            Failure::new(Kind::Failed, error)
                .hint("write one with `kraft bench boot -o json TARGET > before.json`")
        })
    }

    /// Prints a report, and fails if it is over the budget.
    fn print(
        &self,
        app: &App,
        report: &BootReport,
        before: Option<&BootReport>,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Table => {
                for line in lines(report, before) {
                    app.ui.line(&line)?;
                }
            }
            Output::Json => app.ui.data(&FileKind::Json.render(report, before)?)?,
            Output::Yaml => app.ui.yaml(report)?,
            Output::Html => app.ui.data(&FileKind::Html.render(report, before)?)?,
            Output::Svg => app.ui.data(&FileKind::Svg.render(report, before)?)?,
        }
        let took = report.median().map(profile::BootProfile::total);
        match (self.budget, took) {
            (Some(budget), Some(took)) if took > budget => {
                let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                Err(Failure::new(
                    Kind::Failed,
                    format!(
                        "the boot takes {}, longer than the budget of {}",
                        profile::millis(took),
                        readable::time(budget)
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}
