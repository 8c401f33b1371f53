//! What of a context the instructions of a Dockerfile take.

use super::lookup::{matching, resolve};
use crate::tree::Tree;

/// A part of a tree.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) tree: Tree,
    /// What led there: the paths that were named or matched, and where they lead.
    pub(crate) ways: Vec<Vec<u8>>,
}

/// Returns what paths and patterns of paths take of a tree.
pub(crate) fn of(tree: &Tree, taken: &[String]) -> Part {
    let mut part = Part::default();
    let mut put = |path: &[u8]| {
        // What stands below a link is there under its own path.
        if let Some(node) = tree.get(path) {
            drop(part.tree.insert(path, node.clone()));
        }
    };
    for pattern in taken {
        part.ways.push(pattern.clone().into_bytes());
        // Links that lead in a circle take nothing.
        for path in matching(tree, pattern).unwrap_or_default() {
            let Ok(real) = resolve(tree, &path, true) else {
                continue;
            };
            put(&real);
            for (below, _) in tree.below(&real) {
                put(&below);
            }
            part.ways.extend([path, real]);
        }
    }
    part
}
