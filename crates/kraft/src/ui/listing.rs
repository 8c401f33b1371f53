//! Listings: the same rows as a table for people, or as JSON or YAML for programs.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use super::table::{self, Cell};
use crate::failure::{Failure, Kind};

/// The form of a listing: what `-o` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One line per value, one block per row
    List,
    /// A JSON array
    Json,
    /// A YAML list
    Yaml,
}

/// One column of a table: its title, and what stands in it for a row.
pub(crate) struct Column<T> {
    /// Upper-case words.
    pub(crate) title: &'static str,
    /// Makes the cell.
    pub(crate) cell: fn(&T) -> Cell,
}

impl<T> Column<T> {
    /// Makes a column.
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

/// Returns a value as JSON over several lines, with a line break at the end.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    let mut tame = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        // JSON lets these pass (RFC 8259, section 7); terminals take some of them for commands.
        // They stand in strings only.
        if ('\u{7f}'..='\u{9f}').contains(&character) {
            let _ = write!(tame, "\\u{:04x}", u32::from(character));
        } else {
            tame.push(character);
        }
    }
    tame.push('\n');
    Ok(tame)
}

/// Returns a value as YAML, with a line break at the end.
pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut text =
        serde_saphyr::to_string(value).map_err(|error| Failure::new(Kind::Failed, error))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
