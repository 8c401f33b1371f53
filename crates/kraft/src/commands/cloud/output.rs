//! Output formats of answers.

use clap::ValueEnum;
use kraft_cloud::answer::Answer;
use kraft_cloud::resources::Known;
use serde::Serialize;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_deploy::RequestError;
use kraft_deploy::dry_run::DryRun;

/// The output format of an answer: the value of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Table of the most important columns
    Table,
    /// One line per value, one block per resource
    // KraftKit compat: its old name for every column.
    #[value(alias = "full")]
    List,
    /// JSON array
    Json,
    /// YAML list
    Yaml,
    /// Answer of the platform, unchanged
    Raw,
}

/// A resource that is printed in columns. JSON and YAML contain all of its fields.
pub(crate) trait Shown: Serialize + Sized + 'static {
    /// The columns of a table: those that fit into a line.
    const TABLE: &'static [Column<Self>];
    /// The columns of a list: all.
    const LIST: &'static [Column<Self>];
}

/// Prints an answer, and reports the items that the platform refused.
pub(crate) fn print<T: Shown>(app: &App, form: Form, answer: Answer<T>) -> Result<(), Failure> {
    if form == Form::Raw {
        app.ui.line(&answer.raw)?;
        // The text contains the refusals; the exit code reflects them.
        return match answer.each().into_iter().find_map(Result::err) {
            Some(error) => Err(Failure::reported(
                Failure::from(RequestError::from(error)).kind,
            )),
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
    report(app, refused)
}

/// Prints resources of several answers; there is no single answer, so `raw` prints JSON.
pub(crate) fn rows<T: Shown>(app: &App, form: Form, rows: &[T]) -> Result<(), Failure> {
    let columns = if form == Form::Table {
        T::TABLE
    } else {
        T::LIST
    };
    self::columns(app, form, rows, columns)
}

/// Prints rows as [`rows()`] does, in other columns.
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

/// Prints rows whose cells are known already.
pub(crate) fn cells<T: Serialize>(
    app: &App,
    form: Form,
    rows: &[T],
    titles: &[&str],
    cells: &[Vec<Cell>],
) -> Result<(), Failure> {
    match form {
        Form::Table => app.ui.table(titles, cells),
        Form::List => app.ui.list(titles, cells),
        Form::Json | Form::Raw => app.ui.listing(Format::Json, rows, &[]),
        Form::Yaml => app.ui.listing(Format::Yaml, rows, &[]),
    }
}

/// Parses a time of the platform; `None` if it is empty or has another format.
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

/// Prints the name of each resource that was changed, and reports refusals.
pub(crate) fn names(
    app: &App,
    answer: Answer<kraft_cloud::resources::Named>,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for item in answer.each() {
        if let Some(done) = tally.count(app, item.map_err(RequestError::from)) {
            app.ui.line(done.title())?;
        }
    }
    tally.outcome()
}

fn report(app: &App, refused: Vec<kraft_cloud::Error>) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for error in refused {
        tally.count(app, Err::<(), _>(RequestError::from(error)));
    }
    tally.outcome()
}

/// Prints the requests of a dry run: as text, or as JSON.
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
