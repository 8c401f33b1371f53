//! Words with variables into words without: the rules of the Dockerfile reference, "Environment
//! replacement", which are those of a shell for quotes and `${NAME…}`.

use super::patterns::Glob;

/// A word does not grow beyond this, in bytes.
const LARGEST: usize = 1 << 20;
/// Braces do not stand deeper in each other than this.
const DEEPEST: usize = 32;

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A brace or a quote is never closed.
    #[error("`{0}` is never closed")]
    Open(&'static str),
    /// What stands in braces is none of the forms.
    #[error("`{0}` is no way to use a variable")]
    Form(String),
    /// `${NAME:?MESSAGE}`.
    #[error("the variable `{name}` is not set: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What its author says.
        message: String,
    },
    /// It became too long.
    #[error("it becomes longer than a megabyte")]
    Long,
}

/// Where variables have their values.
pub trait Variables {
    /// Returns the value of a variable.
    fn value(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn value(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Expands variables and takes quotes away: one word stays one word.
pub fn word(text: &str, escape: char, variables: &dyn Variables) -> Result<String, ExpandError> {
    run(text, escape, variables, true)
}

/// Expands variables and leaves quotes as they are: the text of a here-document.
pub fn document(
    text: &str,
    escape: char,
    variables: &dyn Variables,
) -> Result<String, ExpandError> {
    run(text, escape, variables, false)
}

fn run(
    text: &str,
    escape: char,
    variables: &dyn Variables,
    unquotes: bool,
) -> Result<String, ExpandError> {
    let mut expander = Expander {
        rest: text.chars().peekable(),
        escape,
        variables,
        unquotes,
        depth: 0,
    };
    expander.until(None)
}

struct Expander<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    variables: &'a dyn Variables,
    unquotes: bool,
    depth: usize,
}

impl Expander<'_> {
    /// Expands up to a character, which is taken.
    fn until(&mut self, end: Option<char>) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            if out.len() > LARGEST {
                return Err(ExpandError::Long);
            }
            let Some(c) = self.rest.next() else {
                return match end {
                    None => Ok(out),
                    Some('"') => Err(ExpandError::Open("\"")),
                    Some(_) => Err(ExpandError::Open("{")),
                };
            };
            if Some(c) == end {
                return Ok(out);
            }
            match c {
                '\'' if self.unquotes && end != Some('"') => self.literal(&mut out)?,
                '"' if self.unquotes && end != Some('"') => out.push_str(&self.until(Some('"'))?),
                '$' => self.variable(&mut out)?,
                c if c == self.escape => self.escaped(end, &mut out),
                c => out.push(c),
            }
        }
    }

    fn literal(&mut self, out: &mut String) -> Result<(), ExpandError> {
        for c in self.rest.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        Err(ExpandError::Open("'"))
    }

    fn escaped(&mut self, end: Option<char>, out: &mut String) {
        match self.rest.next() {
            // Inside double quotes and documents only what has a meaning there can lose it.
            Some(next) if end == Some('"') || !self.unquotes => {
                let meant = next == '$' || next == self.escape || (self.unquotes && next == '"');
                if !meant {
                    out.push(self.escape);
                }
                out.push(next);
            }
            Some(next) => out.push(next),
            None => out.push(self.escape),
        }
    }

    fn variable(&mut self, out: &mut String) -> Result<(), ExpandError> {
        match self.rest.peek().copied() {
            Some('{') => {
                self.rest.next();
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(ExpandError::Form("${".repeat(3)));
                }
                let value = self.braced()?;
                self.depth -= 1;
                out.push_str(&value);
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.name();
                out.push_str(&self.variables.value(&name).unwrap_or_default());
            }
            // The positional parameters of a shell: there are none here.
            Some(c) if c.is_ascii_digit() || "@*#".contains(c) => {
                self.rest.next();
            }
            _ => out.push('$'),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        name
    }

    /// Reads what follows `${`, its brace included.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError::Form("${}".to_owned()));
        }
        let value = self.variables.value(&name);
        let Some(sign) = self.rest.next() else {
            return Err(ExpandError::Open("{"));
        };
        match sign {
            '}' => Ok(value.unwrap_or_default()),
            ':' => {
                let sign = self.rest.next().unwrap_or('}');
                let value = value.filter(|value| !value.is_empty());
                self.replaced(sign, name, value)
            }
            '-' | '+' | '?' => self.replaced(sign, name, value),
            '#' | '%' => {
                let greedy = self.rest.next_if_eq(&sign).is_some();
                let pattern = self.until(Some('}'))?;
                Ok(strip(
                    &value.unwrap_or_default(),
                    &pattern,
                    sign == '#',
                    greedy,
                ))
            }
            '/' => {
                let all = self.rest.next_if_eq(&'/').is_some();
                let (pattern, with) = self.substitution()?;
                Ok(substitute(&value.unwrap_or_default(), &pattern, &with, all))
            }
            other => Err(ExpandError::Form(format!("${{{name}{other}"))),
        }
    }

    fn replaced(
        &mut self,
        sign: char,
        name: String,
        value: Option<String>,
    ) -> Result<String, ExpandError> {
        let other = self.until(Some('}'))?;
        match (sign, value) {
            ('-', value) => Ok(value.unwrap_or(other)),
            ('+', Some(_)) => Ok(other),
            ('+', None) => Ok(String::new()),
            ('?', Some(value)) => Ok(value),
            ('?', None) => Err(ExpandError::Required {
                name,
                message: if other.is_empty() {
                    "it must be".to_owned()
                } else {
                    other
                },
            }),
            (sign, _) => Err(ExpandError::Form(format!("${{{name}:{sign}"))),
        }
    }

    fn substitution(&mut self) -> Result<(String, String), ExpandError> {
        let mut pattern = String::new();
        loop {
            match self.rest.next() {
                None => return Err(ExpandError::Open("{")),
                Some('/') => break,
                Some('}') => return Ok((pattern, String::new())),
                Some(c) if c == self.escape => pattern.extend(self.rest.next()),
                Some(c) => pattern.push(c),
            }
        }
        Ok((pattern, self.until(Some('}'))?))
    }
}

/// Takes the shortest or longest match off an end.
fn strip(value: &str, pattern: &str, front: bool, greedy: bool) -> String {
    let glob = Glob::shell(pattern);
    let mut cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).collect();
    cuts.push(value.len());
    // The shortest match comes first: the smallest cut from the front, the largest from the end.
    if front == greedy {
        cuts.reverse();
    }
    for cut in cuts {
        let (head, tail) = value.split_at_checked(cut).unwrap_or((value, ""));
        if front && glob.matches(head) {
            return tail.to_owned();
        }
        if !front && glob.matches(tail) {
            return head.to_owned();
        }
    }
    value.to_owned()
}

/// Puts something in the place of the first match, or of all.
fn substitute(value: &str, pattern: &str, with: &str, all: bool) -> String {
    let glob = Glob::shell(pattern);
    if pattern.is_empty() {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        // The longest match that begins here.
        let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
        let found = ends
            .filter_map(|end| rest.split_at_checked(end))
            .find(|(head, _)| glob.matches(head));
        if let Some((_, tail)) = found {
            out.push_str(with);
            rest = tail;
            if !all {
                break;
            }
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}
