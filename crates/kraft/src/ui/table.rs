//! Tables of text, aligned by display width.
//!
//! ```text
//! NAME   KERNEL                 STATUS
//! alice  kernel://hello         running
//! ```

use anstyle::{AnsiColor, Style};
use kraft_core::escape::escape;
use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The content of a field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    colour: Option<AnsiColor>,
}

impl Cell {
    /// Creates a field; control characters are escaped.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: escape(text.as_ref(), &[]),
            colour: None,
        }
    }

    /// Returns the text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Sets the colour of the field, if colours are enabled.
    #[must_use]
    pub(crate) fn colour(mut self, colour: AnsiColor) -> Self {
        self.colour = Some(colour);
        self
    }
}

/// The gap between two columns.
const GAP: &str = "  ";
/// The minimum width of every column but the first.
const NARROWEST: usize = 8;

/// Returns a table under its titles. With a width, columns are truncated to fit, the widest first
/// and the first column never.
pub(super) fn table(
    titles: &[&str],
    rows: &[Vec<Cell>],
    width: Option<usize>,
    colour: bool,
) -> String {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    if let Some(total) = width {
        fit(&mut widths, total);
    }
    let mut out = String::new();
    let bold = Style::new().bold();
    let header = titles.iter().map(|title| (*title, bold));
    line(&mut out, header, &widths, colour);
    for row in rows {
        let cells = row.iter().map(|cell| {
            let style = Style::new().fg_color(cell.colour.map(Into::into));
            (cell.text.as_str(), style)
        });
        line(&mut out, cells, &widths, colour);
    }
    out
}

/// Returns one block per row: `title: value`, the titles in lower case and flush right.
pub(super) fn list(titles: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let widest = titles.iter().map(|title| title.width()).max().unwrap_or(0);
    let mut blocks = Vec::with_capacity(rows.len());
    for row in rows {
        let mut block = String::new();
        for (title, cell) in titles.iter().zip(row) {
            let padding = " ".repeat(widest - title.width());
            let title = title.to_lowercase();
            let _ = match cell.text.trim_end() {
                "" => writeln!(block, "{padding}{title}:"),
                text if colour && cell.colour.is_some() => {
                    let style = Style::new().fg_color(cell.colour.map(Into::into));
                    writeln!(block, "{padding}{title}: {style}{text}{style:#}")
                }
                text => writeln!(block, "{padding}{title}: {text}"),
            };
        }
        blocks.push(block);
    }
    blocks.join("\n")
}

/// Narrows the widest column by one until the line fits.
fn fit(widths: &mut [usize], total: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    let mut sum = widths.iter().sum::<usize>() + gaps;
    while sum > total {
        let widest = widths
            .iter_mut()
            .skip(1)
            .filter(|width| **width > NARROWEST)
            .max_by_key(|width| **width);
        let Some(widest) = widest else { return };
        *widest -= 1;
        sum -= 1;
    }
}

fn line<'c>(
    out: &mut String,
    cells: impl ExactSizeIterator<Item = (&'c str, Style)>,
    widths: &[usize],
    colour: bool,
) {
    let last = cells.len().saturating_sub(1);
    let start = out.len();
    for (index, ((text, style), width)) in cells.zip(widths).enumerate() {
        let text = cut(text, *width);
        let padding = if index == last {
            0
        } else {
            width.saturating_sub(text.width())
        };
        if colour && style != Style::new() {
            let _ = write!(out, "{style}{text}{style:#}");
        } else {
            out.push_str(&text);
        }
        out.extend(std::iter::repeat_n(' ', padding));
        if index != last {
            out.push_str(GAP);
        }
    }
    // An empty last field leaves no trailing blanks.
    let end = out
        .get(start..)
        .map_or(out.len(), |line| start + line.trim_end().len());
    out.truncate(end);
    out.push('\n');
}

/// Returns the text, or its beginning and `…`, no wider than `width`.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut left = width.saturating_sub(1);
    let mut out: String = text
        .chars()
        .take_while(|character| {
            let needed = character.width().unwrap_or(0);
            let fits = needed <= left;
            left = left.saturating_sub(needed);
            fits
        })
        .collect();
    out.push('…');
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![
                Cell::new("alice"),
                Cell::new("a rather long command line"),
                Cell::new("running").colour(AnsiColor::Green),
            ],
            vec![Cell::new("日本"), Cell::new("tab\there"), Cell::new("")],
        ]
    }

    const TITLES: [&str; 3] = ["NAME", "ARGS", "STATUS"];

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table(&TITLES, &rows(), None, false),
            "NAME   ARGS                        STATUS\n\
             alice  a rather long command line  running\n\
             日本   tab\\there\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        assert_eq!(
            table(&TITLES, &rows(), Some(30), false),
            "NAME   ARGS            STATUS\n\
             alice  a rather long…  running\n\
             日本   tab\\there\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(table(&TITLES, &[], None, false), "NAME  ARGS  STATUS\n");
        assert_eq!(list(&TITLES, &[], false), "");
    }

    #[test]
    fn a_list_has_a_block_per_row() {
        assert_eq!(
            list(&TITLES, &rows(), false),
            "  name: alice\n  args: a rather long command line\nstatus: running\n\n  \
             name: 日本\n  args: tab\\there\nstatus:\n"
        );
    }

    #[test]
    fn colour_does_not_count_as_width() {
        for coloured in [
            table(&TITLES, &rows(), None, true),
            list(&TITLES, &rows(), true),
        ] {
            assert!(
                coloured.contains("\u{1b}[32mrunning\u{1b}[0m"),
                "{coloured:?}"
            );
        }
    }
}
