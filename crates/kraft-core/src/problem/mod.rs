//! Problems: what is wrong, where, and what to do about it; as values, rendered elsewhere.

mod render;

use serde::{Deserialize, Serialize};

pub use render::render;

/// A stretch of a text, in bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A text that problems point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its name in messages: a path.
    pub name: String,
    /// The text itself.
    pub text: String,
}

/// How much a problem weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It still works, but not as its author may think.
    Warning,
    /// It cannot work.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How much it weighs.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment without a full stop.
    pub message: String,
    /// Where in the text, if it is about a text.
    pub span: Option<Span>,
    /// What is expected at that place: the words beside the caret.
    pub label: Option<String>,
    /// Other places of the same text that belong to the story.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Place>,
    /// What the user can do: sentences shown after `help:`.
    pub help: Vec<String>,
}

/// A second place of the same text, and its part in the problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it is.
    pub span: Span,
    /// What it has to do with the problem: the words beside the underline.
    pub label: String,
}

impl Problem {
    /// Makes an error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Makes a warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Says what belongs there.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Points at another place of the same text.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Place {
            span,
            label: label.into(),
        });
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}
