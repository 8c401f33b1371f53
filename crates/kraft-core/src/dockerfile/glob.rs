//! Path patterns with Go's semantics, translated for the `regex` crate, so that matching time is
//! bounded by the product of pattern and path lengths.

use regex::Regex;

/// Maximum number of characters required by a run of `?` and `*`: file names are not longer.
const LONGEST_NAME: usize = 256;

/// A pattern is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// A pattern for the source paths of `COPY` (Go's `filepath.Match`).
#[derive(Clone, Debug)]
pub struct Glob {
    /// `None` if the pattern is invalid and matches nothing.
    regex: Option<Regex>,
}

impl Glob {
    /// Parses a pattern; an invalid one matches nothing.
    pub fn path(pattern: &str) -> Self {
        let regex = path(pattern).ok();
        Self {
            regex: regex.and_then(|regex| Regex::new(&regex).ok()),
        }
    }

    /// Returns whether the pattern matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        let regex = self.regex.as_ref();
        regex.is_some_and(|regex| regex.is_match(text))
    }
}

/// Returns whether a path contains unescaped wildcards.
pub fn has_wildcards(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(c) = characters.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    false
}

/// Translates a pattern of `filepath.Match`.
pub(super) fn path(pattern: &str) -> Result<String, Invalid> {
    let mut out = Out::default();
    let mut rest = pattern;
    while let Some(c) = next(&mut rest) {
        match c {
            '*' => out.run.star(),
            '?' => out.run.any(),
            '\\' => out.literal(next(&mut rest).ok_or(Invalid)?),
            '[' => {
                let class = path_class(&mut rest)?;
                out.class(&class);
            }
            c => out.literal(c),
        }
    }
    Ok(out.end())
}

/// Translates a pattern of an ignore file (`patternmatcher`).
///
/// `patternmatcher` translates it to a regular expression of Go, with some oddities: the content of
/// a class is copied unchanged, `^` outside of a class matches the start, and a pattern whose only
/// wildcard is a `**` at one of its ends is compared as text.
pub(super) fn ignore(pattern: &str) -> Result<String, Invalid> {
    if is_refused(pattern) {
        return Err(Invalid);
    }
    let (kind, text) = go_regex(pattern);
    let escaped = |text: &str| regex::escape(text);
    Ok(match kind {
        Comparison::Exact => format!("^{}$", escaped(pattern)),
        Comparison::Prefix => {
            let prefix = pattern.strip_suffix("**").unwrap_or(pattern);
            format!("^{}", escaped(prefix))
        }
        Comparison::Suffix => {
            let suffix = pattern.strip_prefix("**").unwrap_or(pattern);
            match suffix.strip_prefix('/') {
                Some(name) => format!("(?:^|/){}$", escaped(name)),
                None => format!("{}$", escaped(suffix)),
            }
        }
        Comparison::Regex => translated(&text)?,
    })
}

/// Returns whether `patternmatcher` rejects a pattern: it matches the pattern with `.` by
/// `filepath.Match`, which parses a pattern only as far as necessary.
fn is_refused(pattern: &str) -> bool {
    let mut rest = pattern;
    let mut name = ".";
    while !rest.is_empty() {
        let after = rest.trim_start_matches('*');
        let star = after.len() < rest.len();
        let (chunk, next) = after.split_at_checked(chunk_end(after)).unwrap_or_default();
        rest = next;
        if star && chunk.is_empty() {
            return false;
        }
        let shorter = if star && !name.is_empty() { "" } else { name };
        let mut found = None;
        for name in [name, shorter] {
            match chunk_rest(chunk, name) {
                Err(Invalid) => return true,
                Ok(Some(left)) if left.is_empty() || !rest.is_empty() => {
                    found = Some(left);
                    break;
                }
                Ok(_) => {}
            }
        }
        let Some(left) = found else {
            return false;
        };
        name = left;
    }
    false
}

