//! What can go wrong with the platform, in the words of its user.

use std::time::Duration;

use kraft_http::{ClientError, ErrorKind};

/// Why the platform did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Connections are forbidden.
    #[error("cannot {doing}: no connection is opened, because of `--offline`")]
    Offline {
        /// What was attempted, as it follows "cannot".
        doing: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot prepare connections to `{host}`: {why}")]
    Client {
        /// The host of the metro.
        host: String,
        /// What stood in the way.
        why: String,
    },
    /// The host cannot be reached, or the connection broke.
    #[error("cannot reach `{host}` to {doing}: {why}")]
    Unreachable {
        /// The host of the metro.
        host: String,
        /// What was attempted.
        doing: String,
        /// What stood in the way.
        why: String,
        /// Whether the request may have been read, so that its effect is unknown.
        sent: bool,
    },
    /// It does not take the token.
    #[error("`{host}` refuses to {doing}: it does not take the token{words}")]
    Unauthorized {
        /// The host of the metro.
        host: String,
        /// What was attempted.
        doing: String,
        /// What it said, behind a colon.
        words: String,
    },
    /// It wants to be asked elsewhere, where the token does not go.
    #[error("`{host}` points to `{to}` to {doing}: the token is not sent there")]
    Redirect {
        /// The host of the metro.
        host: String,
        /// Where it pointed to.
        to: String,
        /// What was attempted.
        doing: String,
    },
    /// It wants to be left alone for longer than anybody waits.
    #[error("`{host}` takes no more requests for {} seconds", .pause.as_secs())]
    Busy {
        /// The host of the metro.
        host: String,
        /// How long.
        pause: Duration,
    },
    /// It answered with a status that is no success.
    #[error("`{host}` answers {status} to {doing}{words}")]
    Status {
        /// The host of the metro.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was attempted.
        doing: String,
        /// What it said, behind a colon.
        words: String,
    },
    /// Its answer cannot be read.
    #[error("the answer of `{host}` to {doing} cannot be read: {why}")]
    Nonsense {
        /// The host of the metro.
        host: String,
        /// What was attempted.
        doing: String,
        /// What is wrong with it.
        why: String,
    },
    /// The platform says no, to one thing or to all.
    #[error("cannot {doing}: {message}")]
    Refused {
        /// What was attempted.
        doing: String,
        /// What it said.
        message: String,
        /// The platform's number for it, if it gave one.
        code: Option<i64>,
    },
}

impl Error {
    /// Returns why there is no client for a host.
    pub(crate) fn client(host: &str, error: &ClientError) -> Self {
        Self::Client {
            host: host.to_owned(),
            why: error.to_string(),
        }
    }

    /// Returns what sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Nonsense { .. } | Self::Busy { .. } => {
                ErrorKind::Network
            }
            Self::Unauthorized { .. } | Self::Redirect { .. } => ErrorKind::Auth,
            Self::Refused { code: Some(8), .. } => ErrorKind::NotFound,
            Self::Status { status, .. } if *status >= 500 || *status == 429 => ErrorKind::Network,
            Self::Offline { .. }
            | Self::Client { .. }
            | Self::Status { .. }
            | Self::Refused { .. } => ErrorKind::Failed,
        }
    }

    /// Returns what the user can do.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unauthorized { .. } => {
                "set `UKC_TOKEN` to a token of this metro's account, or log in again"
            }
            Self::Unreachable { .. } => "`kraft cloud metro list` tells which metros there are",
            Self::Refused { code: Some(19), .. } => "remove what is not needed any more",
            Self::Refused { code: Some(23), .. } => "choose another name",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }

    /// Returns whether a request that changes something may nevertheless have been obeyed.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => *sent,
            Self::Nonsense { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
