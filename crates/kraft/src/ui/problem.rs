//! Problems as a compiler shows them: file, line, caret, advice.

use kraft_core::problem::{self, Problem};

use crate::failure::Text;

/// Draws problems that point into a text.
pub(super) fn render(text: &Text, problems: &[Problem], colour: bool) -> String {
    problem::render(&text.name, &text.text, problems, colour)
}
