//! `COPY` and `ADD`: copies entries of one tree into another.

use std::collections::HashMap;

use kraft_core::dockerfile::patterns::{Matched, PatternError, Patterns, clean, has_wildcards};

use super::lookup::{Circle, LookupError, is_below, join, matching, resolve};
use super::mode::Mode;
use crate::path::{parents, split};
use crate::tree::{Kind, Node, Tree};
use crate::{EntryError, shown};

/// Changes of entries that are copied.
#[derive(Clone, Debug, Default)]
pub(super) struct CopyOptions {
    /// The owner they get; `None` keeps theirs.
    pub(super) owner: Option<(u32, u32)>,
    /// Whether the owner was requested: unpacked entries get it then, too.
    pub(super) gives_owner: bool,
    /// The permissions they get.
    pub(super) mode: Option<Mode>,
    /// Patterns of entries that are left out, relative to each source directory.
    pub(super) exclude: Patterns,
    /// Whether links of the destination are followed.
    pub(super) through_links: bool,
}

/// Error of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CopyError {
    /// The source does not exist.
    Missing,
    /// Links form a loop.
    Circle,
    /// An existing entry cannot be replaced.
    Entry(String, EntryError),
    /// The destination of a directory is not a directory.
    NotADirectory(String),
    /// The destination of a file is a directory.
    IsADirectory(String),
    /// A pattern is not valid.
    Pattern(PatternError),
}

impl From<Circle> for CopyError {
    fn from(_: Circle) -> Self {
        Self::Circle
    }
}

impl From<LookupError> for CopyError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Missing => Self::Missing,
            LookupError::Circle => Self::Circle,
        }
    }
}

/// The entries that a source of a `COPY` names.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Files, and directories whose contents are copied.
    pub(super) paths: Vec<Vec<u8>>,
    /// Patterns of the entries of a directory that are copied, if not all.
    pub(super) include: Option<Patterns>,
}

/// Returns the entries that a source names: at least one path, unless it has wildcards, which may
/// match nothing, as in `COPY package.json lock* ./`. With `parents`, the directories from the root or
/// from a `/./` are copied too, and no link is followed after that.
pub(super) fn chosen(
    from: &Tree,
    source: &str,
    parents: bool,
    exclude: &Patterns,
) -> Result<Chosen, CopyError> {
    if !parents {
        return Ok(Chosen {
            paths: matching(from, source)?,
            include: None,
        });
    }
    let (root, pattern) = source.split_once("/./").unwrap_or(("", source));
    let pattern = clean(pattern);
    let paths = matching(from, root)?;
    if !has_wildcards(root) && !has_wildcards(&pattern) {
        let root = resolve(from, root.as_bytes(), true)?;
        let path = join(&root, pattern.as_bytes());
        let skip = if root.is_empty() { 0 } else { root.len() + 1 };
        let is_copied =
            |path: &[u8]| !exclude.matches(&shown(path.get(skip..).unwrap_or_default()));
        let is_there = pattern.is_empty()
            || from.get(&path).is_some_and(|_| is_copied(&path))
            || from.below(&path).any(|(below, _)| is_copied(&below));
        if !is_there {
            return Err(CopyError::Missing);
        }
    }
    Ok(Chosen {
        paths,
        // Only an empty pattern has none: the root itself, without its entries.
        include: Some(Patterns::new([pattern.as_str()]).map_err(CopyError::Pattern)?),
    })
}

/// Copies into a tree, by the rules of `tonistiigi/fsutil/copy`.
pub(super) struct Copier<'a> {
    pub(super) into: &'a mut Tree,
    pub(super) terms: &'a CopyOptions,
    /// Identities of files: each is used once in a build, for all trees.
    pub(super) numbers: &'a mut u64,
    /// Files with several names keep them within one `COPY`.
    pub(super) known: HashMap<u64, u64>,
}

/// A directory above the entry that is copied, and its destination.
struct Above {
    path: Vec<u8>,
    to: Vec<u8>,
    node: Node,
    include: Matched,
    exclude: Matched,
    /// Whether it exists; one that no pattern matches is created for its entries.
    is_made: bool,
}

