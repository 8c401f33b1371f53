//! Values of the engine as values of the Language Server Protocol.

use std::ops::RangeInclusive;

use kraft_core::problem::{Fix, Problem, Severity};
use kraft_engine::editor::{Completion, Completions, Hover, Kind};
use serde_json::{Value, json};

use super::position::Lines;

/// Returns the diagnostics of a document.
pub(super) fn diagnostics(lines: &Lines<'_>, uri: &str, problems: &[Problem]) -> Value {
    let all = problems.iter();
    all.map(|problem| diagnostic(lines, uri, problem)).collect()
}

fn diagnostic(lines: &Lines<'_>, uri: &str, problem: &Problem) -> Value {
    let label = problem.label.as_ref().map(|label| format!(": {label}"));
    let help = problem.help.iter().map(|help| format!("\nhelp: {help}"));
    let message: String = std::iter::once(problem.message.clone())
        .chain(label)
        .chain(help)
        .collect();
    let related: Vec<Value> = problem
        .related
        .iter()
        .map(|place| {
            let location = json!({ "uri": uri, "range": lines.range(place.span) });
            json!({ "location": location, "message": place.label })
        })
        .collect();
    json!({
        "range": lines.range(problem.span.unwrap_or_default()),
        "severity": match problem.severity {
            Severity::Error => 1,
            Severity::Warning => 2,
        },
        "source": "kraft",
        "message": message,
        "relatedInformation": related,
    })
}

/// Returns the diagnostic of a document that is not read.
pub(super) fn unchecked(why: &str) -> Value {
    let start = json!({ "line": 0, "character": 0 });
    json!({
        "range": { "start": start, "end": start },
        "severity": 2,
        "source": "kraft",
        "message": why,
    })
}

/// Returns the quick fixes of the problems in a range of bytes.
pub(super) fn fixes(
    lines: &Lines<'_>,
    uri: &str,
    problems: &[Problem],
    bytes: RangeInclusive<usize>,
) -> Value {
    let in_range = |problem: &&Problem| {
        let span = problem.span.unwrap_or_default();
        span.start <= *bytes.end() && *bytes.start() <= span.end
    };
    let fixes = problems.iter().filter(in_range).filter_map(|problem| {
        let Fix { span, text } = problem.fix.as_ref()?;
        let verb = if span.start == span.end {
            "Insert"
        } else {
            "Replace by"
        };
        let edit = json!({ "range": lines.range(*span), "newText": text });
        Some(json!({
            "title": format!("{verb} `{}`", text.trim_end()),
            "kind": "quickfix",
            "diagnostics": [diagnostic(lines, uri, problem)],
            "isPreferred": true,
            "edit": { "changes": { uri: [edit] } },
        }))
    });
    fixes.collect()
}

/// Returns the documentation of a place.
pub(super) fn hover(lines: &Lines<'_>, found: &Hover) -> Value {
    json!({
        "contents": { "kind": "markdown", "value": found.markdown },
        "range": lines.range(found.span),
    })
}

/// Returns what can be inserted at a place.
pub(super) fn completions(lines: &Lines<'_>, found: &Completions) -> Value {
    // The protocol has no edits of several lines here.
    if !lines.is_in_one_line(found.span) {
        return Value::Null;
    }
    let range = lines.range(found.span);
    let items: Vec<Value> = found
        .items
        .iter()
        .enumerate()
        .map(|(at, item)| completion(at, item, &range))
        .collect();
    json!({ "isIncomplete": found.is_incomplete, "items": items })
}

fn completion(at: usize, item: &Completion, range: &Value) -> Value {
    let label = item.text.trim_start_matches("- ");
    let label = label.trim_end_matches([':', ' ', '=']).to_owned();
    json!({
        "label": label,
        "kind": match item.kind {
            Kind::Key => 10,
            Kind::Value => 12,
            Kind::Option => 21,
            Kind::Component => 9,
        },
        // Clients sort by this text, and not by the label.
        "sortText": format!("{at:04}"),
        "textEdit": { "range": range, "newText": item.text },
        "detail": item.detail,
        "documentation": item.doc,
    })
}
