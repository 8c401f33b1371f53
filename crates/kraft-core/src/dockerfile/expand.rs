//! Expands variables and removes quotes: the rules of the Dockerfile reference, "Environment
//! replacement", as implemented by BuildKit's lexer (`frontend/dockerfile/shell`).

use std::iter::Peekable;
use std::str::Chars;

use super::affix::Affix;

/// Maximum size of an expanded text, in bytes.
const LARGEST: usize = 1 << 20;
/// Maximum depth of nested braces.
const DEEPEST: usize = 32;

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A brace or a quote is never closed.
    #[error("`{0}` is never closed")]
    Open(&'static str),
    /// The braces contain an unknown form.
    #[error("`{0}` is not a valid use of a variable")]
    Form(String),
    /// The pattern of `${NAME#PATTERN}` or a similar form is invalid.
    #[error("`{0}` is not a valid pattern")]
    Pattern(String),
    /// `${NAME:?MESSAGE}`.
    #[error("the variable `{name}` is not set: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message of the Dockerfile.
        message: String,
    },
    /// The result is too long.
    #[error("the result is longer than a megabyte")]
    Long,
    /// Braces are nested too deeply.
    #[error("braces are nested more than {DEEPEST} levels deep")]
    Deep,
}

/// Looks up the values of variables.
pub trait Variables {
    /// Returns the value of a variable.
    fn value(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn value(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Expands variables and removes quotes; the result is not split.
pub fn word(text: &str, escape: char, variables: &dyn Variables) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, escape, variables);
    lexer.all().map(|expanded| expanded.text)
}

/// Expands variables and keeps quotes, as in here-documents.
pub fn document(
    text: &str,
    escape: char,
    variables: &dyn Variables,
) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, escape, variables);
    lexer.quotes = Quotes::None;
    lexer.all().map(|expanded| expanded.text)
}

/// Which quotes and escapes [`split`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Neither quotes nor escapes.
    Plain,
    /// Quotes.
    Quoted,
    /// Quotes and escapes.
    Raw,
}

/// Splits a line into arguments without expansion. The escape character is always a backslash, as
/// in BuildKit's search for here-documents, regardless of `# escape=`.
pub(super) fn split(text: &str, leaves: Split) -> Result<Vec<String>, ExpandError> {
    let nothing = |_: &str| None;
    let mut lexer = Lexer::new(text, '\\', &nothing);
    lexer.keeps_unset = true;
    if leaves != Split::Plain {
        lexer.quotes = Quotes::Kept;
    }
    lexer.raw_escapes = leaves == Split::Raw;
    lexer.all().map(|expanded| expanded.words)
}

/// How a lexer treats quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They group, and are removed.
    Removed,
    /// They group, and are kept.
    Kept,
    /// They are ordinary characters.
    None,
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    variables: &'a dyn Variables,
    quotes: Quotes,
    raw_escapes: bool,
    /// Whether variables without a value stay unexpanded.
    keeps_unset: bool,
    depth: usize,
}

/// The expansion of a part of a text: as a whole, and split at blanks.
#[derive(Default)]
struct Expanded {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Expanded {
    fn character(&mut self, c: char) {
        if c.is_whitespace() {
            self.end();
        } else {
            self.word.push(c);
        }
    }

    fn end(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, variables: &'a dyn Variables) -> Self {
        Self {
            rest: text.chars().peekable(),
            escape,
            variables,
            quotes: Quotes::Removed,
            raw_escapes: false,
            keeps_unset: false,
            depth: 0,
        }
    }

    fn all(&mut self) -> Result<Expanded, ExpandError> {
        self.until(None, self.raw_escapes, false)
    }

    /// Expands up to a delimiter, which is consumed. `raw` keeps escapes; `doubles` duplicates
    /// literal escape characters in quotes, since the text becomes a pattern.
    fn until(
        &mut self,
        end: Option<char>,
        raw: bool,
        doubles: bool,
    ) -> Result<Expanded, ExpandError> {
        if self.depth > DEEPEST {
            return Err(ExpandError::Deep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.raw_escapes, raw);
        let expanded = self.stretch(end, doubles);
        self.raw_escapes = outer;
        self.depth -= 1;
        expanded
    }

    fn stretch(&mut self, end: Option<char>, doubles: bool) -> Result<Expanded, ExpandError> {
        let mut out = Expanded::default();
        while let Some(c) = self.rest.next() {
            if Some(c) == end {
                out.end();
                return Ok(out);
            }
            match c {
                '$' => {
                    let value = self.variable()?;
                    value.chars().for_each(|c| out.character(c));
                    out.text.push_str(&value);
                }
                '\'' | '"' if self.quotes != Quotes::None => {
                    let value = self.quoted(c, doubles)?;
                    out.word.push_str(&value);
                    out.text.push_str(&value);
                }
                '<' => {
                    let value = self.angle();
                    out.word.push_str(&value);
                    out.text.push_str(&value);
                }
                c if c == self.escape => {
                    if self.raw_escapes {
                        out.word.push(c);
                        out.text.push(c);
                    }
                    let Some(next) = self.rest.next() else {
                        break;
                    };
                    out.word.push(next);
                    out.text.push(next);
                }
                c => {
                    out.character(c);
                    out.text.push(c);
                }
            }
            if out.text.len() > LARGEST {
                return Err(ExpandError::Long);
            }
        }
        if end.is_some() {
            return Err(ExpandError::Open("{"));
        }
        out.end();
        Ok(out)
    }

    /// Blanks after a `<<` belong to the same argument: the name of a here-document may follow
    /// them.
    fn angle(&mut self) -> String {
        let mut out = "<".to_owned();
        if let Some(second) = self.rest.next_if_eq(&'<') {
            out.push(second);
            while let Some(blank) = self.rest.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                out.push(blank);
            }
        }
        out
    }

