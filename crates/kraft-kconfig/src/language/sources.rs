//! Inputs of the KConfig parser, its limits, and its errors.

use std::io;
use std::sync::Arc;

use kraft_core::problem::{Problem, Span};

/// Maximum total size of the files of a tree, in bytes.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Maximum number of files of a tree.
pub(super) const MOST_FILES: usize = 20_000;
/// Maximum nesting of blocks and files, counted together.
pub(super) const DEEPEST: usize = 80;
/// Maximum number of operands in the conditions of one entry.
pub(super) const MOST_OPERANDS: usize = 5_000;
/// Maximum number of operands in all conditions; those of menus count again for every entry in
/// them.
pub(super) const MOST_WORK: usize = 20_000_000;
/// Every error contains a copy of its text: for texts larger than this, in bytes, only one is
/// reported.
pub(super) const LARGE: usize = 1 << 20;
/// Maximum number of errors before parsing stops.
pub(super) const MOST_ERRORS: usize = 50;

/// Access to the files, environment and commands of a KConfig tree.
pub trait Sources {
    /// Returns an environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// Runs a command of `$(shell,…)` and returns its unmodified stdout.
    fn shell(&self, command: &str) -> String;

    /// Returns the content of a file; `path` is the argument of a `source` statement or a result of
    /// [`Sources::glob`].
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Returns the files that match a pattern with `*`, `?` and `[…]`, sorted; for a name without
    /// wildcards the name itself, if the file exists.
    fn glob(&self, pattern: &str) -> Vec<String>;
}

/// The text of a parsed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The name of the file.
    pub(crate) name: String,
    /// Its content; invalid UTF-8 is replaced.
    pub(crate) text: Arc<str>,
}

/// A position in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The index of the text.
    pub(crate) file: usize,
    /// Position in the text.
    pub(crate) span: Span,
}

/// An error or a warning in one file, with everything needed to render it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The name of the file.
    pub file: String,
    /// Its text, which the spans refer to.
    pub text: String,
    /// The error or warning.
    pub problem: Problem,
}

/// The errors of a KConfig tree that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct KconfigErrors(
    /// The errors, in the order found; never empty.
    pub Vec<Diagnostic>,
);

impl KconfigErrors {
    fn sentence(&self) -> String {
        let Some(first) = self.0.first() else {
            return "cannot read the KConfig files".to_owned();
        };
        let at = first
            .problem
            .span
            .map_or(1, |span| line_of(&first.text, span.start));
        let more = match self.0.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        format!("{}:{at}: {}{more}", first.file, first.problem.message)
    }
}

/// Returns the line of a byte, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    let breaks = text.bytes().take(at).filter(|b| *b == b'\n');
    breaks.count() + 1
}
