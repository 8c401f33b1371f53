//! Reads the tokens of one statement in order, and reports missing ones.

use super::lexer::{Spanned, Token};
use kraft_core::problem::{Problem, Span};

/// A result whose error is a problem of the statement.
pub(super) type Outcome<T> = Result<T, Box<Problem>>;

/// Iterates over the tokens of a statement.
pub(super) struct Cursor<'w> {
    words: &'w [Spanned],
    at: usize,
}

impl<'w> Cursor<'w> {
    pub(super) fn new(words: &'w [Spanned]) -> Self {
        Self { words, at: 0 }
    }

    pub(super) fn skip(mut self, words: usize) -> Self {
        self.at += words;
        self
    }

    pub(super) fn peek(&self) -> Option<&'w Token> {
        self.words.get(self.at).map(|word| &word.token)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        self.at += usize::from(is);
        is
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(text)) if *text == sign);
        self.at += usize::from(is);
        is
    }

    pub(super) fn word(&mut self, word: &str) -> Outcome<()> {
        if self.take(word) {
            return Ok(());
        }
        Err(Box::new(self.problem(
            format!("`{word}` is missing"),
            "expected in this place",
        )))
    }

    /// Reads the name of a symbol.
    pub(super) fn name(&mut self) -> Outcome<&'w str> {
        if let Some(Token::Word(text)) = self.peek() {
            self.advance();
            return Ok(text);
        }
        Err(Box::new(self.problem(
            "the name of a symbol is missing",
            "expected in this place",
        )))
    }

    /// Reads the only string of a statement, which is its second token.
    pub(super) fn text(&mut self, what: &str) -> Outcome<String> {
        self.at = 1;
        let text = self.prompt();
        Ok(text
            .ok_or_else(|| self.problem(format!("{what} is missing"), "expected in this place"))?)
    }

    /// Reads an optional string.
    pub(super) fn prompt(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                self.advance();
                Some(text.trim_start().to_owned())
            }
            Some(Token::Sign(_)) | None => None,
        }
    }

    /// Rejects further tokens.
    pub(super) fn end(&self) -> Outcome<()> {
        if self.peek().is_none() {
            return Ok(());
        }
        Err(Box::new(self.problem(
            "unexpected text at the end of the line",
            "not expected",
        )))
    }

    /// Returns a problem at the next token, or at the end of the statement.
    pub(super) fn problem(&self, message: impl Into<String>, label: &str) -> Problem {
        let span = self.words.get(self.at).map_or_else(
            || {
                let end = whole(self.words).end;
                Span { start: end, end }
            },
            |word| word.span,
        );
        Problem::error(message).at(span).label(label)
    }
}

/// Returns the first token of a statement.
pub(super) fn first(words: &[Spanned]) -> &str {
    match words.first() {
        Some(Spanned {
            token: Token::Word(text),
            ..
        }) => text,
        _ => "",
    }
}

pub(super) fn shown(words: &[Spanned]) -> String {
    match words.first().map(|word| &word.token) {
        Some(Token::Word(text) | Token::Quoted(text)) => text.chars().take(60).collect(),
        Some(Token::Sign(sign)) => (*sign).to_owned(),
        None => String::new(),
    }
}

pub(super) fn whole(words: &[Spanned]) -> Span {
    let start = words.first().map_or(0, |word| word.span.start);
    let end = words.last().map_or(start, |word| word.span.end);
    Span { start, end }
}

pub(super) fn at(words: &[Spanned], message: impl Into<String>) -> Problem {
    let span = words.first().map_or_else(|| whole(words), |word| word.span);
    Problem::error(message).at(span)
}

/// Reports an unknown statement or option.
pub(super) fn unknown(words: &[Spanned]) -> Problem {
    const KNOWN: [&str; 33] = [
        "config",
        "menuconfig",
        "choice",
        "endchoice",
        "menu",
        "endmenu",
        "if",
        "endif",
        "comment",
        "mainmenu",
        "source",
        "rsource",
        "osource",
        "orsource",
        "bool",
        "tristate",
        "int",
        "hex",
        "string",
        "def_bool",
        "def_tristate",
        "prompt",
        "default",
        "depends",
        "select",
        "imply",
        "range",
        "visible",
        "option",
        "optional",
        "help",
        "modules",
        "env",
    ];
    let word = shown(words);
    let problem = at(
        words,
        format!("`{word}` is not a statement of KConfig, or not allowed in this place"),
    );
    match kraft_core::nearest::nearest(&word, KNOWN) {
        Some(near) if near != word => problem.help(format!("did you mean `{near}`?")),
        _ => problem,
    }
}