    fn quoted(&mut self, quote: char, doubles: bool) -> Result<String, ExpandError> {
        let mut out = String::new();
        let keeps = self.quotes == Quotes::Kept;
        if keeps {
            out.push(quote);
        }
        loop {
            let Some(c) = self.rest.next() else {
                let open = if quote == '"' { "\"" } else { "'" };
                return Err(ExpandError::Open(open));
            };
            if c == quote {
                if keeps {
                    out.push(c);
                }
                return Ok(out);
            }
            if quote == '\'' {
                if doubles && c == self.escape {
                    out.push(c);
                }
                out.push(c);
            } else if c == '$' {
                out.push_str(&self.variable()?);
            } else if c == self.escape {
                self.escaped(&mut out, doubles);
            } else {
                out.push(c);
            }
            if out.len() > LARGEST {
                return Err(ExpandError::Long);
            }
        }
    }

    /// In double quotes only special characters can be escaped.
    fn escaped(&mut self, out: &mut String, doubles: bool) {
        let escape = self.escape;
        match self.rest.peek().copied() {
            None => {}
            Some(next) if matches!(next, '"' | '$') || next == escape => {
                if self.raw_escapes {
                    out.push(escape);
                }
                self.rest.next();
                out.push(next);
            }
            Some(_) => {
                if self.raw_escapes && (self.quotes != Quotes::Kept || doubles) {
                    out.push(escape);
                }
                out.push(escape);
            }
        }
    }

    fn variable(&mut self) -> Result<String, ExpandError> {
        if self.rest.next_if_eq(&'{').is_some() {
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.variables.value(&name) {
            None if self.keeps_unset => format!("${name}"),
            value => value.unwrap_or_default(),
        })
    }

    /// Reads a name: letters and digits, only digits, or one of the special shell parameters, which
    /// have no value in a Dockerfile.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(special) = self.rest.next_if(|c| "@*#?-$!".contains(*c)) {
            name.push(special);
            return name;
        }
        let digits = self.rest.peek().is_some_and(|c| c.is_numeric());
        let belongs = |c: &char| {
            if digits {
                c.is_numeric()
            } else {
                c.is_alphanumeric() || *c == '_'
            }
        };
        while let Some(c) = self.rest.next_if(belongs) {
            name.push(c);
        }
        name
    }

    /// Reads the rest of a `${…}` form, including its closing brace.
    fn braced(&mut self) -> Result<String, ExpandError> {
        match self.rest.peek().copied() {
            None => return Err(ExpandError::Open("{")),
            Some(c @ ('{' | '}' | ':')) => return Err(ExpandError::Form(format!("${{{c}"))),
            Some(_) => {}
        }
        let name = self.name();
        let Some(sign) = self.rest.next() else {
            return Err(ExpandError::Open("{"));
        };
        let mut signs = sign.to_string();
        match sign {
            '}' => Ok(match self.variables.value(&name) {
                None if self.keeps_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            ':' => {
                let Some(second) = self.rest.next() else {
                    return Err(ExpandError::Open("{"));
                };
                signs.push(second);
                self.replaced(second, &signs, name)
            }
            '-' | '+' | '?' => self.replaced(sign, &signs, name),
            '#' | '%' => self.stripped(sign, &name),
            '/' => self.substituted(&name),
            other => Err(ExpandError::Form(format!("${{{name}{other}"))),
        }
    }

    fn replaced(&mut self, sign: char, signs: &str, name: String) -> Result<String, ExpandError> {
        if !matches!(sign, '-' | '+' | '?') {
            return Err(ExpandError::Form(format!("${{{name}{signs}")));
        }
        let other = self.until(Some('}'), false, false)?.text;
        let value = self.variables.value(&name);
        if value.is_none() && self.keeps_unset {
            return Ok(format!("${{{name}{signs}{other}}}"));
        }
        let value = value.filter(|value| !signs.starts_with(':') || !value.is_empty());
        match (sign, value) {
            ('-', value) => Ok(value.unwrap_or(other)),
            ('+', Some(_)) => Ok(other),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => Err(ExpandError::Required {
                name,
                message: if other.is_empty() {
                    "it is required".to_owned()
                } else {
                    other
                },
            }),
        }
    }

    fn stripped(&mut self, sign: char, name: &str) -> Result<String, ExpandError> {
        let text = self.until(Some('}'), true, true)?.text;
        let value = self.variables.value(name);
        if value.is_none() && self.keeps_unset {
            return Ok(format!("${{{name}{sign}{text}}}"));
        }
        let (pattern, longest) = match text.strip_prefix(sign) {
            Some(pattern) => (pattern, true),
            None => (text.as_str(), false),
        };
        let affix = Affix::new(pattern).ok_or_else(|| ExpandError::Pattern(pattern.to_owned()))?;
        let value = value.unwrap_or_default();
        let rest = if sign == '#' {
            affix.without_prefix(&value, longest)
        } else {
            affix.without_suffix(&value, longest)
        };
        rest.ok_or(ExpandError::Long)
    }

    fn substituted(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let pattern = self.until(Some('/'), true, true)?.text;
        let with = self.until(Some('}'), true, false)?.text;
        let value = self.variables.value(name);
        if value.is_none() && self.keeps_unset {
            return Ok(format!("${{{name}/{pattern}/{with}}}"));
        }
        let affix = Affix::new(&pattern).ok_or(ExpandError::Pattern(pattern))?;
        let replaced = affix.replaced(&value.unwrap_or_default(), &with, all);
        replaced
            .filter(|replaced| replaced.len() <= LARGEST)
            .ok_or(ExpandError::Long)
    }
}
