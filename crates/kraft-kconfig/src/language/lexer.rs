//! Lexer for KConfig files: returns the tokens of one statement at a time, with macros expanded.
//!
//! A statement ends at a line break without a preceding `\`. Help texts and the values of variables
//! are not tokenised.

use super::macros::{Assign, Here, Macros};
use super::sources::line_of;
use super::statement::Outcome;
use kraft_core::problem::{Problem, Span};

/// One token of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a number, a keyword.
    Word(String),
    /// A quoted string.
    Quoted(String),
    /// An operator or parenthesis.
    Sign(&'static str),
}

/// A token and its position.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Line {
    /// Tokens; at least one.
    Words(Vec<Spanned>),
    /// `NAME = VALUE`, which was evaluated.
    Assigned,
}

/// Operators, longer ones first.
const SIGNS: [&str; 11] = ["||", "&&", "!=", "<=", ">=", "=", "<", ">", "!", "(", ")"];

/// Maximum length of a token, in bytes.
const LONGEST: usize = 16 * 1024;

/// The lexer of one text.
pub(super) struct Lexer<'t> {
    file: &'t str,
    text: &'t str,
    at: usize,
    /// Line and offset of the last macro, so that lines are counted only once.
    counted: (usize, usize),
    /// Warnings.
    pub(super) warnings: Vec<Problem>,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self {
            file,
            text,
            at,
            counted: (0, 1),
            warnings: Vec::new(),
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn here(&mut self) -> Here<'t> {
        let (from, line) = self.counted;
        let between = self.text.get(from..self.at).unwrap_or_default();
        let line = line + line_of(between, between.len()) - 1;
        self.counted = (self.at, line);
        Here {
            file: self.file,
            line,
        }
    }

    /// Returns the next statement; `None` at the end of the text. After an error the next call
    /// continues with the next line.
    pub(super) fn next(&mut self, macros: &mut Macros<'_>) -> Outcome<Option<Line>> {
        while !self.rest().is_empty() {
            match self.line(macros) {
                Ok(Line::Words(words)) if words.is_empty() => {}
                Ok(line) => return Ok(Some(line)),
                Err(problem) => {
                    self.skip_line();
                    return Err(problem);
                }
            }
        }
        Ok(None)
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += rest.find('\n').map_or(rest.len(), |at| at + 1);
    }

    fn line(&mut self, macros: &mut Macros<'_>) -> Outcome<Line> {
        let mut words: Vec<Spanned> = Vec::new();
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Ok(Line::Words(words));
            };
            let start = self.at;
            match first {
                '\n' => {
                    self.at += 1;
                    return Ok(Line::Words(words));
                }
                ' ' | '\t' | '\r' => self.at += 1,
                '#' => self.at += rest.find('\n').unwrap_or(rest.len()),
                '\\' if rest.starts_with("\\\n") => self.at += 2,
                '\\' if rest.starts_with("\\\r\n") => self.at += 3,
                '"' | '\'' => {
                    let text = self.quoted(first, macros)?;
                    let span = self.span(start);
                    let token = Token::Quoted(text);
                    words.push(Spanned { token, span });
                }
                c if is_word(c) || c == '$' => {
                    let text = self.word(macros)?;
                    let span = self.span(start);
                    if !text.is_empty() {
                        let token = Token::Word(text);
                        words.push(Spanned { token, span });
                    }
                }
                _ => {
                    if let Some(how) = self.assignment(&words) {
                        return self.assign(&words, how, macros);
                    }
                    self.sign(first, &mut words);
                }
            }
        }
    }

    fn span(&self, start: usize) -> Span {
        Span {
            start,
            end: self.at,
        }
    }

    fn sign(&mut self, first: char, words: &mut Vec<Spanned>) {
        let start = self.at;
        if let Some(sign) = SIGNS.iter().find(|sign| self.rest().starts_with(**sign)) {
            self.at += sign.len();
            let token = Token::Sign(sign);
            let span = self.span(start);
            words.push(Spanned { token, span });
            return;
        }
        self.at += first.len_utf8();
        if self.warnings.len() < 100 {
            let shown = first.escape_debug();
            let span = self.span(start);
            self.warnings.push(
                Problem::warning(format!("unexpected character `{shown}`"))
                    .at(span)
                    .label("ignored"),
            );
        }
    }

    /// Returns the assignment operator that follows a single token, if there is one.
    fn assignment(&self, words: &[Spanned]) -> Option<(Assign, usize)> {
        let [
            Spanned {
                token: Token::Word(_),
                ..
            },
        ] = words
        else {
            return None;
        };
        let rest = self.rest();
        match rest.as_bytes() {
            [b':', b'=', ..] => Some((Assign::Simple, 2)),
            [b'+', b'=', ..] => Some((Assign::Append, 2)),
            [b'=', ..] => Some((Assign::Recursive, 1)),
            _ => None,
        }
    }

    fn assign(
        &mut self,
        words: &[Spanned],
        (how, taken): (Assign, usize),
        macros: &mut Macros<'_>,
    ) -> Outcome<Line> {
        let here = self.here();
        self.at += taken;
        let start = self.at;
        let rest = self.rest();
        let value = rest.split('\n').next().unwrap_or_default();
        let value = value.trim_start_matches([' ', '\t']).trim_end_matches('\r');
        self.skip_line();
        let Some(Spanned {
            token: Token::Word(name),
            ..
        }) = words.first()
        else {
            return Ok(Line::Assigned);
        };
        macros.assign(name, how, value, here).map_err(|message| {
            self.at = self.at.saturating_sub(1).max(start);
            let end = start + rest.find('\n').unwrap_or(rest.len());
            Problem::error(message).at(Span { start, end })
        })?;
        Ok(Line::Assigned)
    }

    /// Reads a token that may contain macros.
    fn word(&mut self, macros: &mut Macros<'_>) -> Outcome<String> {
        let start = self.at;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with('$') {
                text.push_str(&self.reference(macros)?);
                continue;
            }
            let plain = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if plain == 0 {
                return self.short(start, text);
            }
            text.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
        }
    }

    fn reference(&mut self, macros: &mut Macros<'_>) -> Outcome<String> {
        let here = self.here();
        let rest = self.rest();
        let (value, taken) = macros.expand_one(rest, here).map_err(|message| {
            let line = rest.find('\n').unwrap_or(rest.len());
            let span = Span {
                start: self.at,
                end: self.at + line,
            };
            Problem::error(message).at(span)
        })?;
        self.at += taken;
        Ok(value)
    }

    fn quoted(&mut self, quote: char, macros: &mut Macros<'_>) -> Outcome<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                break;
            };
            match first {
                c if c == quote => {
                    self.at += 1;
                    return self.short(start, text);
                }
                '\n' => break,
                '$' => text.push_str(&self.reference(macros)?),
                '\\' => {
                    self.at += 1;
                    if let Some(next) = rest.chars().nth(1).filter(|c| *c != '\n') {
                        text.push(next);
                        self.at += next.len_utf8();
                    }
                }
                c => {
                    text.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        let span = self.span(start);
        self.warnings.push(
            Problem::warning("a quoted string is not closed before the end of its line").at(span),
        );
        self.short(start, text)
    }

    fn short(&self, start: usize, text: String) -> Outcome<String> {
        if text.len() <= LONGEST {
            return Ok(text);
        }
        let problem = Problem::error("a word or string is too long").at(self.span(start));
        Err(Box::new(problem.label(format!("at most {LONGEST} bytes"))))
    }

    /// Returns the environment variable that a token consists of: `"$(NAME)"`.
    pub(super) fn variable(&self, span: Span) -> Option<String> {
        let raw = self
            .text
            .get(span.start..span.end)?
            .trim_matches(['"', '\'']);
        let name = raw.strip_prefix("$(")?.strip_suffix(')')?;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        plain.then(|| name.to_owned())
    }

    /// Reads a help text: all lines indented at least as much as the first.
    pub(super) fn help(&mut self) -> String {
        let mut text = String::new();
        let mut indent = 0;
        loop {
            let rest = self.rest();
            let line = rest.split('\n').next().unwrap_or_default();
            let body = line.trim_start_matches([' ', '\t']);
            let blank = body.trim_end_matches([' ', '\t', '\r']).is_empty();
            if !blank {
                let columns = columns(line.get(..line.len() - body.len()).unwrap_or_default());
                if indent > 0 && columns < indent {
                    return trimmed(text);
                }
                text.extend(std::iter::repeat_n(
                    ' ',
                    if indent > 0 { columns - indent } else { 0 },
                ));
                if indent == 0 {
                    indent = columns;
                }
                text.push_str(body.trim_end_matches([' ', '\t', '\r']));
            }
            self.skip_line();
            text.push('\n');
            let next = self.rest();
            if next.is_empty() || !next.starts_with([' ', '\t', '\n', '\r']) {
                return trimmed(text);
            }
        }
    }
}

fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text
}

/// Returns the columns of an indentation: a tab extends to the next multiple of eight.
fn columns(indent: &str) -> usize {
    indent.bytes().fold(0, |at, b| match b {
        b'\t' => (at & !7) + 8,
        _ => at + 1,
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
