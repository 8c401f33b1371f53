//! `COPY` and `ADD`: entries of one tree into another.

use std::collections::HashMap;

use kraft_core::dockerfile::patterns::Patterns;

use super::lookup::{Circle, join, matching, resolve};
use crate::path::split;
use crate::tree::{Kind, Node, Tree};
use crate::{EntryFault, shown};

/// How entries are changed on their way.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// The owner they get; `None` keeps theirs.
    pub(super) owner: Option<(u32, u32)>,
    /// The permissions they get.
    pub(super) mode: Option<Mode>,
    /// What is left out: patterns of paths of the source.
    pub(super) exclude: Patterns,
    /// Whether the directories of a source come along.
    pub(super) parents: bool,
    /// Whether links of the destination count.
    pub(super) through_links: bool,
}

/// Permissions that are set, or changed.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    /// These.
    Octal(u32),
    /// Symbolic ones, as `chmod` takes them: `u+x,go=r`.
    Symbolic(Vec<Change>),
}

/// One clause of symbolic permissions.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The bits of those who are meant: of `0o777`.
    who: u32,
    sign: char,
    bits: u32,
    /// `X`: execution only for directories, and for what somebody may execute.
    conditional: bool,
}

impl Mode {
    /// Reads what `--chmod` says.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.chars().all(|c| c.is_digit(8)) {
            let bits = u32::from_str_radix(text, 8).ok()?;
            return (bits <= 0o7777).then_some(Self::Octal(bits));
        }
        let clauses: Option<Vec<Change>> = text.split(',').map(change).collect();
        clauses.map(Self::Symbolic)
    }

    fn apply(&self, old: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(changes) => changes.iter().fold(old, |mode, change| {
                let mut bits = change.bits;
                if change.conditional && (directory || mode & 0o111 != 0) {
                    bits |= 0o111;
                }
                let bits = bits & change.who;
                match change.sign {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !change.who) | bits,
                }
            }),
        }
    }
}

fn change(clause: &str) -> Option<Change> {
    let at = clause.find(['+', '-', '='])?;
    let (who, rest) = clause.split_at_checked(at)?;
    let sign = rest.chars().next()?;
    let mut change = Change {
        who: 0,
        sign,
        bits: 0,
        conditional: false,
    };
    for c in who.chars() {
        change.who |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if who.is_empty() {
        change.who = 0o7777;
    }
    for c in rest.chars().skip(1) {
        change.bits |= match c {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            't' => 0o1000,
            'X' => {
                change.conditional = true;
                0
            }
            _ => return None,
        };
    }
    Some(change)
}

/// Why nothing can be copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CopyFault {
    /// The source is not there.
    Missing,
    /// Links lead in a circle.
    Circle,
    /// What is there cannot give way.
    Entry(String, EntryFault),
    /// A directory would have to go where something else is.
    NotADirectory(String),
}

impl From<Circle> for CopyFault {
    fn from(_: Circle) -> Self {
        Self::Circle
    }
}

/// Returns what a pattern matches: at least one path, unless it has wildcards, which may match
/// nothing, as in `COPY package.json lock* ./`.
pub(super) fn matches(from: &Tree, pattern: &str) -> Result<Vec<Vec<u8>>, CopyFault> {
    let found = matching(from, pattern.as_bytes())?;
    if found.is_empty() && !pattern.contains(['*', '?', '[']) {
        return Err(CopyFault::Missing);
    }
    Ok(found)
}

/// Copies into a tree.
pub(super) struct Copier<'a> {
    pub(super) into: &'a mut Tree,
    pub(super) terms: &'a Terms,
    /// Numbers for files: each is given once in a build, whatever trees they come from.
    pub(super) numbers: &'a mut u64,
    /// Files with several names keep them within one copy.
    pub(super) known: &'a mut HashMap<u64, u64>,
}

