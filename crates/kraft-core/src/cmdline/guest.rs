//! Unikraft's parser of the kernel command line, in Rust, and quoting for it.
//!
//! This follows Unikraft 0.17: lib/ukargparse (splitting), lib/ukboot's early init (where the
//! arguments begin) and lib/uklibparam (parameters). It is the reference of the round-trip tests,
//! quirks included.

use super::limits::MAX_WORDS;

/// A command line as parsed by the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The first argument; it is never parsed as a parameter.
    pub program: Option<String>,
    /// Values assigned to parameters, in order.
    pub params: Vec<Assignment>,
    /// Arguments among the parameters that are not parameters: the kernel warns and skips them.
    pub strays: Vec<String>,
    /// Whether `help` is among the parameters: the kernel prints all parameters and stops.
    pub help: bool,
    /// The application's arguments.
    pub args: Vec<String>,
}

impl Parsed {
    /// Returns every value assigned to a parameter, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        (self.params.iter())
            .filter(|assignment| assignment.name == name)
            .filter_map(|assignment| assignment.value.as_deref())
            .collect()
    }
}

/// One value assigned to a parameter; each entry of a list is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// `lib.param`.
    pub name: String,
    /// The value; `None` for a bare name, which switches a boolean on.
    pub value: Option<String>,
}

/// Returns a command line as parsed by a Unikraft guest, including the program name.
pub fn parse(line: &str) -> Parsed {
    let mut words = split(line, MAX_WORDS).words.into_iter();
    let program = words.next();
    let words: Vec<String> = words.collect();
    let (reading, stop) = Reading::of(&words);
    match stop {
        // The kernel's condition: a `--` that is not the first argument.
        Some(at) if at > 0 => Parsed {
            program,
            params: reading.params,
            strays: reading.strays,
            help: reading.help,
            args: words.into_iter().skip(at + 1).collect(),
        },
        _ => Parsed {
            program,
            args: words,
            ..Parsed::default()
        },
    }
}

/// The state of lib/uklibparam while it reads parameters up to the `--`.
#[derive(Default)]
struct Reading {
    params: Vec<Assignment>,
    strays: Vec<String>,
    help: bool,
    /// The parameter with an open list: a `--` in it would be a value.
    list: Option<String>,
}

impl Reading {
    /// Reads arguments up to the `--`, and returns its index.
    fn of(words: &[String]) -> (Self, Option<usize>) {
        let mut reading = Self::default();
        for (at, word) in words.iter().enumerate() {
            match reading.list.take() {
                Some(name) => reading.list_word(name, word),
                None if word == "--" => return (reading, Some(at)),
                None if word == "help" => reading.help = true,
                None => reading.parameter(word),
            }
        }
        (reading, None)
    }

    fn parameter(&mut self, word: &str) {
        let Some((library, rest)) = word.split_once('.') else {
            self.strays.push(word.to_owned());
            return;
        };
        let (name, value) = match rest.split_once('=') {
            Some((param, value)) => (format!("{library}.{param}"), Some(value)),
            None => (word.to_owned(), None),
        };
        match value.map(|value| (value, value.strip_prefix('['))) {
            Some((_, Some(""))) => self.list = Some(name),
            Some((_, Some(first))) => self.list_word(name, first),
            Some((value, None)) => self.assign(name, Some(value)),
            None => self.assign(name, None),
        }
    }

    fn list_word(&mut self, name: String, word: &str) {
        match word.strip_suffix(']') {
            Some("") => {}
            Some(last) => self.assign(name, Some(last)),
            None => {
                self.assign(name.clone(), Some(word));
                self.list = Some(name);
            }
        }
    }

    fn assign(&mut self, name: String, value: Option<&str>) {
        let value = value.map(str::to_owned);
        self.params.push(Assignment { name, value });
    }
}

/// Parses a value that begins with `[` as a list; `None` if it does not end where the list does.
pub(super) fn read_list(value: &str) -> Option<Vec<String>> {
    let split = split(value, usize::MAX);
    if split.open_quote {
        return None;
    }
    let (first, rest) = split.words.split_first()?;
    let mut reading = Reading::default();
    reading.parameter(&format!("list.values={first}"));
    for word in rest {
        let name = reading.list.take()?;
        reading.list_word(name, word);
    }
    let closed = reading.list.is_none();
    let values = reading.params.into_iter().filter_map(|param| param.value);
    closed.then(|| values.collect())
}

/// A split command line.
pub(super) struct Split {
    /// The arguments without quotes.
    pub(super) words: Vec<String>,
    /// Whether the line ended inside quotes.
    pub(super) open_quote: bool,
}

/// Splits a line as lib/ukargparse does.
///
/// The splitter stops at the maximum number of arguments: the last one keeps the whole rest of the
/// line, including quotes and blanks.
pub(super) fn split(line: &str, most: usize) -> Split {
    let mut words: Vec<String> = Vec::new();
    let mut between = true;
    let mut escaped = false;
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match c {
            ' ' | '\r' | '\n' | '\t' | '\x0b' if quote.is_none() && !escaped => {
                between = true;
                continue;
            }
            '"' if escaped && quote.is_some() => {
                escaped = false;
                words.last_mut().map(String::pop);
            }
            '"' | '\'' if !escaped && quote.is_none() => {
                quote = Some(c);
                continue;
            }
            '"' | '\'' if quote == Some(c) => {
                quote = None;
                continue;
            }
            _ => {}
        }
        if between {
            between = false;
            escaped = false;
            if words.len().saturating_add(1) >= most {
                words.push(line.get(at..).unwrap_or_default().to_owned());
                break;
            }
            words.push(String::new());
        }
        let Some(word) = words.last_mut() else {
            continue;
        };
        if c == '\\' && quote != Some('\'') {
            if !escaped {
                word.push(c);
            }
            escaped = !escaped;
        } else {
            if escaped && quote.is_none() {
                word.pop();
            }
            escaped = false;
            word.push(c);
        }
    }
    Split {
        words,
        open_quote: quote.is_some(),
    }
}

/// Quotes an argument for [`split`], if necessary.
pub(super) fn quote(word: &str) -> String {
    if word.contains([' ', '\t', '"', '\'', '\\']) || word.is_empty() {
        quote_always(word)
    } else {
        word.to_owned()
    }
}

/// Quotes an argument.
///
/// In single quotes nothing is special, even for kernels without backslash escapes (Unikraft <
/// 0.16), so they are preferred wherever double quotes would need an escape.
pub(super) fn quote_always(word: &str) -> String {
    if !word.contains(['"', '\\']) {
        format!("\"{word}\"")
    } else if word.contains('\'') {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        format!("'{word}'")
    }
}
