//! Errors that all clients share.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::client::CONNECT_TIMEOUT;
use crate::text::{causes, innermost};

/// The sort of a failure, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The server cannot be reached, or does not work.
    Network,
    /// It wants credentials, or other ones.
    Auth,
    /// It does not have what was asked for.
    NotFound,
    /// Anything else.
    Failed,
}

/// Why a connection or a transfer failed.
///
/// ```
/// use std::time::Duration;
///
/// use kraft_http::TransferError;
///
/// let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
/// let error = TransferError::of(&error, Duration::from_secs(30));
/// assert!(!error.is_permanent(), "another attempt may succeed");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The certificate is not trusted.
    #[error("its certificate is not trusted: {0}")]
    Certificate(String),
    /// Nothing came for this long.
    #[error("it was silent for {} seconds", .0.as_secs())]
    Idle(Duration),
    /// Next to nothing came for this long.
    #[error("it sent only {came} bytes in {} seconds", .time.as_secs())]
    Slow {
        /// Bytes that came.
        came: usize,
        /// How long they were waited for.
        time: Duration,
    },
    /// The body ended too early.
    #[error("only {came} of {promised} bytes came")]
    Short {
        /// Bytes that came.
        came: u64,
        /// Bytes that were promised.
        promised: u64,
    },
    /// Anything else, as the library or the system reports it.
    #[error("{0}")]
    Other(String),
}

impl TransferError {
    /// Classifies an error of the HTTP client, or of a body that is read. `idle` is the time limit
    /// that applied once the connection was open.
    pub fn of(error: &(dyn Error + 'static), idle: Duration) -> Self {
        // The outer errors repeat the URL, which may be called anything.
        let is_about_certificates = causes(error)
            .map(|cause| cause.to_string().to_lowercase())
            .filter(|text| !text.contains("://"))
            .any(|text| text.contains("certificate") || text.contains("unknownissuer"));
        if is_about_certificates {
            return Self::Certificate(innermost(error));
        }
        // A body is read as a file is: the client's error is inside that of the system.
        let inside = error.downcast_ref::<io::Error>();
        let client = error
            .downcast_ref::<reqwest::Error>()
            .or_else(|| inside?.get_ref()?.downcast_ref());
        match client {
            Some(error) if error.is_timeout() && error.is_connect() => Self::Idle(CONNECT_TIMEOUT),
            Some(error) if error.is_timeout() => Self::Idle(idle),
            _ => Self::Other(innermost(error)),
        }
    }

    /// Returns whether it is certain to happen again: a certificate does not get better, nor does a
    /// name that does not exist appear in a second.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Certificate(_) => true,
            Self::Other(text) => text.contains("Name or service not known"),
            Self::Idle(_) | Self::Slow { .. } | Self::Short { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("error sending request for url (https://h/certificate)")]
    struct Outer(#[source] io::Error);

    #[test]
    fn certificates_are_recognised_but_not_in_urls() {
        let of = |why: &str| {
            let error = Outer(io::Error::other(why.to_owned()));
            TransferError::of(&error, Duration::from_secs(1))
        };
        let untrusted = of("invalid peer certificate: UnknownIssuer");
        assert!(
            matches!(untrusted, TransferError::Certificate(_)),
            "{untrusted}"
        );
        assert!(untrusted.is_permanent());
        let refused = of("Connection refused (os error 111)");
        assert_eq!(refused.to_string(), "Connection refused (os error 111)");
        assert!(!refused.is_permanent());
        let unknown = of("failed to lookup address information: Name or service not known");
        assert!(unknown.is_permanent());
    }
}
