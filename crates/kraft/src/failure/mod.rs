//! Exit codes and messages of failed commands: the only place that decides them.
//!
//! Flows and libraries return typed errors. This module converts each to a [`Failure`]: a kind,
//! which determines the exit code, the error with its causes, and hints. `docs/errors.md` documents
//! the kinds for users.

mod cloud;
mod compose;
mod image;
mod libraries;
mod networks;
mod project;
mod rootfs;
mod volumes;

use std::error::Error;

use kraft_core::error::chain;
use kraft_core::event::Event;
use kraft_core::problem::{Problem, Text};
use kraft_engine::context::AskError;
use kraft_engine::output::OutputError;

pub(crate) use self::cloud::with_created;

/// Kind of a failure, which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any other failure.
    Failed,
    /// The command line or the configuration is invalid.
    Usage,
    /// A requested object does not exist.
    NotFound,
    /// A server cannot be reached, or its response is invalid.
    Network,
    /// A server requires credentials, or rejects the ones it received.
    Authentication,
    /// A kernel or a root filesystem could not be built: the error is in its sources.
    Build,
    /// This host does not support the operation: a tool is missing, or the guest has another
    /// architecture.
    Host,
    /// The machine in the foreground crashed or was killed.
    Crashed,
    /// The guest in the foreground exited with this status.
    Guest(u8),
    /// A command of `kraft compose` failed in a way that Docker's Compose 2 has an exit code for.
    Compose(Stage),
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The reader of the output closed the pipe, which is not an error.
    OutputClosed,
}

/// What a command was doing with a Compose project when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It looked for its files.
    Find,
    /// It read the files.
    Parse,
    /// It read the command line.
    Arguments,
    /// It built a service.
    Build,
    /// It pulled an image.
    Pull,
}

impl Kind {
    /// Returns the exit code and the stable name for programs. `docs/errors.md` lists them.
    const fn codes(self) -> (u8, &'static str) {
        match self {
            Self::OutputClosed => (0, "output_closed"),
            Self::Failed => (1, "failed"),
            Self::Usage => (2, "usage"),
            Self::NotFound => (3, "not_found"),
            Self::Network => (4, "network"),
            Self::Authentication => (5, "authentication"),
            Self::Build => (6, "build"),
            Self::Host => (7, "host"),
            Self::Crashed => (8, "crashed"),
            Self::Guest(status) => (status, "guest"),
            Self::Compose(Stage::Find) => (14, "compose_file"),
            Self::Compose(Stage::Parse) => (15, "compose_parse"),
            Self::Compose(Stage::Arguments) => (16, "compose_usage"),
            Self::Compose(Stage::Build) => (17, "compose_build"),
            Self::Compose(Stage::Pull) => (18, "compose_pull"),
            Self::Interrupted => (130, "interrupted"),
        }
    }

    /// Returns the exit code.
    pub(crate) const fn exit_code(self) -> u8 {
        self.codes().0
    }

    /// Returns the exit code of a command of `kraft compose`: Docker's Compose has 1 for every failure
    /// that is not a [`Stage`].
    pub(crate) const fn compose_exit_code(self) -> u8 {
        match self {
            Self::Usage
            | Self::NotFound
            | Self::Network
            | Self::Authentication
            | Self::Build
            | Self::Host => Self::Failed.exit_code(),
            Self::Failed
            | Self::Crashed
            | Self::Guest(_)
            | Self::Compose(_)
            | Self::Interrupted
            | Self::OutputClosed => self.exit_code(),
        }
    }

    /// Returns the stable name for programs.
    pub(crate) const fn code(self) -> &'static str {
        self.codes().1
    }
}

/// Failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Determines the exit code.
    pub(crate) kind: Kind,
    /// The message to print.
    pub(crate) message: Message,
    /// Hints for the user, one sentence each.
    pub(crate) hints: Vec<String>,
    /// What it was doing with a Compose project.
    stage: Option<Stage>,
}

/// Message of a failure.
#[derive(Debug)]
pub(crate) enum Message {
    /// None, because it has been reported already.
    Reported,
    /// An error and its causes.
    Error(Box<dyn Error + Send + Sync>),
    /// Problems in a request, or in a file.
    Problems {
        /// The text that the problems refer to.
        text: Option<Text>,
        /// The problems.
        problems: Vec<Problem>,
    },
}

/// Operation that failed, with the error as its cause.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    what: String,
    #[source]
    error: Box<dyn Error + Send + Sync>,
}

