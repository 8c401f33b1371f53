//! `kraft doctor`.

mod checks;
mod report;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use kraft_core::escape::escape;

use self::report::Report;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::doctor::{Check, Status};

/// Check the host for what kraft needs
///
/// Check the configuration, QEMU, KVM, the toolchain, directories, disk space, Dockerfile builders and
/// registries. Each check that is not ok is followed by what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit code: 0 if machines can be run, also with warnings; 7 if not.

Examples:
  kraft doctor
  kraft doctor --report > report.md
  kraft doctor -o json | jq '.[] | select(.status != \"ok\")'")]
pub(crate) struct Args {
    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    /// Print a bug report: versions, settings, checks and the last errors, without secrets
    #[arg(long)]
    report: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if args.report {
        let report = Report::gather(app);
        return match args.output {
            Format::Json => app.ui.json(&report),
            Format::Yaml => app.ui.yaml(&report),
            Format::Table | Format::List => app.ui.data(&report.markdown()),
        };
    }
    let checks = checks::all(app);
    if args.output == Format::Table {
        let widest = checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
        for check in &checks {
            app.ui.data(&lines(check, widest, app.ui.colour()))?;
        }
    } else {
        app.ui.listing(args.output, &checks, COLUMNS)?;
    }
    if checks.iter().any(|check| check.status == Status::Fail) {
        return Err(Failure::reported(Kind::Host));
    }
    Ok(())
}

const COLUMNS: &[Column<Check>] = &[
    Column {
        title: "STATUS",
        cell: |check| Cell::new(word(check.status)),
    },
    Column {
        title: "NAME",
        cell: |check| Cell::new(&check.name),
    },
    Column {
        title: "DETAIL",
        cell: |check| Cell::new(&check.detail),
    },
    Column {
        title: "CURE",
        cell: |check| Cell::new(check.cure.as_deref().unwrap_or_default()),
    },
];

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Fail => "fail",
    }
}

/// Returns a check as lines of text.
fn lines(check: &Check, widest: usize, colour: bool) -> String {
    let word = word(check.status);
    let style = match (colour, check.status) {
        (false, _) => Style::new(),
        (true, Status::Ok) => Style::new().fg_color(Some(AnsiColor::Green.into())),
        (true, Status::Warn) => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        (true, Status::Fail) => Style::new().fg_color(Some(AnsiColor::Red.into())),
    };
    let mut text = format!(
        "{style}{word:<4}{style:#}  {:<widest$}  {}\n",
        escape(&check.name, &[]),
        escape(&check.detail, &[])
    );
    if let Some(cure) = &check.cure {
        let _ = writeln!(text, "      {:<widest$}  cure: {}", "", escape(cure, &[]));
    }
    text
}
