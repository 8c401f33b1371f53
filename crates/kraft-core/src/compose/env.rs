//! Files of variables: `.env`, and those of `env_file`.

use std::cell::RefCell;

use super::short;
use crate::document::interpolate::{Lookup, expand};

/// Maximum total size of the expanded values of a file, in bytes.
const BUDGET: usize = 1 << 20;

/// Parses the text of an `.env` file, by the rules of Compose. Lines that are nothing of this are
/// ignored.
///
/// | line | value |
/// |---|---|
/// | `NAME=text # comment`, `NAME: text` | the text, with its variables expanded |
/// | `NAME="text"` | the same, with `\n`, `\t`, `\"`, `\\` and `\$`; may have several lines |
/// | `NAME='text'` | the text as it is; may have several lines |
/// | `NAME` | that of the environment; left out if it has none |
///
/// Variables are looked up in the environment, then in the lines above.
///
/// ```
/// use kraft_core::compose::variables;
///
/// let found = variables("HOST=db\nURL=\"tcp://${HOST}:${PORT:-5432}\"\n", &|_| None);
/// assert_eq!(found[1], ("URL".to_owned(), "tcp://db:5432".to_owned()));
/// ```
pub fn variables(text: &str, vars: Lookup<'_>) -> Vec<(String, String)> {
    let found: RefCell<Vec<(String, String)>> = RefCell::default();
    let lookup = |name: &str| {
        let own = || {
            let found = found.borrow();
            let mut above = found.iter().rev();
            above
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        vars(name).or_else(own)
    };
    let mut left = BUDGET;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        let Some((name, value)) = split(rest, line) else {
            let name = declared(line);
            if is_name(name)
                && let Some(value) = vars(name)
            {
                found.borrow_mut().push((name.to_owned(), value));
            }
            rest = after_line(rest);
            continue;
        };
        let (value, tail) = match quoted(value) {
            Some(('"', inner, tail)) => (expand(&unescaped(inner), &lookup, &mut left), tail),
            Some((_, inner, tail)) => (inner.to_owned(), tail),
            None => {
                let line = value.lines().next().unwrap_or_default();
                let plain = short::uncommented(line);
                (expand(plain, &lookup, &mut left), value)
            }
        };
        if is_name(name) {
            found.borrow_mut().push((name.to_owned(), value));
        }
        rest = after_line(tail);
    }
    found.into_inner()
}

/// Parses the text of a file of variables in Docker's `raw` format: `NAME=VALUE`, the value as it is,
/// or `NAME` with the value of the environment.
pub fn plain_variables(text: &str, vars: Lookup<'_>) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| match line.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((line.to_owned(), vars(line)?)),
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// Returns a line without blanks around it and `export` before it.
fn declared(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("export ").unwrap_or(line).trim_start()
}

/// Splits the first line of a text into a name, and the text from its value on.
fn split<'t>(rest: &'t str, line: &'t str) -> Option<(&'t str, &'t str)> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let at = line.find('=').or_else(|| line.find(':'))?;
    let value = rest.get(at + 1..)?.trim_start_matches([' ', '\t']);
    Some((declared(line.get(..at)?), value))
}

/// Returns the quote that a text begins with, what is in it, and what follows.
fn quoted(text: &str) -> Option<(char, &str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.get(1..)?;
    let mut escaped = false;
    let end = inner.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = quote == '"' && c == '\\' && !escaped;
        ends.then_some(at)
    })?;
    Some((quote, inner.get(..end)?, inner.get(end + 1..)?))
}

/// Resolves backslashes; a dollar sign after one stays one when variables are expanded.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}

fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty() && text.bytes().all(is_part)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn shown(pairs: &[(String, String)]) -> Vec<String> {
        pairs.iter().map(|(n, v)| format!("{n}={v}")).collect()
    }

    fn own(name: &str) -> Option<String> {
        (name == "OWN").then(|| "o".to_owned())
    }

    #[test]
    fn env_files_are_parsed_as_by_compose() {
        for (text, expected) in [
            ("# all\nA=1\n\nexport B='x y'\n", &["A=1", "B=x y"][..]),
            (
                "C=\"q\"\nD=\n=x\nodd name=1\nE=a # b\n",
                &["C=q", "D=", "E=a"],
            ),
            ("F: yes\nG=a#b", &["F=yes", "G=a#b"]),
            (
                "A=1\nB=${A}2\nC='${A}'\nD=\"${A:-x}$$\"",
                &["A=1", "B=12", "C=${A}", "D=1$"],
            ),
            ("A=${NO:-${OWN}}\nB=${NO}.", &["A=o", "B=."]),
            (
                "A=\"one\ntwo\\n\\\"\\$B\" # c\nB='x\ny'",
                &["A=one\ntwo\n\"$B", "B=x\ny"],
            ),
            ("A=\"never closed\nB=1", &["A=\"never closed", "B=1"]),
            ("OWN\nMISSING\r\n  X = y \r\n", &["OWN=o", "X=y"]),
            ("\u{feff}A=1", &["A=1"]),
        ] {
            assert_eq!(shown(&variables(text, &own)), expected, "{text}");
        }
    }

    #[test]
    fn raw_values_are_taken_as_they_are() {
        let text = "A='x' # y\n#B=1\nOWN\nMISSING\nC=${OWN}\n=1\n";
        let expected = ["A='x' # y", "OWN=o", "C=${OWN}"];
        assert_eq!(shown(&plain_variables(text, &own)), expected);
    }

    #[test]
    fn values_that_repeat_each_other_do_not_fill_memory() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for n in 0..40 {
            let _ = writeln!(text, "A{}=${{A{n}}}${{A{n}}}", n + 1);
        }
        let size: usize = variables(&text, &own).iter().map(|(_, v)| v.len()).sum();
        assert!(size <= BUDGET + 64, "{size}");
    }
}
