//! The forms of what the platform answers.

use clap::ValueEnum;
use kraft_cloud::answer::Answer;
use kraft_cloud::resources::Known;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Column, Format};
use kraft_deploy::dry::DryRun;
use kraft_engine::tally::Tally;

/// The form of an answer: what `-o` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Columns for people
    Table,
    /// One line per value, one block per row
    List,
    /// A JSON array
    Json,
    /// A YAML list
    Yaml,
    /// The answer of the platform, as it came
    Raw,
}

/// A thing that the platform tells about, as people see it. Programs see all of its fields.
pub(crate) trait Shown: Serialize + Sized + 'static {
    /// What a table shows: what fits into a line.
    const TABLE: &'static [Column<Self>];
    /// What a list shows: everything.
    const LIST: &'static [Column<Self>];
}

/// Prints an answer; what the platform refuses is told item by item behind it.
pub(crate) fn print<T: Shown>(app: &App, form: Form, answer: Answer<T>) -> Result<(), Failure> {
    if form == Form::Raw {
        app.ui.line(&answer.raw)?;
        // What it refuses stands in the text; the exit code says so.
        return match answer.each().into_iter().find_map(Result::err) {
            Some(error) => Err(Failure::told(Failure::from(error).kind)),
            None => Ok(()),
        };
    }
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for item in answer.each() {
        match item {
            Ok(row) => rows.push(row),
            Err(error) => refused.push(error),
        }
    }
    self::rows(app, form, &rows)?;
    tell(app, refused)
}

/// Prints things that several answers told; their text is not one, so that `raw` is JSON.
pub(crate) fn rows<T: Shown>(app: &App, form: Form, rows: &[T]) -> Result<(), Failure> {
    let columns = if form == Form::Table {
        T::TABLE
    } else {
        T::LIST
    };
    self::columns(app, form, rows, columns)
}

/// Prints things as [`rows()`] does, in columns that are chosen otherwise.
pub(crate) fn columns<T: Serialize>(
    app: &App,
    form: Form,
    rows: &[T],
    columns: &[Column<T>],
) -> Result<(), Failure> {
    let format = match form {
        Form::Table => Format::Table,
        Form::List => Format::List,
        Form::Json | Form::Raw => Format::Json,
        Form::Yaml => Format::Yaml,
    };
    app.ui.listing(format, rows, columns)
}

/// Understands a time of the platform; there may be none.
pub(crate) fn when(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

/// Returns how long ago a time of the platform was, for tables.
pub(crate) fn ago(text: &str) -> String {
    when(text).map_or_else(
        || text.to_owned(),
        |then| crate::commands::machines::ago(then, jiff::Timestamp::now()),
    )
}

/// Prints the name of each thing that something was done to; what is refused is told.
pub(crate) fn names(
    app: &App,
    answer: Answer<kraft_cloud::resources::Named>,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for item in answer.each() {
        let done = item
            .map_err(Failure::from)
            .and_then(|done| app.ui.line(done.title()));
        tally.count(app, done)?;
    }
    tally.outcome()
}

fn tell(app: &App, refused: Vec<kraft_cloud::Error>) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for error in refused {
        tally.count(app, Err(error.into()))?;
    }
    tally.outcome()
}

/// Prints the requests of a dry run: for people, or as JSON.
pub(crate) fn dry_run(app: &App, run: &DryRun, json: bool) -> Result<(), Failure> {
    if json {
        return app.ui.json(run.steps());
    }
    for step in run.steps() {
        app.ui.line(&format!("{} {}", step.method, step.url))?;
        if let Some(body) = &step.body {
            app.ui.json(body)?;
        }
    }
    Ok(())
}
