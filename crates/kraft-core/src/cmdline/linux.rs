//! Linux's side of the boot line: its quoting is poorer than Unikraft's.
//!
//! By lib/cmdline.c (`next_arg`) blanks separate, a double quote begins or ends a stretch where they do not, and only
//! quotes at the ends of a word or of a value are taken off; nothing escapes them. init/main.c passes `NAME=VALUE`
//! that it does not know to init's environment, and what follows a `--` as init's arguments.

use super::guest::{Assignment, Parsed};

/// Arguments that init can get, beside its name (`CONFIG_INIT_ENV_ARG_LIMIT`, 32).
pub(super) const MAX_ARGS: usize = 31;
/// Variables that init can get, beside `HOME` and `TERM` (the same limit).
pub(super) const MAX_VARIABLES: usize = 30;
/// Bytes of the line (`COMMAND_LINE_SIZE` of x86, without the zero at its end); Linux silently cuts what is more.
pub(super) const MAX_BYTES: usize = 2047;

/// Writes a word; one with a double quote cannot be written and must not come here.
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

/// Returns what Linux makes of a line: parameters, which may be init's environment, and init's arguments.
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

/// Linux's `isspace`: that of ASCII, and 0xA0, which is a blank in Latin 1 and half of an `à` in UTF-8.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0)
}

/// Parts a word at its first `=`, and takes quotes off the ends.
fn unquote(word: &str) -> (String, Option<String>) {
    let whole = word.strip_prefix('"');
    let word = whole.unwrap_or(word);
    let trimmed = || word.strip_suffix('"').unwrap_or(word);
    match word.split_once('=') {
        // The `=` of a name that is empty is part of the name.
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
