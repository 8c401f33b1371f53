//! Prose in files: comments and messages of Rust sources, paragraphs of pages, comments of scripts.

use std::iter::Peekable;
use std::str::CharIndices;

/// What a passage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A doc comment: `///` or `//!`. Those of clap types are help texts.
    Doc,
    /// Another comment.
    Comment,
    /// A string literal of product code: errors, hints, help.
    Message,
    /// A paragraph of a page.
    Page,
}

/// Prose that belongs together, with its lines joined by blanks.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The number of each line and where it begins in the text.
    lines: Vec<(usize, usize)>,
}

impl Passage {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: String::new(),
            lines: Vec::new(),
        }
    }

    fn of(kind: Kind, number: usize, line: &str) -> Self {
        let mut passage = Self::new(kind);
        passage.push(number, line);
        passage
    }

    fn push(&mut self, number: usize, line: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.lines.push((self.text.len(), number));
        self.text.push_str(line.trim());
    }

    /// Returns the number of the line that a place in the text is on.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let before = self.lines.iter().rev().find(|(start, _)| *start <= at);
        before.map_or(0, |(_, number)| *number)
    }

    /// Returns how many lines there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns the text with everything in backticks blanked out: names, not prose. Places stay.
    pub(super) fn prose(&self) -> String {
        let mut quoted = false;
        let mut prose = String::with_capacity(self.text.len());
        for c in self.text.chars() {
            if c == '`' {
                quoted = !quoted;
            }
            if quoted {
                prose.extend(std::iter::repeat_n('`', c.len_utf8()));
            } else {
                prose.push(c);
            }
        }
        prose
    }
}

/// Returns the comments of a Rust source, and the string literals that are sentences. In tests,
/// where they are input and expectation, string literals are left out.
pub(super) fn of_rust(source: &str, is_test: bool) -> Vec<Passage> {
    let mut scanner = Scanner {
        chars: source.char_indices().peekable(),
        source,
        line: 1,
    };
    let product = if is_test { 0 } else { lines_of_product(source) };
    let mut comments = Comments::default();
    let mut passages = Vec::new();
    while let Some(token) = scanner.next() {
        match token {
            Token::Comment(line, text) => comments.push(line, text, &mut passages),
            Token::Text(passage) if passage.line_of(0) <= product => {
                if passage.text.contains(' ') {
                    passages.push(passage);
                }
            }
            Token::Text(_) => {}
        }
    }
    comments.end(&mut passages);
    passages
}

/// Returns the number of lines before the test module at the end of a source.
pub(crate) fn lines_of_product(source: &str) -> usize {
    let mut cfg_test = false;
    for (number, line) in source.lines().enumerate() {
        if cfg_test && line.starts_with("mod ") && line.contains('{') {
            return number;
        }
        cfg_test = line.starts_with("#[cfg(test)]")
            || line.starts_with("#[cfg(all(test")
            || (cfg_test && line.starts_with("#["));
    }
    usize::MAX
}

/// Joins comments of consecutive lines.
#[derive(Default)]
struct Comments {
    open: Option<(Passage, usize)>,
    fenced: bool,
}

impl Comments {
    fn push(&mut self, line: usize, text: &str, passages: &mut Vec<Passage>) {
        let (kind, text) = match text.strip_prefix("///").or(text.strip_prefix("//!")) {
            Some(text) if !text.starts_with('/') => (Kind::Doc, text),
            _ => (Kind::Comment, text.trim_start_matches(['/', '*'])),
        };
        let continues = self
            .open
            .as_ref()
            .is_some_and(|(passage, last)| passage.kind == kind && last + 1 == line);
        if !continues {
            self.end(passages);
        }
        if text.trim_start().starts_with("```") {
            self.fenced = !self.fenced;
        }
        // An example is code, and a blank line ends a paragraph.
        let text = if self.fenced { "" } else { text };
        if text.trim().is_empty() {
            let fenced = self.fenced;
            self.end(passages);
            self.fenced = fenced;
            self.open = Some((Passage::new(kind), line));
            return;
        }
        match &mut self.open {
            Some((passage, last)) => {
                passage.push(line, text);
                *last = line;
            }
            None => self.open = Some((Passage::of(kind, line, text), line)),
        }
    }

    fn end(&mut self, passages: &mut Vec<Passage>) {
        self.fenced = false;
        passages.extend(self.open.take().map(|(passage, _)| passage));
    }
}

enum Token<'a> {
    Comment(usize, &'a str),
    Text(Passage),
}

