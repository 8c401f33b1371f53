//! Renders problems like rustc: the source line, a caret, hints.
//!
//! ```text
//! error: `targets` must be a list, found the string `qemu/x86_64`
//!  --> Kraftfile:3:10
//!   |
//! 3 | targets: qemu/x86_64
//!   |          ^^^^^^^^^^^ expected a list
//!   |
//!   = help: …
//! ```
//!
//! Only the lines around a problem are passed to the rendering crate, so that the cost of rendering
//! many problems does not depend on the size of the text.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Problem, Severity, Span};
use crate::escape::{escape, mask};

/// Maximum number of rendered problems; the others are only counted.
const MOST_DRAWN: usize = 100;
/// Maximum length of quoted text, in bytes; for longer lines only the position is printed.
const LONGEST_QUOTE: usize = 8 * 1024;

/// Renders `problems` of `text`, whose path is `path`.
///
/// Spans that do not fit the text are clamped to it. With `color` the result
/// holds ANSI escapes. It ends with a line break unless there is no problem.
pub fn render(path: &str, text: &str, problems: &[Problem], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let text = mask(text);
    let lines = Lines::of(&text);
    let path = clean(path);
    let mut out = String::new();
    for problem in problems.iter().take(MOST_DRAWN) {
        if !out.is_empty() {
            out.push('\n');
        }
        let group = draw(&path, &lines, problem);
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
    }
    if let Some(more) = problems.len().checked_sub(MOST_DRAWN).filter(|n| *n > 0) {
        let _ = writeln!(out, "\n… and {more} more");
    }
    out
}

fn draw<'a>(path: &'a str, lines: &Lines<'a>, problem: &Problem) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(clean(&problem.message))
        .elements(Vec::<Origin<'_>>::new());
    if let Some(span) = problem.span {
        group = place(group, path, lines, problem, span);
    }
    for help in &problem.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    group
}

/// Adds the quoted lines, or only the position where quoting is not possible.
fn place<'a>(
    group: Group<'a>,
    path: &'a str,
    lines: &Lines<'a>,
    problem: &Problem,
    span: Span,
) -> Group<'a> {
    let main = lines.clamp(span);
    let mut others = Vec::new();
    for place in &problem.related {
        others.push((lines.clamp(place.span), place.label.as_str()));
    }
    let first = others.iter().fold(main.start, |at, (r, _)| at.min(r.start));
    let last = others.iter().fold(main.end, |at, (r, _)| at.max(r.end));
    let window = lines.around(first, last);
    let quote = lines.text.get(window.clone()).unwrap_or_default();
    if quote.len() > LONGEST_QUOTE || quote.is_empty() {
        let (line, column) = lines.position(main.start);
        let mut group = group.element(Origin::path(path).line(line).char_column(column));
        if let Some(label) = &problem.label {
            group = group.element(Level::NOTE.message(clean(label)));
        }
        for (range, label) in others {
            let (line, column) = lines.position(range.start);
            let text = format!("{} at {line}:{column}", clean(label));
            group = group.element(Level::NOTE.message(text));
        }
        return group;
    }
    let shift = |range: &Range<usize>| {
        range.start.saturating_sub(window.start)..range.end.saturating_sub(window.start)
    };
    let mut primary = AnnotationKind::Primary.span(shift(&main));
    if let Some(label) = &problem.label {
        primary = primary.label(clean(label));
    }
    let mut snippet = Snippet::source(quote)
        .line_start(lines.position(window.start).0)
        .path(path)
        .annotation(primary);
    for (range, label) in &others {
        let note = AnnotationKind::Context.span(shift(range));
        snippet = snippet.annotation(note.label(clean(label)));
    }
    group.element(snippet)
}

/// Escapes control characters.
fn clean(words: &str) -> String {
    escape(&normalize_untrusted_str(words), &['\n'])
}

