//! Errors that several flows share.
//!
//! ```
//! use kraft_deploy::{Interrupted, RequestError};
//!
//! let error = RequestError::from(Interrupted);
//! assert!(!error.is_not_found() && !error.is_network());
//! ```

use kraft_cloud::ErrorKind;
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
        let offline = matches!(self, Self::Platform(kraft_cloud::Error::Offline { .. }));
        !offline && self.is(ErrorKind::Network)
    }

    fn is(&self, kind: ErrorKind) -> bool {
        match self {
            Self::Platform(error) => error.kind() == kind,
            Self::Interrupted(_) => false,
        }
    }
}
