//! Splits a text into logical lines: joins continuations, removes comments, reads here-documents.

use crate::problem::Span;

/// Maximum size of a Dockerfile, in bytes.
pub(super) const LARGEST: usize = 4 << 20;

/// A logical line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its text, joined.
    pub(super) text: String,
    /// Positions of its parts in the file: (offset in `text`, offset in the file), ascending.
    stretches: Vec<(usize, usize)>,
}

impl Line {
    /// Returns the position in the file of a part of the line.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let start = self.at(start);
        // Map the last byte rather than the end, which may be on the next line.
        let end = end
            .checked_sub(1)
            .map_or(start, |last| self.at(last).saturating_add(1));
        Span {
            start,
            end: end.max(start),
        }
    }

    /// Returns the position of the whole line.
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

    /// Returns the rest of the line from an offset as a new line.
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

/// Parser directives: `# name=value` lines at the top.
#[derive(Debug, Default)]
pub(super) struct Directives {
    pub(super) syntax: Option<String>,
    pub(super) escape: Option<(String, Span)>,
    /// The first repeated directive.
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

    /// Reads the parser directives: comments of the form `name=value` before anything else.
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
            // Comments and empty lines inside a continued line are skipped.
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

    /// Reads a here-document up to its delimiter; `None` if it is unterminated. Also returns its
    /// end in the file. Tabs before the delimiter may be ignored; the content is unchanged.
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

    /// Removes the trailing escape character that continues a line, unless it is itself escaped.
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

/// An argument and its offset in the line.
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

/// Splits at white space outside of quotes; quotes are kept.
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
    // A trailing escape character without a following character is removed.
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
