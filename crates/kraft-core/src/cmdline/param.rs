//! Kernel parameters, as written by users and on the command line.

use super::Dialect;
use super::guest::{quote, quote_always, read_list};
use crate::problem::Problem;

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// `lib.param` for Unikraft, any name for Linux.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The value of a kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// None: only the name is written.
    Bare,
    /// One value.
    One(String),
    /// Values appended to an array, in order.
    List(Vec<String>),
}

impl Param {
    /// Returns a parameter with one value.
    pub fn one(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Value::One(value.into()),
        }
    }

    /// Returns a parameter with a list of values.
    pub fn list(name: impl Into<String>, values: Vec<String>) -> Self {
        Self {
            name: name.into(),
            value: Value::List(values),
        }
    }

    /// Returns the parameter as one unquoted argument; list values are separated by commas as in
    /// Linux.
    pub(super) fn as_word(&self) -> String {
        let name = &self.name;
        match &self.value {
            Value::Bare => name.clone(),
            Value::One(value) => format!("{name}={value}"),
            Value::List(values) => format!("{name}={}", values.join(",")),
        }
    }

    /// Appends the arguments of the parameter in Unikraft's syntax.
    ///
    /// A list ends with the first argument that ends in `]`. A value that itself ends in `]`
    /// therefore closes its list, with an additional bracket that the kernel removes, and the next
    /// value opens another list: the kernel appends to the array.
    pub(super) fn write_unikraft(&self, words: &mut Vec<String>) {
        let name = &self.name;
        let values = match &self.value {
            Value::Bare => return words.push(quote(name)),
            Value::One(value) if value.is_empty() => return words.push(format!("{name}=")),
            Value::One(value) => return words.push(format!("{name}={}", quote(value))),
            Value::List(values) => values,
        };
        if values.is_empty() {
            return words.push(format!("{name}=[]"));
        }
        let mut open = false;
        for value in values {
            if !open {
                words.push(format!("{name}=["));
            }
            open = !value.ends_with(']');
            words.push(if open {
                quote_always(value)
            } else {
                quote_always(&format!("{value}]"))
            });
        }
        if open {
            words.push("]".to_owned());
        }
    }
}

/// Parses the user's kernel parameters, or reports what is wrong with each.
pub(super) fn read_all(dialect: Dialect, texts: &[String]) -> Result<Vec<Param>, Vec<Problem>> {
    let mut params = Vec::new();
    let mut problems = Vec::new();
    for text in texts {
        match dialect {
            Dialect::Linux => params.push(read_linux(text)),
            Dialect::Unikraft => match read_unikraft(text) {
                Ok(param) => params.push(param),
                Err(problem) => problems.push(*problem),
            },
        }
    }
    if problems.is_empty() {
        Ok(params)
    } else {
        Err(problems)
    }
}

fn read_linux(text: &str) -> Param {
    match text.split_once('=') {
        Some((name, value)) => Param::one(name, value),
        None => Param {
            name: text.to_owned(),
            value: Value::Bare,
        },
    }
}

/// Parses `lib.param=value`; a value in brackets is a list in the kernel's syntax.
fn read_unikraft(text: &str) -> Result<Param, Box<Problem>> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| is_parameter_name(name))
        .ok_or_else(|| Box::new(not_a_parameter(text)))?;
    if !value.starts_with('[') {
        return Ok(Param::one(name, value));
    }
    let values = read_list(value).ok_or_else(|| Box::new(not_a_list(name, text)))?;
    Ok(Param::list(name, values))
}

/// Returns whether the text is a library prefix and a parameter name, separated by one dot.
fn is_parameter_name(name: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    name.split_once('.')
        .is_some_and(|(library, param)| is_name(library) && is_name(param))
}

fn not_a_list(name: &str, text: &str) -> Problem {
    Problem::error(format!(
        "the list in kernel parameter '{text}' does not end with the parameter"
    ))
    .help(format!(
        "write it as one argument: `--kernel-arg '{name}=[ \"a\" \"b\" ]'`"
    ))
}

fn not_a_parameter(text: &str) -> Problem {
    // KraftKit compat: users and scripts rely on this message.
    Problem::error(format!(
        "expected param to be in the format 'libname.param=value' but got: '{text}'"
    ))
    .help("arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all")
}