/// Returns the end of the part of a pattern up to the next `*` outside of a class.
fn chunk_end(pattern: &str) -> usize {
    let mut inside = false;
    let mut characters = pattern.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '[' => inside = true,
            ']' => inside = false,
            '*' if !inside => return at,
            _ => {}
        }
    }
    pattern.len()
}

/// Matches a part of a pattern without `*` with the start of the name `.`, or of an empty name.
/// Returns the rest of the name if it matches.
fn chunk_rest<'n>(chunk: &str, name: &'n str) -> Result<Option<&'n str>, Invalid> {
    let mut rest = chunk;
    let mut left = Some(name);
    while let Some(c) = next(&mut rest) {
        let was = left.filter(|left| !left.is_empty());
        let matches = match c {
            '[' => {
                let class = path_class(&mut rest)?;
                Regex::new(&Out::of_class(&class)).is_ok_and(|class| class.is_match("."))
            }
            '?' => true,
            '\\' => next(&mut rest).ok_or(Invalid)? == '.',
            c => c == '.',
        };
        left = was.filter(|_| matches).and(Some(""));
    }
    Ok(left)
}

/// How `patternmatcher` compares a pattern with a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

/// Returns the expression that Go compiles for a pattern of an ignore file.
fn go_regex(pattern: &str) -> (Comparison, String) {
    let mut kind = Comparison::Exact;
    let mut text = String::new();
    let mut rest = pattern;
    let mut first = true;
    while let Some(c) = next(&mut rest) {
        match c {
            '*' if eat(&mut rest, '*') => {
                eat(&mut rest, '/');
                if !rest.is_empty() {
                    text.push_str(DIRECTORIES);
                    kind = Comparison::Regex;
                } else if kind == Comparison::Exact {
                    kind = Comparison::Prefix;
                } else {
                    text.push_str(EVERYTHING);
                    kind = Comparison::Regex;
                }
                if first {
                    kind = Comparison::Suffix;
                }
            }
            '*' | '?' => {
                text.push_str(ANY);
                if c == '*' {
                    text.push('*');
                }
                kind = Comparison::Regex;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => text.extend(['\\', c]),
            '\\' => {
                text.push('\\');
                text.extend(next(&mut rest));
                kind = Comparison::Regex;
            }
            '[' | ']' => {
                text.push(c);
                kind = Comparison::Regex;
            }
            c => text.push(c),
        }
        first = false;
    }
    (kind, text)
}

const ANY: &str = "[^/]";
const DIRECTORIES: &str = "(.*/)?";
const EVERYTHING: &str = ".*";

/// Translates an expression of [`go_regex`].
fn translated(text: &str) -> Result<String, Invalid> {
    let mut out = Out::default();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(ANY) {
            rest = after;
            if eat(&mut rest, '*') {
                out.run.star();
            } else {
                out.run.any();
            }
            continue;
        }
        let known = [(DIRECTORIES, "(?:.*/)?"), (EVERYTHING, EVERYTHING)];
        let known = known
            .into_iter()
            .find_map(|(text, own)| Some((rest.strip_prefix(text)?, own)));
        if let Some((after, own)) = known {
            rest = after;
            out.raw(own);
            continue;
        }
        match next(&mut rest) {
            Some('[') => {
                let class = go_class(&mut rest)?;
                out.class(&class);
            }
            Some('\\') => out.literal(next(&mut rest).ok_or(Invalid)?),
            // A class that contained `*` has ended before it, and is repeated.
            Some('*') => out.raw("*"),
            Some('?') => out.raw("?"),
            Some('^') => out.raw("^"),
            Some(c) => out.literal(c),
            None => {}
        }
    }
    Ok(out.end())
}

