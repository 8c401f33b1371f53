//! Text into logical lines: continuations joined, comments dropped, here-documents taken along.

use crate::problem::Span;

/// A text longer than this is no Dockerfile, in bytes.
pub(super) const LARGEST: usize = 4 << 20;

/// A logical line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its text, joined.
    pub(super) text: String,
    /// Where stretches of it stand in the file: (place in `text`, place in the file), ascending.
    stretches: Vec<(usize, usize)>,
}

impl Line {
    /// Returns where a stretch of the line stands in the file.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let start = self.at(start);
        // The end belongs to the last byte: a line break may follow it.
        let end = end
            .checked_sub(1)
            .map_or(start, |last| self.at(last).saturating_add(1));
        Span {
            start,
            end: end.max(start),
        }
    }

    /// Returns where the whole line stands.
    pub(super) fn whole(&self) -> Span {
        self.span(0, self.text.len())
    }

    fn at(&self, place: usize) -> usize {
        let after = self
            .stretches
            .partition_point(|(in_line, _)| *in_line <= place);
        let stretch = after.checked_sub(1).and_then(|at| self.stretches.get(at));
        stretch.map_or(place, |(in_line, in_file)| in_file + (place - in_line))
    }

    /// Returns the end of the line from a place on, as a line of its own.
    pub(super) fn rest(&self, from: usize) -> Self {
        let text = self.text.get(from..).unwrap_or_default();
        let skipped = text.len() - text.trim_start().len();
        let from = from + skipped;
        let mut stretches = vec![(0, self.at(from))];
        let later = self.stretches.iter().filter(|(in_line, _)| *in_line > from);
        stretches.extend(later.map(|(in_line, in_file)| (in_line - from, *in_file)));
        Self {
            text: text.trim_start().to_owned(),
            stretches,
        }
    }
}

/// Reads physical lines.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    at: usize,
    escape: char,
}

/// What `# name=value` lines at the top say.
#[derive(Debug, Default)]
pub(super) struct Directives {
    pub(super) syntax: Option<String>,
    pub(super) escape: Option<(String, Span)>,
    /// The first that is there twice.
    pub(super) repeated: Option<(String, Span)>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let at = text
            .strip_prefix('\u{feff}')
            .map_or(0, |rest| text.len() - rest.len());
        Self {
            text,
            at,
            escape: '\\',
        }
    }

    pub(super) fn set_escape(&mut self, escape: char) {
        self.escape = escape;
    }

    /// Reads the directives: comments of the form `name=value` before anything else.
    pub(super) fn directives(&mut self) -> Directives {
        let mut found = Directives::default();
        let mut names = Vec::new();
        while let Some((start, line)) = self.peek() {
            let Some(comment) = line.trim().strip_prefix('#') else {
                break;
            };
            let Some((name, value)) = comment.split_once('=') else {
                break;
            };
            let span = Span {
                start,
                end: start + line.trim_end().len(),
            };
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().to_owned();
            let known = matches!(name.as_str(), "syntax" | "escape" | "check");
            if !known || value.is_empty() {
                break;
            }
            match name.as_str() {
                "syntax" => found.syntax = Some(value),
                "escape" => found.escape = Some((value, span)),
                _ => {}
            }
            if names.contains(&name) {
                found.repeated = Some((name, span));
                break;
            }
            names.push(name);
            self.next_physical();
        }
        found
    }

    /// Returns the next logical line that is neither empty nor a comment.
    pub(super) fn next_logical(&mut self) -> Option<Line> {
        let mut line = Line {
            text: String::new(),
            stretches: Vec::new(),
        };
        let mut begun = false;
        while let Some((start, physical)) = self.next_physical() {
            let trimmed = physical.trim_start();
            // Comments and empty lines inside a continued line are passed over.
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let (from, body) = if begun {
                (start, physical)
            } else {
                (start + (physical.len() - trimmed.len()), trimmed)
            };
            begun = true;
            let (body, goes_on) = self.continued(body);
            line.stretches.push((line.text.len(), from));
            line.text.push_str(body);
            if !goes_on {
                break;
            }
        }
        if !begun {
            return None;
        }
        let end = line.text.trim_end().len();
        line.text.truncate(end);
        Some(line)
    }

    /// Reads a here-document up to the line that ends it; `None` if it never ends. Also returns
    /// where it ends in the file. Tabs before the line that ends it may be passed over; what is
    /// before it stays as it is.
    pub(super) fn document(&mut self, name: &str, strips_tabs: bool) -> Option<(String, usize)> {
        let mut text = String::new();
        loop {
            let start = self.at;
            self.next_physical()?;
            let line = self.text.get(start..self.at)?;
            let mut end = line.trim_end_matches(['\r', '\n']);
            if strips_tabs {
                end = end.trim_start_matches('\t');
            }
            if end == name {
                return Some((text, self.at));
            }
            text.push_str(line);
        }
    }

    /// Splits off the escape character that continues a line: the last of it, but not the second
    /// of two.
    fn continued<'a>(&self, line: &'a str) -> (&'a str, bool) {
        let end = line.trim_end_matches([' ', '\t']);
        match end.strip_suffix(self.escape) {
            Some(body) if !body.ends_with(self.escape) => (body, true),
            _ => (line, false),
        }
    }

    fn peek(&self) -> Option<(usize, &'t str)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
        Some((self.at, line.trim_end_matches('\r')))
    }

    fn next_physical(&mut self) -> Option<(usize, &'t str)> {
        let found = self.peek()?;
        let rest = self.text.get(self.at..)?;
        self.at += rest.find('\n').map_or(rest.len(), |end| end + 1);
        Some(found)
    }
}

/// A word of a line and where it stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) start: usize,
}

impl Word<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Returns whether a character separates the arguments of most instructions.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Splits at blanks; quotes do not group.
pub(super) fn plain_words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    for text in text.split(is_blank) {
        if !text.is_empty() {
            words.push(Word { text, start });
        }
        start += text.len() + 1;
    }
    words
}

/// Splits at white space that is not quoted; quotes stay.
pub(super) fn words(text: &str, escape: char) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if start.is_none() {
            if c.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        if escaped {
            escaped = false;
        } else if c == escape && quote != Some('\'') {
            escaped = true;
        } else if let Some(open) = quote {
            if c == open {
                quote = None;
            }
        } else if c == '"' || c == '\'' {
            quote = Some(c);
        } else if c.is_whitespace()
            && let Some(from) = start.take()
            && let Some(text) = text.get(from..at)
        {
            words.push(Word { text, start: from });
        }
    }
    // An escape character that escapes nothing is dropped.
    let end = if escaped {
        text.len() - escape.len_utf8()
    } else {
        text.len()
    };
    if let Some(from) = start
        && let Some(text) = text.get(from..end)
        && !text.is_empty()
    {
        words.push(Word { text, start: from });
    }
    words
}