impl Copier<'_> {
    /// Copies a file, or the entries of a directory. `to` is the destination of the instruction, made
    /// absolute. Returns whether a file got the name of the destination.
    pub(super) fn one(
        &mut self,
        from: &Tree,
        path: &[u8],
        to: &str,
        include: Option<&Patterns>,
    ) -> Result<bool, CopyError> {
        // A named link is followed; links inside a directory are copied.
        let real = resolve(from, path, true)?;
        let node = from.get(&real);
        if node.is_none() && !real.is_empty() {
            return Err(CopyError::Missing);
        }
        let file = node.filter(|node| !node.is_directory());
        let above = if to.ends_with('/') {
            to
        } else {
            to.rsplit_once('/').map_or("", |(above, _)| above)
        };
        self.directories(&self.place(above.as_bytes())?)?;
        let mut into = self.place(to.as_bytes())?;
        let Some(file) = file else {
            if self.into.get(&into).is_none() {
                self.directories(&into)?;
            }
            self.directory(from, &real, &into, include)?;
            return Ok(false);
        };
        let is_inside = into.is_empty() || self.into.get(&into).is_some_and(Node::is_directory);
        if is_inside {
            into = join(&into, split(path).1);
        }
        self.directories(split(&into).0)?;
        self.file(file, &into)?;
        Ok(!is_inside)
    }

    /// Resolves the links of a destination.
    pub(super) fn place(&self, to: &[u8]) -> Result<Vec<u8>, CopyError> {
        if self.terms.through_links {
            Ok(resolve(self.into, to, true)?)
        } else {
            Ok(resolve(&Tree::default(), to, true)?)
        }
    }

    /// Creates a directory and its parents, unless they exist: they do not have the metadata of the
    /// source, but the requested mode.
    fn directories(&mut self, path: &[u8]) -> Result<(), CopyError> {
        let permissions = match self.terms.mode {
            Some(Mode::Octal(bits)) => bits & 0o777,
            Some(Mode::Symbolic(_)) | None => Node::implied_directory().permissions,
        };
        let (uid, gid) = self.terms.owner.unwrap_or((0, 0));
        for path in parents(path).chain([path]) {
            match self.into.get(path).map(Node::is_directory) {
                Some(true) => {}
                Some(false) => return Err(CopyError::NotADirectory(shown(path))),
                None if path.is_empty() => {}
                None => {
                    let made = Node {
                        permissions,
                        uid,
                        gid,
                        ..Node::implied_directory()
                    };
                    self.put(made, path)?;
                }
            }
        }
        Ok(())
    }

    /// Copies the matching entries of a directory.
    fn directory(
        &mut self,
        from: &Tree,
        root: &[u8],
        into: &[u8],
        include: Option<&Patterns>,
    ) -> Result<(), CopyError> {
        if self.into.get(into).is_some_and(|node| !node.is_directory()) {
            return Err(CopyError::NotADirectory(shown(into)));
        }
        let exclude = &self.terms.exclude;
        let skip = if root.is_empty() { 0 } else { root.len() + 1 };
        let mut above: Vec<Above> = Vec::new();
        let mut passed: Option<Vec<u8>> = None;
        for (full, node) in from.below(root) {
            let path = full.get(skip..).unwrap_or_default();
            if passed.as_ref().is_some_and(|passed| is_below(path, passed)) {
                continue;
            }
            while above.last().is_some_and(|last| !is_below(path, &last.path)) {
                above.pop();
            }
            let name = shown(path);
            let included = include
                .map(|include| include.matched(&name, above.last().map(|above| &above.include)))
                .unwrap_or_default();
            let excluded = exclude.matched(&name, above.last().map(|above| &above.exclude));
            let is_included = include.is_none() || included.is_matched;
            let is_wanted = is_included && !excluded.is_matched;
            let to = join(into, path);
            if is_wanted {
                self.made(&mut above)?;
                if node.is_directory() {
                    self.like(node, &to)?;
                } else {
                    self.file(node, &to)?;
                }
            }
            if !node.is_directory() {
                continue;
            }
            let enters = (is_included || include.is_some_and(|it| it.may_match_below(&name)))
                && (!excluded.is_matched || exclude.may_except_below(&name));
            if enters {
                above.push(Above {
                    path: path.to_vec(),
                    to,
                    node: node.clone(),
                    include: included,
                    exclude: excluded,
                    is_made: is_wanted,
                });
            } else {
                passed = Some(path.to_vec());
            }
        }
        Ok(())
    }

    /// Creates the directories that were only entered. An existing one keeps its owner, but not its
    /// permissions.
    fn made(&mut self, above: &mut [Above]) -> Result<(), CopyError> {
        for above in above.iter_mut().filter(|above| !above.is_made) {
            match self.into.get(&above.to) {
                None => self.node(&above.node, &above.to)?,
                Some(there) if there.is_directory() => {
                    let like = Node {
                        permissions: above.node.permissions,
                        ..there.clone()
                    };
                    self.put(like, &above.to)?;
                }
                Some(_) => return Err(CopyError::NotADirectory(shown(&above.to))),
            }
            above.is_made = true;
        }
        Ok(())
    }

    /// Copies a directory without its entries; an existing one gets its metadata.
    fn like(&mut self, node: &Node, to: &[u8]) -> Result<(), CopyError> {
        if self.into.get(to).is_some_and(|there| !there.is_directory()) {
            return Err(CopyError::NotADirectory(shown(to)));
        }
        self.node(node, to)
    }

    /// Copies an entry that is not a directory.
    fn file(&mut self, node: &Node, to: &[u8]) -> Result<(), CopyError> {
        if self.into.get(to).is_some_and(Node::is_directory) {
            return Err(CopyError::IsADirectory(shown(to)));
        }
        self.node(node, to)
    }

    /// Inserts an entry with the requested changes.
    fn node(&mut self, node: &Node, into: &[u8]) -> Result<(), CopyError> {
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

    fn put(&mut self, node: Node, into: &[u8]) -> Result<(), CopyError> {
        self.into
            .insert(into, node)
            .map_err(|fault| CopyError::Entry(shown(into), fault))
    }
}