/// Reads a class of `filepath.Match` up to its closing bracket.
fn path_class(rest: &mut &str) -> Result<String, Invalid> {
    fn one(rest: &mut &str) -> Result<char, Invalid> {
        match next(rest) {
            None | Some('-' | ']') => Err(Invalid),
            Some('\\') => next(rest).ok_or(Invalid),
            Some(c) => Ok(c),
        }
    }
    let mut class = opening(eat(rest, '^'));
    let mut empty = true;
    while empty || !eat(rest, ']') {
        let from = one(rest)?;
        let to = if eat(rest, '-') { one(rest)? } else { from };
        // A reversed range matches nothing.
        if from <= to {
            push_range(&mut class, from, to);
        }
        empty = false;
    }
    class.push(']');
    Ok(class)
}

/// Reads a class of a Go regular expression up to its closing bracket.
fn go_class(rest: &mut &str) -> Result<String, Invalid> {
    fn one(rest: &mut &str) -> Result<char, Invalid> {
        match next(rest) {
            Some('\\') => next(rest).ok_or(Invalid),
            c => c.ok_or(Invalid),
        }
    }
    let mut class = opening(eat(rest, '^'));
    let mut first = true;
    while first || !eat(rest, ']') {
        first = false;
        if let Some((name, after)) = named_class(rest) {
            let bare = name.trim_matches(['[', ':', '^', ']']);
            if !NAMED.contains(&bare) {
                return Err(Invalid);
            }
            class.push_str(name);
            *rest = after;
            continue;
        }
        let from = one(rest)?;
        let mut to = from;
        if rest.starts_with('-') && !rest.starts_with("-]") && rest.len() > 1 {
            eat(rest, '-');
            to = one(rest)?;
        }
        if from > to {
            return Err(Invalid);
        }
        push_range(&mut class, from, to);
    }
    class.push(']');
    Ok(class)
}

/// Names of character classes.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Parses the class `[:NAME:]` at the front of a text; also returns the rest.
fn named_class(text: &str) -> Option<(&str, &str)> {
    let end = text.strip_prefix("[:")?.find(":]")?;
    text.split_at_checked(end + 4)
}

fn opening(negated: bool) -> String {
    if negated { "[^" } else { "[" }.to_owned()
}

fn push_range(class: &mut String, from: char, to: char) {
    let [from, to] = [from, to].map(u32::from);
    class.extend([format!("\\x{{{from:x}}}-\\x{{{to:x}}}")]);
}

/// A regular expression under construction.
#[derive(Debug, Default)]
struct Out {
    text: String,
    run: Run,
}

/// A run of `?` and `*`: the minimum number of characters, and whether more may follow.
#[derive(Debug, Default)]
struct Run {
    count: usize,
    more: bool,
}

impl Run {
    fn star(&mut self) {
        self.more = true;
    }

    fn any(&mut self) {
        self.count = LONGEST_NAME.min(self.count + 1);
    }
}

impl Out {
    fn literal(&mut self, c: char) {
        let mut text = [0; 4];
        let text = regex::escape(c.encode_utf8(&mut text));
        self.raw(&text);
    }

    fn class(&mut self, class: &str) {
        self.raw(&Self::of_class(class));
    }

    /// Formats a class: without a range it matches nothing, or everything.
    fn of_class(class: &str) -> String {
        let class = match class {
            "[]" => "[^\\x{0}-\\x{10ffff}]",
            "[^]" => "[\\x{0}-\\x{10ffff}]",
            class => class,
        };
        class.to_owned()
    }

    fn raw(&mut self, text: &str) {
        self.flush();
        self.text.push_str(text);
    }

    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        let text = match (run.count, run.more) {
            (0, false) => return,
            (0, true) => "[^/]*".to_owned(),
            (count, false) => format!("[^/]{{{count}}}"),
            (count, true) => format!("[^/]{{{count},}}"),
        };
        self.text.push_str(&text);
    }

    fn end(mut self) -> String {
        self.flush();
        format!("^(?:{})$", self.text)
    }
}

fn next(rest: &mut &str) -> Option<char> {
    let mut characters = rest.chars();
    let c = characters.next();
    *rest = characters.as_str();
    c
}

fn eat(rest: &mut &str, c: char) -> bool {
    let after = rest.strip_prefix(c);
    *rest = after.unwrap_or(rest);
    after.is_some()
}
