//! Listings: the same rows as a table, as JSON or as YAML.

use std::fmt::Write as _;

use clap::ValueEnum;
use kraft_core::escape::is_unsafe;
use serde::Serialize;

use super::table::{self, Cell};
use crate::failure::{Failure, Kind};

/// The format of a listing: the values of `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Table,
    /// One line per value, one block per row
    List,
    /// A JSON array
    Json,
    /// A YAML list
    Yaml,
}

/// The format of a document: the values of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// JSON
    Json,
    /// The same as YAML
    Yaml,
}

/// The format of a document that names machines: the values of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DetailsFormat {
    /// A JSON object
    Json,
    /// A YAML mapping
    Yaml,
    /// A table of the machines
    Table,
}

/// One column of a table.
pub(crate) struct Column<T> {
    /// Its title, in upper case.
    pub(crate) title: &'static str,
    /// Returns the cell of a row.
    pub(crate) cell: fn(&T) -> Cell,
}

impl<T> Column<T> {
    /// Creates a column.
    pub(crate) const fn new(title: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self { title, cell }
    }
}

/// Returns the listing as text that ends with a line break; an empty table is its header.
pub(super) fn render<T: Serialize>(
    format: Format,
    rows: &[T],
    columns: &[Column<T>],
    width: Option<usize>,
    colour: bool,
) -> Result<String, Failure> {
    match format {
        Format::Json => json(rows),
        Format::Yaml if rows.is_empty() => Ok("[]\n".to_owned()),
        Format::Yaml => yaml(&rows),
        Format::Table | Format::List => {
            let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
            let cells: Vec<Vec<Cell>> = rows
                .iter()
                .map(|row| columns.iter().map(|column| (column.cell)(row)).collect())
                .collect();
            Ok(match format {
                Format::List => table::list(&titles, &cells, colour),
                Format::Table | Format::Json | Format::Yaml => {
                    table::table(&titles, &cells, width, colour)
                }
            })
        }
    }
}

/// Returns the listing as KraftKit prints it: the columns of the table, all values as text. An empty
/// list is `null` in JSON.
pub(super) fn of_kraftkit<T>(
    format: Format,
    rows: &[T],
    columns: &[Column<T>],
) -> Result<String, Failure> {
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = rows
        .iter()
        .map(|row| {
            let cells = columns.iter().map(|column| {
                let key = column.title.to_lowercase().replace(' ', "_");
                (key, (column.cell)(row).into_text().into())
            });
            cells.collect()
        })
        .collect();
    match format {
        Format::Yaml if rows.is_empty() => Ok("[]\n".to_owned()),
        Format::Yaml => yaml(&rows),
        _ if rows.is_empty() => Ok("null\n".to_owned()),
        _ => json(&rows),
    }
}

/// Returns a value as JSON over several lines, with a line break at the end.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    Ok(escaped(&text) + "\n")
}

/// Returns a JSON text with terminal control characters escaped.
///
/// JSON allows DEL, C1 and bidi controls in strings (RFC 8259, section 7). Line breaks between
/// values stay.
pub(super) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

/// Returns a value as YAML, with a line break at the end.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text =
        serde_saphyr::to_string(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
