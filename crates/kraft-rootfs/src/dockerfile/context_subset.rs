//! The part of a build context that the instructions of a Dockerfile take.

use super::lookup::{matching, resolve};
use crate::tree::Tree;

/// A part of a tree.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) tree: Tree,
    /// The patterns, the paths they match, and where those lead through links.
    pub(crate) ways: Vec<Vec<u8>>,
}

/// Returns the part of a tree that paths and patterns take.
pub(crate) fn of(tree: &Tree, taken: &[String]) -> Part {
    let mut part = Part::default();
    let mut put = |path: &[u8]| {
        if let Some(node) = tree.get(path) {
            drop(part.tree.insert(path, node.clone()));
        }
    };
    for pattern in taken {
        part.ways.push(pattern.clone().into_bytes());
        // A loop of links takes nothing.
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
