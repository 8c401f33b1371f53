//! Diagnostics as values: errors and warnings with positions and hints.
//!
//! ```
//! use kraft_core::problem::{Problem, Span, render};
//!
//! let text = "memory: 64Mb\n";
//! let problem = Problem::error("`64Mb` is not a valid amount of memory")
//!     .at(Span { start: 8, end: 12 })
//!     .help("write 64Mi");
//! let shown = render("Kraftfile", text, &[problem], false);
//! assert!(shown.contains("Kraftfile:1:9"));
//! assert!(shown.contains("^^^^"));
//! assert!(shown.contains("write 64Mi"));
//! ```

mod render;

use serde::{Deserialize, Serialize};

pub use render::render;

/// A range of a text, in bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A text that problems refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its name in messages, usually a path.
    pub name: String,
    /// The text itself.
    pub text: String,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Likely a mistake, but not fatal.
    Warning,
    /// Fatal.
    Error,
}

/// An error or a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its severity.
    pub severity: Severity,
    /// The message: a lower-case fragment without a full stop.
    pub message: String,
    /// Its position, if it refers to a text.
    pub span: Option<Span>,
    /// The expected value: the text beside the caret.
    pub label: Option<String>,
    /// Related positions in the same text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Place>,
    /// Hints for the user: sentences shown after `help:`.
    pub help: Vec<String>,
    /// A change of the text that removes the problem, for editors.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The range that is replaced.
    pub span: Span,
    /// The new text.
    pub text: String,
}

/// A related position in the same text, with a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its position.
    pub span: Span,
    /// Its label: the text beside the underline.
    pub label: String,
}

impl Problem {
    /// Returns an error without a position.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            related: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// Returns a warning without a position.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Sets the position.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a related position in the same text.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Place {
            span,
            label: label.into(),
        });
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Sets the change that removes the problem: this text in the place of the range.
    #[must_use]
    pub fn fix(mut self, span: Span, text: impl Into<String>) -> Self {
        self.fix = Some(Fix {
            span,
            text: text.into(),
        });
        self
    }
}
