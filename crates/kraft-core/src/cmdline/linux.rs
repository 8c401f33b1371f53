//! Linux's parser of the kernel command line, whose quoting is more limited than Unikraft's.
//!
//! In lib/cmdline.c (`next_arg`) blanks separate arguments, a double quote begins or ends a part
//! where they do not, and only quotes at the ends of an argument or value are removed; quotes
//! cannot be escaped. init/main.c passes unknown `NAME=VALUE` to init's environment, and everything
//! after a `--` as init's arguments.

use super::guest::{Assignment, Parsed};

/// Maximum number of arguments of init, besides its name (`CONFIG_INIT_ENV_ARG_LIMIT`, 32).
pub(super) const MAX_ARGS: usize = 31;
/// Maximum number of variables of init, besides `HOME` and `TERM` (the same limit).
pub(super) const MAX_VARIABLES: usize = 30;
/// Maximum length of the line in bytes (`COMMAND_LINE_SIZE` of x86, without the terminating zero);
/// Linux silently truncates it.
pub(super) const MAX_BYTES: usize = 2047;

/// Quotes an argument; the caller has rejected double quotes.
pub(super) fn quote(word: &str) -> String {
    let splits = |text: &str| text.bytes().any(is_blank);
    if !splits(word) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && !splits(name) => format!("{name}=\"{value}\""),
        _ => format!("\"{word}\""),
    }
}

/// Parses a line as Linux does: parameters, which may be init's environment, and init's arguments.
pub fn parse(line: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut words = split(line).into_iter();
    for (name, value) in words.by_ref() {
        if name == "--" && value.is_none() {
            break;
        }
        parsed.params.push(Assignment { name, value });
    }
    parsed.args = words
        .take_while(|(name, value)| name != "--" || value.is_some())
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name,
        })
        .collect();
    parsed
}

/// Splits a line into names and values.
fn split(line: &str) -> Vec<(String, Option<String>)> {
    let mut quoted = false;
    line.as_bytes()
        .split(|&byte| {
            quoted ^= byte == b'"';
            !quoted && is_blank(byte)
        })
        .filter(|word| !word.is_empty())
        .map(|word| unquote(&String::from_utf8_lossy(word)))
        .collect()
}

/// Linux's `isspace`: ASCII blanks, and 0xA0, which is a blank in Latin 1 and half of an `à` in
/// UTF-8.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0)
}

/// Splits an argument at its first `=`, and removes quotes from the ends.
fn unquote(word: &str) -> (String, Option<String>) {
    let whole = word.strip_prefix('"');
    let word = whole.unwrap_or(word);
    let trimmed = || word.strip_suffix('"').unwrap_or(word);
    match word.split_once('=') {
        // A leading `=` is part of the name.
        Some((name, value)) if !name.is_empty() => {
            let inner = value.strip_prefix('"');
            let ends = inner.is_some() || whole.is_some();
            let value = inner.unwrap_or(value);
            let value = value.strip_suffix('"').filter(|_| ends).unwrap_or(value);
            (name.to_owned(), Some(value.to_owned()))
        }
        _ if whole.is_some() => (trimmed().to_owned(), None),
        _ => (word.to_owned(), None),
    }
}
