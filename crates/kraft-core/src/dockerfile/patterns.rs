//! Patterns of paths: those of `.dockerignore`, of `--exclude` and of `--parents`.
//!
//! In a `.dockerignore` (docs.docker.com, "`.dockerignore` files") the last line that matches a
//! path, or a directory above it, decides; `!` includes a path again; `**` matches any number of
//! directories. Everything else is as in BuildKit (`moby/patternmatcher`).

use regex::{RegexSet, RegexSetBuilder};

use super::glob;
pub use super::glob::{Glob, has_wildcards};
use crate::problem::{Problem, Span};

/// Largest size of all patterns of a list when they are compiled, in bytes.
const LARGEST: usize = 64 << 20;
/// Largest size of what the matcher of a list remembers, in bytes.
const MOST_MEMORY: usize = 16 << 20;

/// Why a list of patterns cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// One of them is not valid.
    #[error("`{0}` is not a valid pattern")]
    Invalid(String),
    /// All of them together need too much memory.
    #[error("the patterns are too long")]
    Long,
}

/// A list of patterns in which the last match decides.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    list: Vec<Pattern>,
    set: RegexSet,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// Without `!`.
    text: String,
    /// It begins with `!`.
    negated: bool,
}

/// Which patterns of a list match a path, for the paths below it.
#[derive(Clone, Debug, Default)]
pub struct Matched {
    by: Vec<bool>,
    /// Whether the path is matched by the list as a whole.
    pub is_matched: bool,
}

impl Patterns {
    /// Reads the text of a `.dockerignore`.
    pub fn of_ignore_file(text: &str) -> Result<Self, Box<Problem>> {
        let text_start = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut start = text.len() - text_start.len();
        let mut patterns = Vec::new();
        for line in text_start.split_inclusive('\n') {
            let span = Span {
                start,
                end: start + line.trim_end().len(),
            };
            start += line.len();
            if let Some(pattern) = of_line(line) {
                let read = Pattern::read(&pattern);
                let read = read.map_err(|error| Problem::error(error.to_string()).at(span))?;
                patterns.extend(read);
            }
        }
        Self::of(patterns).map_err(|error| Box::new(Problem::error(error.to_string())))
    }

    /// Takes patterns as they come: of a flag, or of a daemon that read a file.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, PatternError> {
        let read = patterns.into_iter().map(Pattern::read);
        let list = read.filter_map(Result::transpose);
        Self::of(list.collect::<Result<_, _>>()?)
    }

    fn of(list: Vec<Pattern>) -> Result<Self, PatternError> {
        let mut regexes = Vec::new();
        for pattern in &list {
            regexes.push(pattern.regex()?);
        }
        let set = RegexSetBuilder::new(regexes)
            .size_limit(LARGEST)
            .dfa_size_limit(MOST_MEMORY)
            .build()
            .map_err(|_| PatternError::Long)?;
        Ok(Self { list, set })
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether one of them begins with `!`.
    pub fn has_exceptions(&self) -> bool {
        self.list.iter().any(|pattern| pattern.negated)
    }

    /// Returns whether a path, relative and clean, is matched: itself or by a directory above it.
    pub fn matches(&self, path: &str) -> bool {
        if self.list.is_empty() {
            return false;
        }
        let mut parent = None;
        for (end, _) in path.match_indices('/') {
            let above = path.get(..end).unwrap_or_default();
            parent = Some(self.matched(above, parent.as_ref()));
        }
        self.matched(path, parent.as_ref()).is_matched
    }

    /// Matches a path. `parent` is the outcome for the directory it is in.
    ///
    /// As in BuildKit, a pattern that could not have changed the outcome for a directory does not
    /// count for what is below it, even if it matches the directory.
    pub fn matched(&self, path: &str, parent: Option<&Matched>) -> Matched {
        let mut matched = Matched::default();
        if self.list.is_empty() {
            return matched;
        }
        let own = self.set.matches(path);
        for (at, pattern) in self.list.iter().enumerate() {
            let above = parent.and_then(|parent| parent.by.get(at));
            let by_above = above.copied().unwrap_or(false);
            let changes = pattern.negated == matched.is_matched;
            let is_by = by_above || (changes && own.matched(at));
            matched.by.push(is_by);
            if is_by {
                matched.is_matched = !pattern.negated;
            }
        }
        matched
    }

    /// Returns whether something below a matched directory could still be included again.
    pub fn may_except_below(&self, directory: &str) -> bool {
        let mut negated = self.list.iter().filter(|pattern| pattern.negated);
        negated.any(|pattern| pattern.may_match_below(directory))
    }

    /// Returns whether something below a directory that is not matched itself could be.
    pub fn may_match_below(&self, directory: &str) -> bool {
        let mut positive = self.list.iter().filter(|pattern| !pattern.negated);
        positive.any(|pattern| pattern.may_match_below(directory))
    }
}

impl Pattern {
    /// Reads a pattern; `None` if it is empty.
    fn read(text: &str) -> Result<Option<Self>, PatternError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let path = cleaned(text);
        let pattern = match path.strip_prefix('!') {
            Some("") => return Err(PatternError::Invalid(path)),
            Some(path) => Self {
                text: path.to_owned(),
                negated: true,
            },
            None => Self {
                text: path,
                negated: false,
            },
        };
        pattern.regex().map(|_| Some(pattern))
    }

    fn regex(&self) -> Result<String, PatternError> {
        let invalid = || PatternError::Invalid(self.text.clone());
        let regex = glob::ignore(&self.text).map_err(|_| invalid())?;
        // Compiling all of them says which is at fault, but costs more than the list as a whole.
        let odd = self.text.contains('[') && regex::Regex::new(&regex).is_err();
        if odd { Err(invalid()) } else { Ok(regex) }
    }

    /// Returns whether it could match something below a directory: compares their parts up to the
    /// first with a wildcard.
    fn may_match_below(&self, directory: &str) -> bool {
        let mut own = self.text.split('/');
        for part in directory.split('/') {
            match own.next() {
                Some(own) if has_wildcards(own) || own.contains('\\') => return true,
                Some(own) if own == part => {}
                Some(_) | None => return false,
            }
        }
        own.next().is_some()
    }
}

/// Returns the pattern of a line of an ignore file.
fn of_line(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (negation, path) = match line.strip_prefix('!') {
        Some(path) => ("!", path.trim()),
        None => ("", line),
    };
    if path.is_empty() {
        return Some(negation.to_owned());
    }
    let path = cleaned(path);
    // A pattern is always relative to the context.
    let path = match path.strip_prefix('/') {
        Some(relative) if !relative.is_empty() => relative,
        _ => &path,
    };
    Some(format!("{negation}{path}"))
}

/// Brings a path into one form as Go does (`filepath.Clean`): `..` at the front of a relative path
/// stays.
fn cleaned(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    match (rooted, path.is_empty()) {
        (true, _) => format!("/{path}"),
        (false, true) => ".".to_owned(),
        (false, false) => path,
    }
}

/// Brings a path into one form: no empty parts, no `.`, `..` resolved, nothing at the ends. What
/// leads above the root is the root.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
