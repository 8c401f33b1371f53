//! Boot profiles: measured, printed and written to files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_engine::profile::{self, BootProfile, BootReport, MeasureError};
use kraft_machine::{Machine, Watch};
use kraft_sys::fs;

use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui;

/// How long a machine may take to answer on a port, or to print something.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Where a profile is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProfileFile {
    /// A table on stderr.
    Table,
    /// A file of that kind.
    File(FileKind, PathBuf),
}

/// The kind of a file with a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Json,
    Html,
    Svg,
}

impl ProfileFile {
    /// Takes the value of `--profile`: `-`, or a path whose extension is the kind.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Table);
        }
        let kind = match path.extension().and_then(|it| it.to_str()) {
            Some("json") => FileKind::Json,
            Some("html") => FileKind::Html,
            Some("svg") => FileKind::Svg,
            _ => {
                return Err(Failure::usage(format!(
                    "`{}` is not a name of a profile: expected one that ends with .json, .html or .svg",
                    path.display()
                )));
            }
        };
        Ok(Self::File(kind, path))
    }
}

impl FileKind {
    /// Returns the content of the file.
    pub(crate) fn render(
        self,
        report: &BootReport,
        before: Option<&BootReport>,
    ) -> Result<String, Failure> {
        Ok(match self {
            Self::Json => ui::json(report)?,
            Self::Html => profile::html(report, before),
            Self::Svg => profile::svg(report, before),
        })
    }
}

/// Measures the boot of a machine that was just started, and writes its profile.
pub(crate) fn report(
    app: &App,
    watch: &Watch,
    machine: &Machine,
    file: &ProfileFile,
    stop: &dyn Fn() -> bool,
) -> Result<(), Failure> {
    // With the ports that were chosen.
    let ports = watch
        .machine()
        .map_or_else(|_| machine.ports.clone(), |it| it.ports);
    let port = profile::port(&ports);
    let run = match profile::measure(watch, app.began, port, LIMIT, stop) {
        Ok(run) => run,
        // That the machine ended is reported anyway.
        Err(MeasureError::Interrupted) => return Ok(()),
        Err(error) => {
            app.ui.warn(&format!("the boot was not measured: {error}"));
            return Ok(());
        }
    };
    let report = BootReport::new(&machine.spec.origin, Some(&machine.spec), vec![run]);
    match file {
        ProfileFile::Table => {
            for line in lines(&report, None) {
                app.ui.info(&line);
            }
            Ok(())
        }
        ProfileFile::File(kind, path) => write(path, &kind.render(&report, None)?),
    }
}

/// Writes a file as a whole.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::replace_file(path, text.as_bytes()).map_err(|error| Failure::new(Kind::Failed, error))
}

/// Returns the lines of a table of the median run: name, time before, time now, share or change.
pub(crate) fn lines(report: &BootReport, before: Option<&BootReport>) -> Vec<String> {
    let sum = |report: &BootReport| report.median().map_or(0, sum_of);
    let (now, old) = (sum(report), before.map(sum));
    let cell = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), profile::millis);
    let row = |name: &str, was: Option<u64>, is: Option<u64>| match old {
        None => {
            let share = is.unwrap_or(0) * 100 / now.max(1);
            format!("{name:<28} {:>11} {share:>4} %", cell(is))
        }
        Some(_) => format!(
            "{name:<28} {:>11} {:>11} {:>9}",
            cell(was),
            cell(is),
            change(was, is)
        ),
    };
    let changes = report.changes(before.unwrap_or(report));
    let parts = changes.iter().map(|it| row(&it.name, it.before, it.now));
    parts.chain([row("sum", old, Some(now))]).collect()
}

fn sum_of(run: &BootProfile) -> u64 {
    u64::try_from(run.total().as_micros()).unwrap_or(u64::MAX)
}

/// Returns how much longer a time became: `+12 %`.
fn change(before: Option<u64>, now: Option<u64>) -> String {
    let (Some(before), Some(now)) = (before, now) else {
        return String::new();
    };
    let difference = i128::from(now) - i128::from(before);
    format!("{:+} %", difference * 100 / i128::from(before.max(1)))
}
