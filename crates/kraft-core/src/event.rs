//! Progress and log events reported by libraries; the user interface displays them.
//!
//! ```
//! use std::sync::Mutex;
//!
//! use kraft_core::event::{Event, Reporter};
//!
//! /// Collects the warnings of an operation.
//! #[derive(Default)]
//! struct Warnings(Mutex<Vec<String>>);
//!
//! impl Reporter for Warnings {
//!     fn report(&self, event: Event) {
//!         if let Event::Warning(text) = event {
//!             self.0.lock().expect("not poisoned").push(text);
//!         }
//!     }
//! }
//!
//! let warnings = Warnings::default();
//! warnings.report(Event::Note("pulling".to_owned()));
//! warnings.report(Event::Warning("the tag moved".to_owned()));
//! assert_eq!(*warnings.0.lock().expect("not poisoned"), ["the tag moved"]);
//! ```

use std::time::Duration;

use crate::problem::{Problem, Text};

/// An event reported during an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A task began; more events with the same `task` follow.
    Started {
        /// Identifies the task within this process.
        task: u64,
        /// Description: `building the root filesystem`.
        what: String,
        /// Number of units, if known.
        total: Option<u64>,
    },
    /// The number of units became known.
    Sized {
        /// The task.
        task: u64,
        /// Total number of units.
        total: u64,
    },
    /// The current activity of a task.
    Doing {
        /// The task.
        task: u64,
        /// Short description: `CC libx: file.o`.
        what: String,
    },
    /// A step of a task began or was found in the cache; printed on a line of its own without a
    /// terminal.
    Step {
        /// The task.
        task: u64,
        /// Description: `[build 2/3] RUN make`.
        what: String,
    },
    /// A task progressed.
    Advanced {
        /// The task.
        task: u64,
        /// Units done so far.
        done: u64,
    },
    /// A task succeeded.
    Finished {
        /// The task.
        task: u64,
    },
    /// A task failed; the error itself is returned as a `Result`.
    Failed {
        /// The task.
        task: u64,
    },
    /// An informational message.
    Note(String),
    /// A warning.
    Warning(String),
    /// Problems in a request or in a text.
    Problems {
        /// Stable error code; `None` if the operation continues.
        code: Option<&'static str>,
        /// The text that the spans refer to.
        text: Option<Text>,
        /// The problems.
        problems: Vec<Problem>,
        /// Hints for the user, one sentence each.
        hints: Vec<String>,
    },
    /// An error.
    Error {
        /// Stable error code.
        code: &'static str,
        /// The error with its causes, on one line.
        message: String,
        /// Hints for the user, one sentence each.
        hints: Vec<String>,
    },
    /// A command succeeded: its summary line.
    Closed {
        /// Summary: `pushed NAME`.
        what: String,
        /// Transferred bytes; 0 if they were not counted.
        bytes: u64,
        /// Duration of the command.
        took: Duration,
    },
}

/// Receives events; implemented by the user interface and by tests.
pub trait Reporter: Send + Sync {
    /// Receives one event. Must not block for long and must not fail.
    fn report(&self, event: Event);
}

/// A reporter that ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) {}
}
