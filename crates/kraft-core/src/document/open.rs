//! Parses a text to a mapping, the first step for every document format.

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::problems::Problems;
use super::yaml;
use crate::problem::{Problem, Span};

/// Maximum size of a document, in bytes; the largest known Kraftfile has 10 KiB.
pub const LARGEST: usize = 4 << 20;

/// A document format, as named in messages.
pub(crate) struct Kind {
    /// Its name: `a Kraftfile`.
    pub(crate) name: &'static str,
    /// A hint for an empty document.
    pub(crate) begin: &'static str,
    /// The tags of YAML that mean something in it.
    pub(crate) tags: &'static [&'static str],
}

/// A document that was parsed.
pub(crate) struct Opened {
    /// Its outermost mapping.
    pub(crate) root: Node,
    /// Whether the tree is incomplete because of errors.
    pub(crate) partial: bool,
    /// The tags of its kind, by the position at which their value begins.
    pub(crate) tags: BTreeMap<usize, &'static str>,
}

/// Parses a document.
pub(crate) fn open(text: &str, kind: &Kind, problems: &mut Problems) -> Option<Opened> {
    let name = kind.name;
    if text.len() > LARGEST {
        let message = format!(
            "the file has {} bytes: the limit of {name} is {LARGEST}",
            text.len()
        );
        problems.push(Problem::error(message));
        return None;
    }
    let tree = yaml::read(text, kind.tags);
    problems.append(tree.problems);
    let Some(root) = tree.root.filter(|root| tree.partial || !root.is_null()) else {
        if !problems.fatal() {
            let problem = Problem::error("the file is empty").at(Span::default());
            problems.push(problem.help(kind.begin));
        }
        return None;
    };
    if !matches!(root.value, Value::Map(_)) {
        if !tree.partial {
            let found = root.describe();
            let problem = Problem::error(format!("{name} must be a mapping, found {found}"));
            problems.push(problem.at(root.span).label("expected `key: value`"));
        }
        return None;
    }
    Some(Opened {
        root,
        partial: tree.partial,
        tags: tree.tags,
    })
}