/// A text and the offsets of its lines. A byte-order mark is not part of any line.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let first = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let mut starts = vec![first];
        starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { text, starts }
    }

    fn index(&self, at: usize) -> usize {
        self.starts.partition_point(|s| *s <= at).saturating_sub(1)
    }

    fn start(&self, index: usize) -> usize {
        self.starts.get(index).copied().unwrap_or(self.text.len())
    }

    /// Returns line and column of a byte, both counted from 1, the column in characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let index = self.index(at);
        let before = self.text.get(self.start(index)..at).unwrap_or_default();
        (index + 1, before.chars().count() + 1)
    }

    /// Returns the range of whole lines from the one of `first` to the one of `last`.
    fn around(&self, first: usize, last: usize) -> Range<usize> {
        let begin = self.start(self.index(first));
        let end = self.start(self.index(last) + 1);
        begin..end.max(begin)
    }

    /// Limits a span to the text, to character boundaries, and to the line where it begins.
    fn clamp(&self, span: Span) -> Range<usize> {
        let floor = self.start(0);
        let start = self.character(span.start.clamp(floor, self.text.len().max(floor)));
        let end = self.character(span.end.clamp(start, self.text.len().max(start)));
        let line = self.text.get(start..end).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        start..start + line.len()
    }

    fn character(&self, mut at: usize) -> usize {
        while at > 0 && !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_drawn_at_its_line_and_column_after_wide_text() {
        let text = "\u{feff}a: ä\r\nb: 日本 c\r\n";
        let at = text.find('c').unwrap();
        let span = Span {
            start: at,
            end: at + 1,
        };
        let problem = Problem::error("bad `c`")
            .at(span)
            .label("here")
            .help("try d");
        let drawn = render("Kraftfile", text, &[problem], false);
        assert!(drawn.contains("Kraftfile:2:7"), "{drawn}");
        assert!(drawn.contains("= help: try d"), "{drawn}");
    }

    #[test]
    fn spans_outside_the_text_or_inside_a_character_do_no_harm() {
        for text in ["", "\u{feff}", "ä", "a\nb", "\r\n", "a\n"] {
            for start in 0..6 {
                for end in 0..6 {
                    let problem = Problem::warning("w").at(Span { start, end }).related(
                        Span {
                            start: end,
                            end: start,
                        },
                        "also",
                    );
                    assert!(!render("f", text, &[problem], true).is_empty());
                }
            }
        }
    }

    #[test]
    fn a_line_of_a_megabyte_is_named_but_not_quoted() {
        let text = format!("a: {}", "x".repeat(1 << 20));
        let span = Span { start: 3, end: 9 };
        let problem = Problem::error("too long").at(span).label("this");
        let drawn = render("f", &text, &[problem], false);
        assert!(drawn.contains("f:1:4"), "{drawn}");
        assert!(drawn.len() < 300, "{}", drawn.len());
    }

    #[test]
    fn control_characters_are_escaped() {
        let hostile: String = ('\0'..='\u{2070}')
            .filter(|&c| crate::escape::is_unsafe(c) && c != '\n')
            .collect();
        let text = format!("a: 1\nb{hostile}: c\nd: e\n");
        let at = text.find('c').unwrap();
        let span = Span {
            start: at,
            end: at + 1,
        };
        let problem = Problem::error(format!("bad `{hostile}`"))
            .at(span)
            .label(hostile.clone())
            .related(Span { start: 5, end: 6 }, hostile.clone())
            .help(format!("not {hostile}"));
        let drawn = render(&format!("K{hostile}"), &text, &[problem], false);
        let left = drawn
            .chars()
            .find(|&c| crate::escape::is_unsafe(c) && c != '\n');
        assert_eq!(left, None, "{drawn}");
    }

    #[test]
    fn more_than_a_hundred_problems_are_counted_not_drawn() {
        let many = vec![Problem::error("e"); 103];
        assert!(render("f", "", &many, false).ends_with("… and 3 more\n"));
    }
}
