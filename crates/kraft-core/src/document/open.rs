//! From a text to a tree that is a mapping: what every kind of document begins with.

use super::faults::Faults;
use super::node::{Node, Value};
use super::yaml;
use crate::problem::{Problem, Span};

/// A text larger than this is not read, in bytes; the largest real Kraftfile has 10 KiB.
pub const LARGEST: usize = 4 << 20;

/// A kind of document, as problems speak of it.
pub(crate) struct Kind {
    /// Such as `a Kraftfile`.
    pub(crate) name: &'static str,
    /// What an empty one is told.
    pub(crate) begin: &'static str,
}

/// Reads a document; besides its root, tells whether it is only what could be read of it.
pub(crate) fn open(text: &str, kind: &Kind, faults: &mut Faults) -> Option<(Node, bool)> {
    let name = kind.name;
    if text.len() > LARGEST {
        let message = format!(
            "the file has {} bytes; {name} may have {LARGEST}",
            text.len()
        );
        faults.push(Problem::error(message));
        return None;
    }
    let tree = yaml::read(text);
    faults.append(tree.problems);
    let Some(root) = tree.root.filter(|root| tree.partial || !root.is_null()) else {
        if !faults.fatal() {
            let problem = Problem::error("the file is empty").at(Span::default());
            faults.push(problem.help(kind.begin));
        }
        return None;
    };
    if !matches!(root.value, Value::Map(_)) {
        if !tree.partial {
            let found = root.describe();
            let problem = Problem::error(format!("{name} must be a mapping, found {found}"));
            faults.push(problem.at(root.span).label("expected `key: value`"));
        }
        return None;
    }
    Some((root, tree.partial))
}
