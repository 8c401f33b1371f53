//! What the rooms tell while they work: one stream of events, drawn elsewhere.

use std::time::Duration;

use crate::problem::{Problem, Text};

/// Something that happened while work was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A piece of work began; more events with the same `task` follow.
    Started {
        /// Names the piece of work within this run of the program.
        task: u64,
        /// What is done: `building the root filesystem`.
        what: String,
        /// How many units it has, if that is known.
        total: Option<u64>,
    },
    /// It is known now how many units it has.
    Sized {
        /// The piece of work.
        task: u64,
        /// Units in all.
        total: u64,
    },
    /// What of it is being done at this moment.
    Doing {
        /// The piece of work.
        task: u64,
        /// In a few words: `CC libx: file.o`.
        what: String,
    },
    /// One of its steps began, or was there already: worth a line of its own where nothing moves.
    Step {
        /// The piece of work.
        task: u64,
        /// What it does: `[build 2/3] RUN make`.
        what: String,
    },
    /// Some of it is done.
    Advanced {
        /// The piece of work.
        task: u64,
        /// Units done so far.
        done: u64,
    },
    /// It ended well.
    Finished {
        /// The piece of work.
        task: u64,
    },
    /// It ended badly; the error itself travels as a `Result`.
    Failed {
        /// The piece of work.
        task: u64,
    },
    /// Something the user should know, once.
    Note(String),
    /// Something the user should mind.
    Warning(String),
    /// Problems in a request or in a text.
    Problems {
        /// The stable name of the kind of failure they are; none if the work goes on.
        code: Option<&'static str>,
        /// The text they point into.
        text: Option<Text>,
        /// The problems.
        problems: Vec<Problem>,
        /// What the user can do, one sentence each.
        hints: Vec<String>,
    },
    /// An error.
    Error {
        /// The stable name of its kind.
        code: &'static str,
        /// The error with its causes, in one line.
        message: String,
        /// What the user can do, one sentence each.
        hints: Vec<String>,
    },
    /// A command is done: the line that says what came of it.
    Closed {
        /// What was done: `pushed NAME`.
        what: String,
        /// Bytes that were moved; 0 if none were counted.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
}

/// Takes events; implemented by the user interface, and by tests.
pub trait Reporter: Send + Sync {
    /// Takes one event. Must not block for long and must not fail.
    fn report(&self, event: Event);
}

/// A reporter that drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) {}
}
