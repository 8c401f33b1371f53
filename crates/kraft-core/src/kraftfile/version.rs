//! Determines the version of a file's format.

use crate::problem::{Problem, Span};

use super::model::Spec;
use super::shape::PROJECT;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// Returns the version; a file without one is read as v0.6, an unsupported newer one as the newest.
pub(super) fn version(root: &Node, partial: bool, problems: &mut Problems) -> Spec {
    let Some(text) = PROJECT.get(root, "spec").and_then(Node::text) else {
        let said = root.entries().iter().any(|e| {
            PROJECT
                .field(&e.key.value)
                .is_some_and(|f| f.name == "spec")
        });
        if !partial && !said {
            let problem =
                Problem::warning("the file does not specify its format and is read as v0.6")
                    .at(root.span)
                    .help("begin it with `spec: v0.6`");
            // Before the first key, unless it is in brackets.
            let begin = Span {
                start: root.span.start,
                end: root.span.start,
            };
            let first = root.entries().first().map(|entry| entry.key.span.start);
            problems.push(if first == Some(begin.start) {
                problem.fix(begin, "spec: v0.6\n")
            } else {
                problem
            });
        }
        return Spec::V06;
    };
    // KraftKit compat: unquoted numbers are accepted too, by their text.
    let Some((major, minor, patch)) = numbers(&text) else {
        let written: String = text.chars().take(40).collect();
        let problem = Problem::error(format!("`{written}` is not a valid format version"))
            .at(text.span)
            .label("expected v0.5, v0.6 or v0.7");
        problems.push(problem);
        return Spec::V06;
    };
    match (major, minor, patch) {
        (0, ..=4, _) => Spec::V04,
        (0, 5, _) => Spec::V05,
        (0, 6, _) => Spec::V06,
        (0, 7, 0) => Spec::V07,
        _ => {
            let newest = Spec::NEWEST.name();
            let problem = Problem::warning(format!(
                "the format {} is newer than this kraft supports",
                *text
            ))
            .at(text.span)
            .label(format!("read as {newest}"))
            .help("upgrade kraft to use features of the newer format");
            problems.push(problem);
            Spec::NEWEST
        }
    }
}

/// Parses `[v]MAJOR.MINOR[.PATCH]`, ignoring a pre-release or build suffix.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let core = text.split_once(['-', '+']).map_or(text, |(core, _)| core);
    let mut parts = core.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten()
    });
    let major = parts.next()??;
    let minor = parts.next().unwrap_or(Some(0))?;
    let patch = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_parsed_leniently() {
        assert_eq!(numbers("v0.6"), Some((0, 6, 0)));
        assert_eq!(numbers("0.10"), Some((0, 10, 0)));
        assert_eq!(numbers("v0.7.0"), Some((0, 7, 0)));
        assert_eq!(numbers("1"), Some((1, 0, 0)));
        assert_eq!(numbers("0.7.0-rc1"), Some((0, 7, 0)));
        for text in ["", "v", "0.", ".6", "0.6.0.0", "0.x", "-1", "vv0.6", "0.+6"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }
}