impl Copier<'_> {
    /// Copies one entry, or what is in a directory. `to` is the destination as it was typed, made
    /// absolute.
    pub(super) fn one(&mut self, from: &Tree, path: &[u8], to: &str) -> Result<(), CopyFault> {
        // What is named itself is followed; links inside a directory are copied.
        let real = resolve(from, path, true)?;
        let directory = real.is_empty() || from.get(&real).is_some_and(Node::is_directory);
        if from.get(&real).is_none() && !real.is_empty() {
            return Err(CopyFault::Missing);
        }
        let mut into = self.place(to.as_bytes())?;
        if self.terms.parents {
            into = join(&into, split(path).0);
            if directory {
                into = join(&into, split(path).1);
            }
        }
        if directory {
            return self.directory(from, &real, &into);
        }
        let is_directory = to.ends_with(['/'])
            || to.ends_with("/.")
            || self.terms.parents
            || into.is_empty()
            || self.into.get(&into).is_some_and(Node::is_directory);
        if is_directory {
            into = self.place(&join(&into, split(path).1))?;
        }
        self.entry(from, &real, &into)
    }

    /// Returns where a destination is, through the links that are there.
    pub(super) fn place(&self, to: &[u8]) -> Result<Vec<u8>, CopyFault> {
        if self.terms.through_links {
            Ok(resolve(self.into, to, true)?)
        } else {
            Ok(resolve(&Tree::default(), to, true)?)
        }
    }

    /// Copies a directory with everything in it: into an existing one, or as a new one.
    fn directory(&mut self, from: &Tree, path: &[u8], into: &[u8]) -> Result<(), CopyFault> {
        if !into.is_empty() {
            self.destination(into)?;
        }
        let below: Vec<(Vec<u8>, Node)> = from
            .below(path)
            .map(|(path, node)| (path, node.clone()))
            .collect();
        for (full, node) in below {
            if self.terms.exclude.matches(&shown(&full))
                && !(node.is_directory() && self.terms.exclude.may_except_below(&shown(&full)))
            {
                continue;
            }
            let skip = if path.is_empty() { 0 } else { path.len() + 1 };
            let to = join(into, full.get(skip..).unwrap_or_default());
            // A directory that is there already becomes like the one that is copied over it.
            let there = self.into.get(&to).map(Node::is_directory);
            if node.is_directory() && there == Some(false) {
                return Err(CopyFault::NotADirectory(shown(&to)));
            }
            self.node(&node, &to)?;
        }
        Ok(())
    }

    /// Makes the directory that things are copied into, unless there is one: it is not like the one
    /// they come from.
    fn destination(&mut self, into: &[u8]) -> Result<(), CopyFault> {
        match self.into.get(into).map(Node::is_directory) {
            Some(true) => Ok(()),
            Some(false) => Err(CopyFault::NotADirectory(shown(into))),
            None => {
                let (uid, gid) = self.terms.owner.unwrap_or((0, 0));
                let made = Node {
                    uid,
                    gid,
                    ..Node::implied_directory()
                };
                self.put(made, into)
            }
        }
    }

    fn entry(&mut self, from: &Tree, path: &[u8], into: &[u8]) -> Result<(), CopyFault> {
        match from.get(path) {
            Some(node) => self.node(&node.clone(), into),
            None => Err(CopyFault::Missing),
        }
    }

    /// Puts an entry at a place, changed as the terms say.
    pub(super) fn node(&mut self, node: &Node, into: &[u8]) -> Result<(), CopyFault> {
        let mut node = node.clone();
        if let Some((uid, gid)) = self.terms.owner {
            (node.uid, node.gid) = (uid, gid);
        }
        if let (Some(mode), false) = (&self.terms.mode, matches!(node.kind, Kind::Symlink(_))) {
            node.permissions = mode.apply(node.permissions, node.is_directory());
        }
        if let Kind::File(content) = &mut node.kind {
            let numbers = &mut *self.numbers;
            content.identity = *self.known.entry(content.identity).or_insert_with(|| {
                *numbers += 1;
                *numbers
            });
        }
        self.put(node, into)
    }

    /// Puts an entry at a place, with the directories on the way there.
    fn put(&mut self, node: Node, into: &[u8]) -> Result<(), CopyFault> {
        let owner = self.terms.owner.unwrap_or((0, 0));
        let missing: Vec<Vec<u8>> = self.into.missing_above(into).map(<[u8]>::to_vec).collect();
        for parent in missing {
            let made = Node {
                uid: owner.0,
                gid: owner.1,
                ..Node::implied_directory()
            };
            let put = self.into.insert(&parent, made);
            put.map_err(|fault| CopyFault::Entry(shown(&parent), fault))?;
        }
        self.into
            .insert(into, node)
            .map_err(|fault| CopyFault::Entry(shown(into), fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_as_chmod_does() {
        for (text, old, new) in [
            ("755", 0o644, 0o755),
            ("u+x", 0o644, 0o744),
            ("go=", 0o644, 0o600),
            ("a-w,u+w", 0o666, 0o644),
            ("+X", 0o644, 0o644),
            ("+X", 0o744, 0o755),
        ] {
            assert_eq!(Mode::read(text).unwrap().apply(old, false), new, "{text}");
        }
        assert_eq!(Mode::read("+X").unwrap().apply(0o644, true), 0o755);
        assert!(Mode::read("rwx").is_none());
        assert!(Mode::read("99999").is_none());
    }
}
