//! Patterns of paths: those of `.dockerignore`, of `COPY`, and of shells.
//!
//! In a `.dockerignore` (docs.docker.com, "`.dockerignore` files") the last line that matches a
//! path, or a directory above it, decides; `!` takes a path back in; `**` stands for any number of
//! directories.

/// A pattern of one kind, ready to be matched in time that grows with pattern times text only.
#[derive(Clone, Debug)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// This character.
    One(char),
    /// Any character but a slash.
    Any,
    /// Any characters but slashes.
    Stretch,
    /// Any characters.
    Everything,
    /// The next token may be passed over together with this one.
    Optional,
    /// Any characters and then a slash.
    Directories,
    /// One of these.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// What slashes and stars mean to a kind of pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Stars stop at slashes, double stars do not.
    Ignore,
    /// Stars stop at slashes, and there are no double stars.
    Path,
    /// Stars stop at nothing.
    Shell,
}

impl Glob {
    /// A pattern of a `.dockerignore` or of an include list.
    pub fn ignore(pattern: &str) -> Self {
        Self::compile(pattern, Kind::Ignore)
    }

    /// A pattern of the paths of a `COPY` (Go's `filepath.Match`).
    pub fn path(pattern: &str) -> Self {
        Self::compile(pattern, Kind::Path)
    }

    /// A pattern of a shell's `${NAME#PATTERN}`.
    pub fn shell(pattern: &str) -> Self {
        Self::compile(pattern, Kind::Shell)
    }

    fn compile(pattern: &str, kind: Kind) -> Self {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' if kind == Kind::Shell => tokens.push(Token::Everything),
                '*' if kind == Kind::Ignore && rest.next_if_eq(&'*').is_some() => {
                    if rest.next_if_eq(&'/').is_some() {
                        tokens.extend([Token::Optional, Token::Directories]);
                    } else {
                        tokens.push(Token::Everything);
                    }
                }
                '*' => tokens.push(Token::Stretch),
                '?' if kind == Kind::Shell => tokens.push(Token::Class {
                    negated: true,
                    ranges: Vec::new(),
                }),
                '?' => tokens.push(Token::Any),
                '\\' => tokens.push(Token::One(rest.next().unwrap_or('\\'))),
                '[' => tokens.push(class(&mut rest)),
                c => tokens.push(Token::One(c)),
            }
        }
        Self { tokens }
    }

    /// Returns whether all of a text is matched.
    pub fn matches(&self, text: &str) -> bool {
        self.reach(text).last().copied().unwrap_or(false)
    }

    /// Returns whether a path below this directory could match.
    pub fn could_match_below(&self, directory: &str) -> bool {
        let mut text = directory.to_owned();
        text.push('/');
        self.reach(&text).iter().any(|reached| *reached)
    }

    /// Returns which places of the pattern can be reached by a text: all of it is matched if the
    /// last is.
    fn reach(&self, text: &str) -> Vec<bool> {
        let mut now = vec![false; self.tokens.len() + 1];
        self.enter(&mut now, 0);
        for c in text.chars() {
            let mut next = vec![false; self.tokens.len() + 1];
            for (at, token) in self.tokens.iter().enumerate() {
                if now.get(at) != Some(&true) {
                    continue;
                }
                match token {
                    Token::One(own) if *own == c => self.enter(&mut next, at + 1),
                    Token::Any if c != '/' => self.enter(&mut next, at + 1),
                    Token::Class { negated, ranges } => {
                        let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                        if inside != *negated {
                            self.enter(&mut next, at + 1);
                        }
                    }
                    Token::Stretch if c != '/' => self.enter(&mut next, at),
                    Token::Everything => self.enter(&mut next, at),
                    Token::Directories => {
                        if let Some(stays) = next.get_mut(at) {
                            *stays = true;
                        }
                        if c == '/' {
                            self.enter(&mut next, at + 1);
                        }
                    }
                    Token::One(_) | Token::Any | Token::Stretch | Token::Optional => {}
                }
            }
            now = next;
        }
        now
    }

    /// Marks a place, and those that are reached from it for nothing.
    fn enter(&self, places: &mut [bool], at: usize) {
        let Some(place) = places.get_mut(at) else {
            return;
        };
        if std::mem::replace(place, true) {
            return;
        }
        match self.tokens.get(at) {
            Some(Token::Stretch | Token::Everything) => self.enter(places, at + 1),
            Some(Token::Optional) => {
                self.enter(places, at + 1);
                self.enter(places, at + 2);
            }
            _ => {}
        }
    }
}

/// Reads a class up to its bracket; one that is never closed matches nothing.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Token {
    let negated = rest.next_if(|c| *c == '^' || *c == '!').is_some();
    let mut ranges = Vec::new();
    let mut closed = false;
    while let Some(c) = rest.next() {
        if c == ']' && !ranges.is_empty() {
            closed = true;
            break;
        }
        let from = if c == '\\' {
            rest.next().unwrap_or(c)
        } else {
            c
        };
        let mut to = from;
        if rest.next_if_eq(&'-').is_some() {
            match rest.peek().copied() {
                Some(']') | None => ranges.push(('-', '-')),
                Some(_) => {
                    to = rest.next().unwrap_or(from);
                    if to == '\\' {
                        to = rest.next().unwrap_or(to);
                    }
                }
            }
        }
        ranges.push((from, to));
    }
    if !closed {
        ranges.clear();
    }
    Token::Class {
        negated: negated && closed,
        ranges,
    }
}

/// A list of patterns in which the last match decides.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    list: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    glob: Glob,
    /// It begins with `!`.
    negated: bool,
}

impl Patterns {
    /// Reads the text of a `.dockerignore`.
    pub fn of_ignore_file(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(str::trim);
        Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Takes patterns as they come: of a file, or of a daemon that read one.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Self {
        let mut list = Vec::new();
        for text in patterns {
            let (negated, text) = match text.strip_prefix('!') {
                Some(text) => (true, text.trim()),
                None => (false, text),
            };
            let path = clean(text);
            // The root itself cannot be left out.
            if !path.is_empty() {
                list.push(Pattern {
                    glob: Glob::ignore(&path),
                    negated,
                });
            }
        }
        Self { list }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether a path, relative and clean, is matched: itself or by a directory above it.
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.list {
            // Only a pattern that would change the answer is worth matching.
            if pattern.negated == matched && pattern.covers(path) {
                matched = !pattern.negated;
            }
        }
        matched
    }

    /// Returns whether something below a matched directory could still be taken back.
    pub fn may_except_below(&self, directory: &str) -> bool {
        let mut negated = self.list.iter().filter(|pattern| pattern.negated);
        negated.any(|pattern| pattern.glob.could_match_below(directory))
    }

    /// Returns whether something below a directory that is not matched itself could be.
    pub fn may_match_below(&self, directory: &str) -> bool {
        let mut positive = self.list.iter().filter(|pattern| !pattern.negated);
        positive.any(|pattern| pattern.glob.could_match_below(directory))
    }
}

impl Pattern {
    fn covers(&self, path: &str) -> bool {
        if self.glob.matches(path) {
            return true;
        }
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        above.into_iter().any(|parent| self.glob.matches(parent))
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
