//! Errors of requests to the platform, as reported to the user.

use std::time::Duration;

use http::StatusCode;
use kraft_http::text::sanitized;
use kraft_http::{BodyError, ClientError, ErrorKind, TransferError};

/// Error of a request to the platform.
///
/// ```
/// use kraft_cloud::{Error, ErrorKind};
///
/// let error = Error::Refused {
///     doing: "get the instance `web`".to_owned(),
///     message: "No instance with name 'web'".to_owned(),
///     code: Some(8),
/// };
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(!error.may_have_happened());
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request needs a connection, but `--offline` is set.
    #[error("cannot {doing}: no connection is opened, because of `--offline`")]
    Offline {
        /// The operation, phrased to follow "cannot".
        doing: String,
    },
    /// The HTTP client cannot be created.
    #[error("cannot prepare connections to `{host}`")]
    Client {
        /// Host of the metro.
        host: String,
        /// The cause.
        source: ClientError,
    },
    /// The host cannot be reached, or the connection failed.
    #[error("cannot reach `{host}` to {doing}")]
    Unreachable {
        /// Host of the metro.
        host: String,
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// The cause.
        source: Box<ConnectionError>,
        /// Whether the request may have reached the host, so that its outcome is unknown.
        sent: bool,
    },
    /// The platform rejected the token (HTTP 401).
    #[error("`{host}` refuses to {doing}: it does not take the token{words}")]
    Unauthorized {
        /// Host of the metro.
        host: String,
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// Message of the platform with a leading `: `, or empty.
        words: String,
    },
    /// The platform redirects to another location. Redirects are not followed, so that the token is
    /// not sent there.
    #[error("`{host}` points to `{to}` to {doing}: the token is not sent there")]
    Redirect {
        /// Host of the metro.
        host: String,
        /// Host of the redirect target.
        to: String,
        /// The operation, phrased to follow "cannot".
        doing: String,
    },
    /// The platform limits the rate of requests, and the requested delay is too long to wait for.
    #[error("`{host}` takes no more requests for {} seconds", .pause.as_secs())]
    Busy {
        /// Host of the metro.
        host: String,
        /// The requested delay.
        pause: Duration,
    },
    /// The platform returned an HTTP error status.
    #[error("`{host}` answers {status} to {doing}{words}")]
    Status {
        /// Host of the metro.
        host: String,
        /// HTTP status code.
        status: u16,
        /// Error code of the platform, if there is one.
        code: Option<u16>,
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// Message of the platform with a leading `: `, or empty.
        words: String,
    },
    /// The response cannot be parsed.
    #[error("the answer of `{host}` to {doing} cannot be read")]
    Nonsense {
        /// Host of the metro.
        host: String,
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// The cause.
        source: AnswerError,
    },
    /// The response is about another resource than the requested one. Nothing of it is used.
    #[error("`{host}` answers with {what} to {doing}: it ignores a part of the request")]
    Mistaken {
        /// Host of the metro.
        host: String,
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// The resource that the response is about, and the requested ones.
        what: String,
    },
    /// The platform rejected the operation, for one resource or for the whole request.
    #[error("cannot {doing}: {message}")]
    Refused {
        /// The operation, phrased to follow "cannot".
        doing: String,
        /// Error message of the platform.
        message: String,
        /// Error code of the platform, if there is one.
        code: Option<i64>,
    },
}

/// Why no response of the platform arrived.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// There was no response within this time.
    #[error("no answer for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The body of the response did not arrive in time.
    #[error("the answer stopped in its middle")]
    Incomplete,
    /// The body of the response was not received.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body of the response is not text.
    #[error("the answer is not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// The registry of the platform returned an error.
    #[error("it answers {0}")]
    Status(StatusCode),
}

/// Why a response of the platform cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is not the expected JSON. The parser's message may repeat the response, so that it is shown
    /// shortened and is not a source.
    #[error("{}", sanitized(&.0.to_string()))]
    Json(serde_json::Error),
    /// A resource has a name with control characters.
    #[error("a resource is called {0:?}")]
    Name(String),
}

impl From<serde_json::Error> for AnswerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl Error {
    /// Returns the error for an HTTP client that cannot be created.
    pub(crate) fn client(host: &str, source: ClientError) -> Self {
        Self::Client {
            host: host.to_owned(),
            source,
        }
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Offline { .. }
            | Self::Unreachable { .. }
            | Self::Nonsense { .. }
            | Self::Busy { .. } => ErrorKind::Network,
            Self::Unauthorized { .. } | Self::Redirect { .. } => ErrorKind::Auth,
            Self::Refused { code: Some(8), .. } | Self::Status { code: Some(8), .. } => {
                ErrorKind::NotFound
            }
            Self::Status { status, .. } if *status >= 500 || *status == 429 => ErrorKind::Network,
            Self::Client { .. }
            | Self::Mistaken { .. }
            | Self::Status { .. }
            | Self::Refused { .. } => ErrorKind::Failed,
        }
    }

    /// Returns hints about how to fix the error.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unauthorized { .. } => {
                "set `UKC_TOKEN` to a token of this metro's account, or log in again"
            }
            Self::Unreachable { .. } => "`kraft cloud metro list` lists the metros",
            // Today's platform has no codes here.
            Self::Status {
                status: 400 | 404 | 405,
                code: Some(2 | 3 | 16),
                ..
            } => {
                "the platform may be older than the command: docs/cloud.md lists what it may not have"
            }
            Self::Refused { code: Some(19), .. } => "remove what is not needed any more",
            Self::Refused { code: Some(23), .. } => "choose another name",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }

    /// Returns whether the platform may know an older form of the request: it does not know this
    /// one, and nothing has happened.
    pub(crate) fn is_unknown_form(&self) -> bool {
        match self {
            Self::Status { status, code, .. } => {
                matches!(status, 400 | 404 | 405) && *code != Some(8)
            }
            Self::Mistaken { .. } => true,
            _ => false,
        }
    }

    /// Returns whether a request that changes something may have taken effect despite the error.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => *sent,
            Self::Nonsense { .. } | Self::Mistaken { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
