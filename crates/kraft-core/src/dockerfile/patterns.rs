//! Path patterns of `.dockerignore`, `--exclude` and `--parents`.
//!
//! In a `.dockerignore` (docs.docker.com, "`.dockerignore` files") the last line that matches a
//! path, or a directory above it, decides; `!` includes a path again; `**` matches any number of
//! directories. Otherwise as in BuildKit (`moby/patternmatcher`).

use regex::{RegexSet, RegexSetBuilder};

use super::glob;
pub use super::glob::{Glob, has_wildcards};
use crate::problem::{Problem, Span};

/// Maximum total size of the compiled patterns of a list, in bytes.
const LARGEST: usize = 64 << 20;
/// Maximum memory of the lazy matcher of a list, in bytes.
const MOST_MEMORY: usize = 16 << 20;

/// Why a list of patterns is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A pattern is invalid.
    #[error("`{0}` is not a valid pattern")]
    Invalid(String),
    /// All patterns together need too much memory.
    #[error("the patterns are too long")]
    Long,
}

/// A list of patterns of which the last match decides.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    list: Vec<Pattern>,
    set: RegexSet,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// The pattern without `!`.
    text: String,
    /// Whether it begins with `!`.
    negated: bool,
}

/// Which patterns match a path, for matching the paths below it.
#[derive(Clone, Debug, Default)]
pub struct Matched {
    by: Vec<bool>,
    /// Whether the list as a whole matches the path.
    pub is_matched: bool,
}

impl Patterns {
    /// Parses the text of a `.dockerignore`.
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

    /// Parses patterns from a flag, or from a BuildKit daemon.
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

    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether a pattern begins with `!`.
    pub fn has_exceptions(&self) -> bool {
        self.list.iter().any(|pattern| pattern.negated)
    }

    /// Returns whether a path (relative and clean) or a directory above it is matched.
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

    /// Matches a path. `parent` is the result for its directory.
    ///
    /// As in BuildKit, a pattern that could not have changed the result for a directory is ignored
    /// for paths below it, even if it matches the directory.
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

    /// Returns whether a path below a matched directory could be included again.
    pub fn may_except_below(&self, directory: &str) -> bool {
        let mut negated = self.list.iter().filter(|pattern| pattern.negated);
        negated.any(|pattern| pattern.may_match_below(directory))
    }

    /// Returns whether a path below an unmatched directory could match.
    pub fn may_match_below(&self, directory: &str) -> bool {
        let mut positive = self.list.iter().filter(|pattern| !pattern.negated);
        positive.any(|pattern| pattern.may_match_below(directory))
    }
}

impl Pattern {
    /// Parses a pattern; `None` if it is empty.
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
        // Compiling each pattern finds the invalid one, but costs more than compiling the whole
        // list.
        let odd = self.text.contains('[') && regex::Regex::new(&regex).is_err();
        if odd { Err(invalid()) } else { Ok(regex) }
    }

    /// Returns whether it could match a path below a directory: compares their parts up to the
    /// first wildcard.
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
    // Patterns are always relative to the context.
    let path = match path.strip_prefix('/') {
        Some(relative) if !relative.is_empty() => relative,
        _ => &path,
    };
    Some(format!("{negation}{path}"))
}

/// Normalises a path as Go's `filepath.Clean`: leading `..` of a relative path are kept.
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

/// Normalises a path: no empty parts, no `.`, `..` resolved, no leading or trailing slash; the
/// parent of the root is the root.
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
