//! The forms of what the platform answers.

use clap::ValueEnum;
use kraft_cloud::answer::Answer;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ops::machines::Tally;
use crate::ui::{Column, Format};

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

/// Prints an answer; what the platform refuses is told item by item behind it.
pub(crate) fn print<T: Serialize>(
    app: &App,
    form: Form,
    answer: Answer<T>,
    columns: &[Column<T>],
) -> Result<(), Failure> {
    let format = match form {
        Form::Raw => return app.ui.line(&answer.raw),
        Form::Table => Format::Table,
        Form::List => Format::List,
        Form::Json => Format::Json,
        Form::Yaml => Format::Yaml,
    };
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for item in answer.each() {
        match item {
            Ok(row) => rows.push(row),
            Err(error) => refused.push(error),
        }
    }
    app.ui.listing(format, &rows, columns)?;
    tell(app, refused)
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
