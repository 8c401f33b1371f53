//! What reading a KConfig tree needs of the world, and what it says when a text is wrong.

use std::io;
use std::sync::Arc;

use kraft_core::problem::{Problem, Span};

/// So many bytes of files are read into one tree.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// So many files are read into one tree.
pub(super) const MOST_FILES: usize = 20_000;
/// So deep may blocks and files stand in each other, counted together.
pub(super) const DEEPEST: usize = 80;
/// So many operands may be in the conditions of one entry.
pub(super) const MOST_OPERANDS: usize = 5_000;
/// So many operands may stand in all conditions, those of menus counted again for all in them.
pub(super) const MOST_WORK: usize = 20_000_000;
/// Every fault has a copy of its text: of a text larger than this, in bytes, only one is told.
pub(super) const LARGE: usize = 1 << 20;
/// After so many faults reading stops.
pub(super) const MOST_FAULTS: usize = 50;

/// The world of a KConfig tree: files, environment and commands, as its reader wants them to be.
pub trait Sources {
    /// Returns a variable of the environment.
    fn env(&self, name: &str) -> Option<String>;

    /// Runs a command of `$(shell,…)` and returns what it wrote to its output, as it is.
    fn shell(&self, command: &str) -> String;

    /// Returns the content of a file, whose name is what a `source` says or what
    /// [`Sources::glob`] returned.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Returns the files that a pattern with `*`, `?` and `[…]` stands for, sorted; a name without
    /// any of them stands for itself, if there is such a file.
    fn glob(&self, pattern: &str) -> Vec<String>;
}

/// A text of the tree, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The name it was read by.
    pub(crate) name: String,
    /// Its content; bytes that are no UTF-8 are replaced.
    pub(crate) text: Arc<str>,
}

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The index of the text.
    pub(crate) file: usize,
    /// Where in it.
    pub(crate) span: Span,
}

/// What is wrong in one file, with all that drawing it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the file.
    pub file: String,
    /// Its text, which the problem's spans point into.
    pub text: String,
    /// What is wrong.
    pub problem: Problem,
}

/// A KConfig tree that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Faults(
    /// What is wrong, in the order it was found; never empty.
    pub Vec<Fault>,
);

impl Faults {
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