impl Message {
    /// Returns the messages to print, without source locations and hints.
    pub(crate) fn sentences(&self) -> Vec<String> {
        match self {
            Self::Reported => Vec::new(),
            Self::Error(error) => vec![chain(error.as_ref())],
            Self::Problems { problems, .. } => problems.iter().map(|p| p.message.clone()).collect(),
        }
    }
}

impl Failure {
    fn with_message(kind: Kind, message: Message) -> Self {
        let hints = Vec::new();
        Self {
            kind,
            message,
            hints,
            stage: None,
        }
    }

    /// Creates a failure from an error, or from a message.
    pub(crate) fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_message(kind, Message::Error(error.into()))
    }

    /// Creates a failure about the command line or the configuration.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, error)
    }

    /// Creates a failure that has been reported already.
    pub(crate) fn reported(kind: Kind) -> Self {
        Self::with_message(kind, Message::Reported)
    }

    /// Creates a failure from problems in a request.
    pub(crate) fn problems(kind: Kind, problems: Vec<Problem>) -> Self {
        let text = None;
        Self::with_message(kind, Message::Problems { text, problems })
    }

    /// Creates a failure from problems in a text.
    pub(crate) fn problems_in(kind: Kind, text: Text, problems: Vec<Problem>) -> Self {
        let text = Some(text);
        Self::with_message(kind, Message::Problems { text, problems })
    }

    /// Adds the operation that failed as context, with the previous error as its cause.
    #[must_use]
    pub(crate) fn about(mut self, what: &str) -> Self {
        if let Message::Error(error) = self.message {
            let what = what.to_owned();
            self.message = Message::Error(Box::new(About { what, error }));
        }
        self
    }

    /// Notes what was being done with a Compose project.
    #[must_use]
    fn during(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// Turns the failure into one of a command of `kraft compose`, which has the exit codes of Docker's
    /// Compose 2.
    #[must_use]
    pub(crate) fn of_compose(mut self) -> Self {
        self.kind = match (self.kind, self.stage) {
            (Kind::Interrupted | Kind::Host, _) => self.kind,
            (_, Some(stage)) => Kind::Compose(stage),
            (kind, None) => kind,
        };
        self
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the event that reports the failure; `None` if it has been reported already.
    pub(crate) fn event(&self) -> Option<Event> {
        let code = self.kind.code();
        let hints = self.hints.clone();
        match &self.message {
            Message::Reported => None,
            Message::Error(error) => Some(Event::Error {
                code,
                message: chain(error.as_ref()),
                hints,
            }),
            Message::Problems { text, problems } => Some(Event::Problems {
                code: Some(code),
                text: text.clone(),
                problems: problems.clone(),
                hints,
            }),
        }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Closed => Self::reported(Kind::OutputClosed),
            OutputError::Write(_) => Self::new(Kind::Failed, error),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Interrupted => Self::reported(Kind::Interrupted),
            AskError::NotText => Self::usage(error),
            AskError::Read(_) => Self::new(Kind::Failed, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Every kind but the guest's own status.
    const ALL: [Kind; 15] = [
        Kind::Failed,
        Kind::Usage,
        Kind::NotFound,
        Kind::Network,
        Kind::Authentication,
        Kind::Build,
        Kind::Host,
        Kind::Crashed,
        Kind::Compose(Stage::Find),
        Kind::Compose(Stage::Parse),
        Kind::Compose(Stage::Arguments),
        Kind::Compose(Stage::Build),
        Kind::Compose(Stage::Pull),
        Kind::Interrupted,
        Kind::OutputClosed,
    ];

    #[test]
    fn a_broken_pipe_exits_with_0() {
        let error = OutputError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let failure = Failure::from(error);
        assert_eq!(failure.kind.exit_code(), 0);
        assert_eq!(failure.event(), None);
    }

    #[test]
    fn exit_codes_are_distinct() {
        let mut codes: Vec<u8> = ALL.iter().map(|&kind| kind.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }

    #[test]
    fn the_manual_lists_every_code_with_its_exit_code() {
        let manual = include_str!("../../../../docs/errors.md");
        for kind in ALL {
            let row = format!("| {} | `{}` |", kind.exit_code(), kind.code());
            assert!(kind == Kind::OutputClosed || manual.contains(&row), "{row}");
        }
    }

    #[test]
    fn every_code_has_a_section_with_causes_and_cures() {
        let page = include_str!("../../../../docs/troubleshooting.md");
        for kind in ALL.into_iter().chain([Kind::Guest(1)]) {
            let heading = format!("## `{}`\n", kind.code());
            let known = page.contains(&heading);
            assert!(kind == Kind::OutputClosed || known, "{heading}");
        }
    }
}
