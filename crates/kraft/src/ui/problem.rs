//! Problems as a compiler shows them: file, line, caret, advice.

use kraft_core::problem::{Problem, Severity};
use std::fmt::Write as _;

use crate::config::edit::line_and_column;
use crate::failure::Text;

/// Draws problems that point into a text.
pub(super) fn render(text: &Text, problems: &[Problem], _colour: bool) -> String {
    let mut out = String::new();
    for problem in problems {
        let level = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let _ = writeln!(out, "{level}: {}", problem.message);
        if let Some(span) = problem.span {
            let (line, column) = line_and_column(&text.text, span);
            let _ = writeln!(out, " --> {}:{line}:{column}", text.name);
        }
        for help in &problem.help {
            let _ = writeln!(out, "help: {help}");
        }
    }
    out
}
