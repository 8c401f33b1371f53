//! Exit codes and messages of failed commands: the only place that decides them.
//!
//! Other modules and crates return typed errors. This module converts each to a [`Failure`]: a
//! kind, which determines the exit code, the error with its causes, and hints. `docs/errors.md`
//! documents the kinds for users.

mod image;
mod project;
mod rootfs;

use std::error::Error;
use std::fmt;
use std::io;

use kraft_core::event::Event;
use kraft_core::problem::Problem;
pub use kraft_core::problem::Text;

use crate::context::AskError;

/// Kind of a failure, which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The reader of the output closed the pipe, which is not an error.
    Unread,
}

impl Kind {
    /// Returns the stable name of the kind, for programs. `docs/errors.md` lists them.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unread => "output_closed",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Network => "network",
            Self::Authentication => "authentication",
            Self::Build => "build",
            Self::Host => "host",
            Self::Crashed => "crashed",
            Self::Guest(_) => "guest",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Failure of a command.
#[derive(Debug)]
pub struct Failure {
    /// Determines the exit code.
    pub kind: Kind,
    /// The message to print.
    pub message: Message,
    /// Hints for the user, one sentence each.
    pub hints: Vec<String>,
}

/// Message of a failure.
#[derive(Debug)]
pub enum Message {
    /// None, because the command has already printed it.
    Told,
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message.sentences().join("; "))
    }
}

impl Error for Failure {}

impl Message {
    /// Returns the messages to print, without source locations and hints.
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::Told => Vec::new(),
            Self::Error(error) => vec![chain(error.as_ref())],
            Self::Problems { problems, .. } => problems.iter().map(|p| p.message.clone()).collect(),
        }
    }
}

impl Failure {
    /// Creates a failure from an error, or from a message.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            message: Message::Error(error.into()),
            hints: Vec::new(),
        }
    }

    /// Creates a failure about the command line or the configuration.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, error)
    }

    /// Creates a failure whose message the command has already printed.
    pub fn told(kind: Kind) -> Self {
        Self {
            kind,
            message: Message::Told,
            hints: Vec::new(),
        }
    }

    /// Creates a failure from problems in a request.
    pub fn problems(kind: Kind, problems: Vec<Problem>) -> Self {
        Self {
            kind,
            message: Message::Problems {
                text: None,
                problems,
            },
            hints: Vec::new(),
        }
    }

    /// Creates a failure from problems in a text.
    pub fn problems_in(kind: Kind, text: Text, problems: Vec<Problem>) -> Self {
        Self {
            kind,
            message: Message::Problems {
                text: Some(text),
                problems,
            },
            hints: Vec::new(),
        }
    }

    /// Adds the operation that failed as context, with the previous error as its cause.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        if let Message::Error(error) = self.message {
            let what = what.to_owned();
            self.message = Message::Error(Box::new(About { what, error }));
        }
        self
    }

    /// Returns the event that reports the failure; `None` if it has been reported already.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let code = self.kind.code();
        let hints = self.hints.clone();
        match &self.message {
            Message::Told => None,
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

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Returns an error and all its causes in one line: `cannot read `x`: no such file`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries include the cause in their own message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Converts an error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::told(Kind::Unread);
        }
        Self::new(Kind::Failed, format!("cannot write to stdout: {error}"))
    }
}

