//! Errors that several flows share.

use std::error::Error as StdError;
use std::fmt;

use kraft_cloud::ErrorKind;
use kraft_engine::failure::{Failure, Message};
pub use kraft_engine::interrupt::Interrupted;

/// Error of a request to the platform.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The platform cannot be reached, or refuses the request.
    #[error(transparent)]
    Platform(#[from] kraft_cloud::Error),
    /// The user interrupted the command.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl RequestError {
    /// Returns whether the platform does not have what the request is about.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(ErrorKind::NotFound)
    }

    /// Returns whether the same request may succeed later: the platform cannot be reached.
    #[must_use]
    pub fn is_network(&self) -> bool {
        self.is(ErrorKind::Network)
    }

    fn is(&self, kind: ErrorKind) -> bool {
        match self {
            Self::Platform(error) => error.kind() == kind,
            Self::Interrupted(_) => false,
        }
    }
}

/// Error of a flow of `kraft-engine`, with its kind and its hints.
#[derive(Debug)]
pub struct EngineError(Box<Failure>);

impl EngineError {
    /// Wraps an error of the engine: `flow().map_err(EngineError::new)?`.
    pub fn new(error: impl Into<Failure>) -> Self {
        Self(Box::new(error.into()))
    }

    /// Returns the failure with its kind and its hints.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        *self.0
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.message {
            Message::Told => f.write_str("reported before"),
            Message::Error(error) => error.fmt(f),
            Message::Problems { .. } => f.write_str(&self.0.message.sentences().join("; ")),
        }
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.message {
            Message::Error(error) => error.source(),
            Message::Told | Message::Problems { .. } => None,
        }
    }
}