/// Parses as much of Rust as is necessary to find comments and strings.
struct Scanner<'a> {
    chars: Peekable<CharIndices<'a>>,
    source: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let mut before = ' ';
        loop {
            let rest = self.rest();
            let line = self.line;
            if rest.starts_with("//") {
                let text = rest.lines().next().unwrap_or_default();
                self.skip(text.len());
                return Some(Token::Comment(line, text));
            }
            if let Some(inner) = rest.strip_prefix("/*") {
                let length = inner.find("*/").map_or(rest.len(), |at| at + 4);
                self.skip(length);
                return Some(Token::Comment(line, rest.get(..length).unwrap_or(rest)));
            }
            let in_a_name = before.is_alphanumeric() || before == '_';
            if let Some(hashes) = raw_string(rest).filter(|_| !in_a_name) {
                return Some(Token::Text(self.raw_string(hashes)));
            }
            if rest.starts_with('"') {
                self.bump();
                return Some(Token::Text(self.string()));
            }
            if rest.starts_with('\'') {
                let length = char_literal(rest).unwrap_or(1);
                self.skip(length);
                before = '\'';
                continue;
            }
            before = self.bump()?;
        }
    }

    fn rest(&mut self) -> &'a str {
        let at = self.chars.peek().map_or(self.source.len(), |(at, _)| *at);
        self.source.get(at..).unwrap_or_default()
    }

    fn bump(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Passes bytes that end at a character.
    fn skip(&mut self, bytes: usize) {
        let end = self.source.len() - self.rest().len() + bytes;
        while self.chars.peek().is_some_and(|(at, _)| *at < end) {
            self.bump();
        }
    }

    fn string(&mut self) -> Passage {
        let mut passage = Passage::new(Kind::Message);
        let (mut number, mut line) = (self.line, String::new());
        while let Some(c) = self.bump() {
            match c {
                '"' => break,
                '\\' => match self.bump() {
                    Some('n' | 't' | 'r') => line.push(' '),
                    Some('\n') => line.push('\n'),
                    Some(escaped) => line.push(escaped),
                    None => break,
                },
                c => line.push(c),
            }
            if line.ends_with('\n') {
                passage.push(number, &line);
                (number, line) = (self.line, String::new());
            }
        }
        passage.push(number, &line);
        passage
    }

    fn raw_string(&mut self, hashes: usize) -> Passage {
        while self.bump() != Some('"') {}
        let end = format!("\"{}", "#".repeat(hashes));
        let (first, rest) = (self.line, self.rest());
        let length = rest.find(&end).unwrap_or(rest.len());
        let mut passage = Passage::new(Kind::Message);
        for (index, line) in rest.get(..length).unwrap_or_default().lines().enumerate() {
            passage.push(first + index, line);
        }
        self.skip((length + end.len()).min(rest.len()));
        passage
    }
}

/// Returns the number of hashes if a raw string begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest.get(hashes..)?.starts_with('"').then_some(hashes)
}

/// Returns the length of a character literal; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.get(1..)?;
    let first = inner.chars().next()?;
    if first == '\\' {
        return Some(inner.get(2..)?.find('\'')? + 4);
    }
    let length = first.len_utf8();
    inner.get(length..)?.starts_with('\'').then_some(length + 2)
}

/// Returns the paragraphs of a page in Markdown. Lines of fenced blocks, which show what programs
/// print, are passages of their own.
pub(super) fn of_markdown(page: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut open = Passage::new(Kind::Page);
    let mut fenced = false;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        let begins = line.trim_start().starts_with(['-', '|', '#', '*', '>']);
        if fence || fenced || begins || line.trim().is_empty() {
            passages.push(std::mem::replace(&mut open, Passage::new(Kind::Page)));
        }
        fenced ^= fence;
        if !fence && !line.trim().is_empty() {
            open.push(index + 1, line);
        }
    }
    passages.push(open);
    passages
}

/// Returns the section of a changelog that is not released yet.
pub(super) fn unreleased(changelog: &str) -> &str {
    let released = |rest: &str| rest.starts_with("## [") && !rest.starts_with("## [Unreleased]");
    let end = changelog
        .match_indices("## [")
        .map(|(at, _)| at)
        .find(|at| changelog.get(*at..).is_some_and(released))
        .unwrap_or(changelog.len());
    changelog.get(..end).unwrap_or(changelog)
}

/// Returns the comments of a script, a Makefile or a TOML file.
pub(super) fn of_script(script: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut comments = Comments::default();
    for (index, line) in script.lines().enumerate() {
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix('#').filter(|text| !text.starts_with('!')) {
            comments.push(index + 1, text.trim_start_matches('#'), &mut passages);
        }
    }
    comments.end(&mut passages);
    passages
}