impl From<kraft_sys::fs::Error> for Failure {
    fn from(error: kraft_sys::fs::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Interrupted => Self::told(Kind::Interrupted),
            AskError::NotText => Self::usage(error),
            AskError::Read(_) => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_config::Error> for Failure {
    fn from(error: kraft_config::Error) -> Self {
        use kraft_config::Error;

        match error {
            Error::RelativeHome(_) => {
                Self::usage(error).hint("set it to your home directory: `export HOME=/home/NAME`")
            }
            Error::Value(sentence) => Self::usage(sentence),
            Error::File { text, problems } => Self::problems_in(Kind::Usage, text, problems),
            Error::Unreadable(error) => Self::usage(error)
                .hint("name another directory with `--config-dir`, or repair this one"),
            Error::Write(error) => error.into(),
        }
    }
}

impl From<kraft_machine::Error> for Failure {
    fn from(error: kraft_machine::Error) -> Self {
        use kraft_machine::{Error, StartError};

        let kind = match &error {
            Error::NotFound { .. } => Kind::NotFound,
            Error::Ambiguous { .. } | Error::MachineNameError(_) => Kind::Usage,
            Error::Start {
                source:
                    StartError::NoProgram { .. }
                    | StartError::Unusable { .. }
                    | StartError::Platform(_)
                    | StartError::NoProc,
                ..
            }
            | Error::NoDriver(_) => Kind::Host,
            Error::Start {
                source: StartError::Interrupted,
                ..
            } => Kind::Interrupted,
            _ => Kind::Failed,
        };
        let hint = match &error {
            Error::Unreadable { source, .. } if source.is_foreign() => {
                Some("kraft follows and removes nothing there: remove it yourself".to_owned())
            }
            Error::Unreadable { id, .. } => Some(format!(
                "`kraft rm --force {id}` kills what runs in its name and removes the rest"
            )),
            Error::Start {
                source: StartError::Unusable { .. },
                ..
            } => Some(
                "install a newer QEMU, or correct the key `qemu`: `kraft config set qemu PATH`"
                    .to_owned(),
            ),
            Error::Start {
                source: StartError::NoProc,
                ..
            } => Some("mount it: `mount -t proc proc /proc`".to_owned()),
            Error::Start { log: Some(log), .. } => {
                Some(format!("the log of its VMM: `{}`", log.display()))
            }
            Error::Busy { name } => Some(format!(
                "try again, or `kraft rm --force {name}` to end a start that hangs"
            )),
            _ => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<kraft_machine::driver::NoDriver> for Failure {
    fn from(error: kraft_machine::driver::NoDriver) -> Self {
        Self::new(Kind::Host, error)
    }
}

impl From<kraft_oci::store::Error> for Failure {
    fn from(error: kraft_oci::store::Error) -> Self {
        use kraft_oci::store::Error;

        let hint = match &error {
            Error::Damaged { .. } | Error::Document { .. } | Error::Unsure { .. } => Some(
                "`kraft store verify --repair` fetches what is damaged again; `kraft pkg rm IMAGE` \
                 gives the image up",
            ),
            Error::Size { .. } => Some("nothing was kept; report it to the author of the image"),
            Error::Names { .. } => Some("move the file away: the images can be pulled again"),
            Error::Foreign { .. } => Some("name another directory with `--runtime-dir`"),
            Error::Moved(_) => Some("try again"),
            Error::Containerd { .. } => Some(
                "`containerd_addr` in the configuration names the containerd that keeps the images",
            ),
            Error::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free disk space first: `kraft store gc` removes what no image needs")
            }
            Error::File(_) | Error::Read { .. } | Error::Write { .. } => None,
        };
        let failure = match error {
            Error::File(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<kraft_oci::copy::CopyError> for Failure {
    fn from(error: kraft_oci::copy::CopyError) -> Self {
        use kraft_oci::copy::CopyError;

        match error {
            CopyError::Store(error @ kraft_oci::store::Error::Document { .. }) => {
                Self::new(Kind::Failed, error)
                    .hint("nothing was kept; report it to the author of the image")
            }
            CopyError::Store(error) => error.into(),
            CopyError::File(error) => error.into(),
            error @ CopyError::Nameless { .. } => Self::new(Kind::Failed, error)
                .hint("give it one with `--name`, if it is the only image"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::layer::LayerError> for Failure {
    fn from(error: kraft_oci::layer::LayerError) -> Self {
        match error {
            kraft_oci::layer::LayerError::Store(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::registry::Error> for Failure {
    fn from(error: kraft_oci::registry::Error) -> Self {
        use kraft_oci::registry::ErrorKind;

        let kind = match error.kind() {
            ErrorKind::Network => Kind::Network,
            ErrorKind::Auth => Kind::Authentication,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Failed => Kind::Failed,
        };
        let hints = error.hints();
        hints.into_iter().fold(Self::new(kind, error), Self::hint)
    }
}

impl From<kraft_oci::pull::PullError> for Failure {
    fn from(error: kraft_oci::pull::PullError) -> Self {
        use kraft_oci::pull::PullError;

        match error {
            PullError::Registry(error) => error.into(),
            PullError::Store(error @ kraft_oci::store::Error::Damaged { .. }) => {
                Self::new(Kind::Network, error)
                    .about("what the registry sent is not what it promised")
                    .hint(
                        "nothing was kept; try again, or report it to the operator of the registry",
                    )
            }
            PullError::Store(
                error @ (kraft_oci::store::Error::Document { .. }
                | kraft_oci::store::Error::Size { .. }),
            ) => Self::new(Kind::Network, error)
                .hint("nothing was kept; report it to the author of the image"),
            PullError::Store(error) => error.into(),
            error @ (PullError::Document { .. }
            | PullError::NotAManifest(_)
            | PullError::TooMuch { .. }) => Self::new(Kind::Network, error)
                .hint("nothing was kept; report it to the author of the image"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::push::PushError> for Failure {
    fn from(error: kraft_oci::push::PushError) -> Self {
        use kraft_oci::push::PushError;

        match error {
            PushError::Registry(error) => error.into(),
            PushError::Store(error) => error.into(),
            error @ PushError::Incomplete { .. } => Self::new(Kind::NotFound, error)
                .hint("fetch all of it first: `kraft pkg pull --all IMAGE`"),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<kraft_oci::catalog::CatalogError> for Failure {
    fn from(error: kraft_oci::catalog::CatalogError) -> Self {
        match error {
            kraft_oci::catalog::CatalogError::Registry(error) => error.into(),
            kraft_oci::catalog::CatalogError::File(error) => error.into(),
        }
    }
}

impl From<kraft_core::reference::ReferenceError> for Failure {
    fn from(error: kraft_core::reference::ReferenceError) -> Self {
        Self::usage(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_follow_in_one_line() {
        let error = Outer(io::Error::other("it is locked"));
        assert_eq!(chain(&error), "cannot open the door: it is locked");
    }
}
