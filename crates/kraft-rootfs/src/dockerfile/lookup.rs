//! Finding things in a tree as somebody inside it would: through its links, and by patterns.

use kraft_core::dockerfile::patterns::Glob;

pub(super) use crate::path::{Circle, join};
use crate::path::{parts, split};
use crate::shown;
use crate::tree::Tree;

/// Returns the path that a path leads to inside the tree, whether it is there or not. Nothing
/// leads above the root.
pub(super) fn resolve(tree: &Tree, path: &[u8], follow_last: bool) -> Result<Vec<u8>, Circle> {
    tree.resolve(path, follow_last)
}

/// Returns the paths that a pattern matches, in order; the pattern may hold `*`, `?` and `[…]` in
/// each of its parts. A pattern without them gives its path if it is there.
pub(super) fn matching(tree: &Tree, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Circle> {
    let mut found = vec![Vec::new()];
    let mut parts = parts(pattern);
    while let Some(part) = parts.pop() {
        let mut next = Vec::new();
        for base in found {
            if part == b".." {
                next.push(split(&base).0.to_vec());
                continue;
            }
            let inside = resolve(tree, &base, true)?;
            if part.iter().any(|byte| b"*?[".contains(byte)) {
                let glob = Glob::path(&shown(&part));
                let names = tree.children(&inside);
                let names = names.filter(|name| glob.matches(&shown(name)));
                next.extend(names.map(|name| join(&inside, name)));
            } else {
                let literal: Vec<u8> = unescaped(&part);
                let path = join(&inside, &literal);
                if tree.get(&path).is_some() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    Ok(found)
}

fn unescaped(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        };
        out.push(byte);
    }
    out
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
        put("lib", Kind::Symlink(b"usr/lib".to_vec()));
        put("up", Kind::Symlink(b"/../../usr".to_vec()));
        put("loop", Kind::Symlink(b"loop".to_vec()));
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
    fn patterns_match_part_by_part() {
        let tree = tree();
        let all = |pattern: &str| -> Vec<String> {
            let found = matching(&tree, pattern.as_bytes()).unwrap();
            found.iter().map(|path| shown(path)).collect()
        };
        assert_eq!(all("lib/*.so"), ["usr/lib/a.so", "usr/lib/b.so"]);
        assert_eq!(all("us?/[lm]ib/a.so"), ["usr/lib/a.so"]);
        assert_eq!(all("lib/c.so"), Vec::<String>::new());
        assert_eq!(all("."), [""]);
    }
}
