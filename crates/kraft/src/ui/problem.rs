//! Diagnostics as a compiler shows them: file, line, caret, help.

use kraft_core::problem::{self, Problem};

use kraft_core::problem::Text;

/// Renders problems with spans in a text.
pub(super) fn render(text: &Text, problems: &[Problem], colour: bool) -> String {
    problem::render(&text.name, &text.text, problems, colour)
}
