//! Looks up paths of a tree from inside its root: through its links, and by patterns.

use kraft_core::dockerfile::patterns::{Glob, clean, has_wildcards};

pub(super) use crate::path::{Circle, join};
use crate::shown;
use crate::tree::Tree;

/// Resolves the links of a path inside the tree; the result need not exist. `..` stops at the root.
pub(super) fn resolve(tree: &Tree, path: &[u8], follow_last: bool) -> Result<Vec<u8>, Circle> {
    tree.resolve(path, follow_last)
}

/// Returns the paths that a pattern matches, in order. Links are followed up to the first part with
/// wildcards and not below it; entries below a match are not searched (BuildKit, `ResolveWildcards`).
/// A pattern without wildcards returns its path if it exists.
pub(super) fn matching(tree: &Tree, pattern: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    let pattern = clean(pattern);
    let parts: Vec<&str> = pattern.split('/').collect();
    let plain = parts.iter().take_while(|part| !has_wildcards(part)).count();
    let (plain, wild) = parts.split_at_checked(plain).unwrap_or_default();
    let (plain, wild) = (plain.join("/"), wild.join("/"));
    let base = resolve(tree, plain.as_bytes(), true)?;
    let is_there = base.is_empty() || tree.get(&base).is_some();
    if !is_there {
        return Err(LookupError::Missing);
    }
    if wild.is_empty() {
        return Ok(vec![plain.into_bytes()]);
    }
    let glob = Glob::path(&wild);
    let skip = if base.is_empty() { 0 } else { base.len() + 1 };
    let mut found: Vec<Vec<u8>> = Vec::new();
    for (full, _) in tree.below(&base) {
        if found.last().is_some_and(|last| is_below(&full, last)) {
            continue;
        }
        if glob.matches(&shown(full.get(skip..).unwrap_or_default())) {
            found.push(full);
        }
    }
    Ok(found)
}

/// Error of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    /// The path, or the one before the first wildcard, does not exist.
    Missing,
    /// Links form a loop.
    Circle,
}

impl From<Circle> for LookupError {
    fn from(_: Circle) -> Self {
        Self::Circle
    }
}

/// Returns whether a path is below a directory.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| directory.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Kind, Node};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let mut put = |path: &str, kind: Kind| {
            let node = Node {
                kind,
                ..Node::implied_directory()
            };
            tree.insert(path.as_bytes(), node).unwrap();
        };
        put("usr/lib/a.so", Kind::Fifo);
        put("usr/lib/b.so", Kind::Fifo);
        put("lib", Kind::Symlink(b"usr/lib"[..].into()));
        put("up", Kind::Symlink(b"/../../usr"[..].into()));
        put("loop", Kind::Symlink(b"loop"[..].into()));
        tree
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let tree = tree();
        let at = |path: &str, last| resolve(&tree, path.as_bytes(), last).map(|it| shown(&it));
        assert_eq!(at("lib/a.so", false).unwrap(), "usr/lib/a.so");
        assert_eq!(at("lib", false).unwrap(), "lib");
        assert_eq!(at("up/lib/../../../x", true).unwrap(), "x");
        assert_eq!(at("loop", true), Err(Circle));
        assert_eq!(at("/new/deep", true).unwrap(), "new/deep");
    }

    #[test]
    fn patterns_match_what_is_there() {
        let tree = tree();
        let all = |pattern: &str| -> Vec<String> {
            let found = matching(&tree, pattern).unwrap();
            found.iter().map(|path| shown(path)).collect()
        };
        assert_eq!(all("lib/*.so"), ["usr/lib/a.so", "usr/lib/b.so"]);
        assert_eq!(all("us?/[lm]ib/a.so"), ["usr/lib/a.so"]);
        assert_eq!(all("us*"), ["usr"]);
        assert_eq!(all("lib/c*"), Vec::<String>::new());
        // Links are not followed after a wildcard.
        assert_eq!(all("li?/a.so"), Vec::<String>::new());
        assert_eq!(all("."), [""]);
        for missing in ["lib/c.so", "no/*"] {
            assert_eq!(matching(&tree, missing), Err(LookupError::Missing));
        }
    }
}
