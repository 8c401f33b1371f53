//! The `--name=value` flags before the arguments of an instruction.

use super::lines::Line;
use super::parse::{Outcome, fail};
use crate::nearest;
use crate::problem::{Problem, Span};

/// One flag, without quotes.
#[derive(Clone, Debug)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) span: Span,
    /// Position in the file of each byte of the value, if it contains no quotes.
    value_at: Option<usize>,
}

/// Removes the flags from the front of a line, up to the first other argument or after a `--`.
/// Returns them and the offset of the rest.
pub(super) fn take(line: &Line, escape: char) -> (Vec<Flag>, usize) {
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let rest = line.text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        let start = at + (rest.len() - trimmed.len());
        if !trimmed.starts_with("--") {
            return (flags, start);
        }
        let (word, length) = unquoted(trimmed, escape);
        at = start + length;
        if word == "--" {
            return (flags, at);
        }
        let body = word.strip_prefix("--").unwrap_or(&word);
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let value_at = (word.len() == length).then(|| start + name.len() + 3);
        flags.push(Flag {
            name: name.to_owned(),
            value,
            span: line.span(start, at),
            value_at: value_at.map(|at| line.span(at, at).start),
        });
    }
}

/// Reads up to white space, without quotes and escapes; also returns the length read.
fn unquoted(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        if c == escape {
            word.extend(characters.next().map(|(_, c)| c));
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && c.is_whitespace() {
            return (word, at);
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
        } else {
            word.push(c);
        }
    }
    (word, text.len())
}

/// Rejects unknown flags, and repeated ones unless they are in `lists`.
pub(super) fn check(flags: &[Flag], known: &[&str], lists: &[&str]) -> Outcome<()> {
    for (at, flag) in flags.iter().enumerate() {
        let name = flag.name.as_str();
        if !known.contains(&name) && !lists.contains(&name) {
            return fail(flag.unknown(&[known, lists].concat()));
        }
        let before = flags.get(..at).unwrap_or_default();
        if let Some(first) = before.iter().find(|first| first.name == name)
            && !lists.contains(&name)
        {
            let problem = Problem::error(format!("`--{name}` is specified twice")).at(flag.span);
            return fail(problem.related(first.span, "first specified in this place"));
        }
    }
    Ok(())
}

impl Flag {
    /// Returns the value; `None` if it is empty, which is equivalent to no flag.
    pub(super) fn needed(&self) -> Outcome<Option<String>> {
        match &self.value {
            Some(value) => Ok(Some(value.clone()).filter(|value| !value.is_empty())),
            None => fail(
                Problem::error(format!("`--{}` needs a value", self.name))
                    .at(self.span)
                    .label(format!("write `--{}=VALUE`", self.name)),
            ),
        }
    }

    /// Returns the boolean value of the flag.
    pub(super) fn switch(&self) -> Outcome<bool> {
        match self
            .value
            .as_deref()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => {
                let problem = Problem::error(format!("`--{}` is on or off", self.name));
                fail(problem.at(self.span).label("`true` or `false`"))
            }
        }
    }

    /// Returns the position in the file of a part of the value, or of the whole flag.
    pub(super) fn span_in_value(&self, start: usize, end: usize) -> Span {
        let at = self.value_at.filter(|at| at + end <= self.span.end);
        at.map_or(self.span, |at| Span {
            start: at + start,
            end: at + end,
        })
    }

    /// Reports an unknown flag.
    fn unknown(&self, known: &[&str]) -> Problem {
        let problem = Problem::error(format!("unknown flag `--{}`", self.name)).at(self.span);
        match nearest::nearest(&self.name, known.iter().copied()) {
            Some(meant) => problem.label(format!("did you mean `--{meant}`?")),
            None if known.is_empty() => problem.label("this instruction has no flags"),
            None => problem.help(format!("expected one of: --{}", known.join(", --"))),
        }
    }
}
