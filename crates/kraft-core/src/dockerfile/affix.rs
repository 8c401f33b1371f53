//! Patterns of `${NAME#PATTERN}` and similar forms: only `*` and `?` are special (BuildKit,
//! `frontend/dockerfile/shell`).

use regex::Regex;

/// Maximum product of the sizes of a pattern and of the value it is matched with.
const MOST_WORK: usize = 1 << 28;

/// A pattern for a part of a value.
#[derive(Debug)]
pub(super) struct Affix {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Star,
    Any,
    One(char),
}

impl Affix {
    /// Parses a pattern; a backslash escapes `*`, `?`, `\`, `}` and `/`.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::One(
                    rest.next()
                        .filter(|c| matches!(c, '*' | '?' | '\\' | '}' | '/'))?,
                ),
                c => Token::One(c),
            });
        }
        Some(Self { tokens })
    }

    /// Removes the longest or shortest matching prefix from a value; `None` if matching would be
    /// too expensive.
    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> Option<String> {
        let regex = compiled(self.tokens.iter(), longest, true, value)?;
        let end = regex.find(value).map_or(0, |found| found.end());
        value.get(end..).map(str::to_owned)
    }

    /// Removes the longest or shortest matching suffix from a value.
    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> Option<String> {
        // Matching from the end: the regex crate finds the shortest match from the front only.
        let regex = compiled(self.tokens.iter().rev(), longest, true, value)?;
        let turned: String = value.chars().rev().collect();
        let end = regex.find(&turned).map_or(0, |found| found.end());
        turned.get(end..).map(|rest| rest.chars().rev().collect())
    }

    /// Replaces the first match in a value, or all.
    pub(super) fn replaced(&self, value: &str, with: &str, all: bool) -> Option<String> {
        let regex = compiled(self.tokens.iter(), true, false, value)?;
        if all {
            // `replace_all` expands group names (`$1`), but the pattern has no groups.
            return Some(regex.replace_all(value, with).into_owned());
        }
        let Some(found) = regex.find(value) else {
            return Some(value.to_owned());
        };
        let (before, after) = (value.get(..found.start())?, value.get(found.end()..)?);
        Some([before, with, after].concat())
    }
}

fn compiled<'t>(
    tokens: impl ExactSizeIterator<Item = &'t Token>,
    longest: bool,
    anchored: bool,
    value: &str,
) -> Option<Regex> {
    if tokens.len().saturating_mul(value.len()) > MOST_WORK {
        return None;
    }
    let mut text = String::from(if anchored { "^" } else { "" });
    for token in tokens {
        match token {
            Token::Star if longest => text.push_str(".*"),
            Token::Star => text.push_str(".*?"),
            Token::Any => text.push('.'),
            Token::One(c) => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).ok()
}
