//! Errors of registry operations.

use std::io;
use std::time::Duration;

use kraft_core::connection;
use kraft_core::reference::{Digest, Reference};
use kraft_http::{ClientError, ErrorKind, TransferError};

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Connections are forbidden.
    #[error("cannot {doing}: no connection is opened, because of `--offline`")]
    Offline {
        /// What was attempted, as it follows "cannot".
        doing: String,
    },
    /// The registry cannot be reached.
    #[error("cannot reach the registry `{host}` to {doing}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// The reason.
        source: TransferError,
    },
    /// It wants credentials, or others than it was given.
    #[error("the registry `{host}` refuses to {doing}: {reason}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// Which credentials it was given, and what it said.
        reason: String,
        /// Whether it was given any.
        had_credentials: bool,
        /// What to do about credentials that could not be looked up.
        advice: Vec<String>,
    },
    /// It does not let this user do that.
    #[error("the registry `{host}` does not allow to {doing}{words}")]
    Forbidden {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// What it said, behind a colon.
        words: String,
        /// What to do about credentials that could not be looked up.
        advice: Vec<String>,
    },
    /// It does not have it.
    #[error("the registry `{host}` has no {what}{words}")]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said, behind a colon.
        words: String,
    },
    /// It requires a longer delay before the next request than kraft waits.
    #[error("the registry `{host}` takes no more requests for {} seconds", .pause.as_secs())]
    Busy {
        /// The registry.
        host: String,
        /// How long.
        pause: Duration,
    },
    /// It failed, again and again.
    #[error("the registry `{host}` cannot {doing}: HTTP {status}{words}")]
    Server {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// The status code.
        status: u16,
        /// What it said, behind a colon.
        words: String,
    },
    /// It answered what no registry may answer.
    #[error("the registry `{host}` gave a wrong answer when asked to {doing}: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// What was wrong.
        reason: String,
    },
    /// A document is not what its digest says.
    #[error("the registry `{host}` gave a wrong document for `{name}`: its digest is {found}")]
    WrongDigest {
        /// The registry.
        host: String,
        /// What was asked for.
        name: Box<Reference>,
        /// What came hashes to.
        found: Digest,
    },
    /// A transfer broke, again and again.
    #[error("the transfer with the registry `{host}` broke while it was to {doing}")]
    Broken {
        /// The registry.
        host: String,
        /// What was attempted.
        doing: String,
        /// What happened.
        source: TransferError,
    },
    /// Our own side of a transfer failed.
    #[error("cannot {doing}")]
    Local {
        /// What was attempted.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The credentials cannot be looked up.
    #[error(transparent)]
    Credentials(#[from] crate::credentials::Error),
    /// The client cannot be created: the file of authorities cannot be used, for example.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Error {
    /// Adds advice to a refusal.
    pub(super) fn with_advice(mut self, advise: impl FnOnce() -> Vec<String>) -> Self {
        if let Self::Unauthorized { advice, .. } | Self::Forbidden { advice, .. } = &mut self {
            *advice = advise();
        }
        self
    }

    /// Returns what sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Offline { .. }
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Server { .. }
            | Self::Protocol { .. }
            | Self::WrongDigest { .. }
            | Self::Broken { .. }
            | Self::Client(ClientError::Tls(_) | ClientError::Client(_)) => ErrorKind::Network,
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::Credentials(_) => {
                ErrorKind::Auth
            }
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Local { .. } | Self::Client(ClientError::Certificates { .. }) => {
                ErrorKind::Failed
            }
        }
    }

    /// Returns what the user can do, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Offline { .. } => "leave out `--offline` where there is a network".to_owned(),
            Self::Unreachable {
                host,
                source: TransferError::Certificate(_),
                ..
            } => format!(
                "trust its issuer with `--ca-file FILE`, or any server with \
                 `--insecure={host}`"
            ),
            Self::Unreachable { source, .. } => connection::hint(&source.to_string())
                .unwrap_or("check the name of the registry, the network and the proxy settings")
                .to_owned(),
            Self::Unauthorized {
                host,
                had_credentials: false,
                ..
            } => format!("log in: `kraft login {host}`"),
            Self::Unauthorized { host, .. } => {
                format!("log in with other credentials: `kraft login {host}`")
            }
            Self::Forbidden { host, .. } => {
                format!("request permission, or log in as another user: `kraft login {host}`")
            }
            Self::NotFound { .. } => "check the name, the tag and the registry".to_owned(),
            Self::Busy { .. } | Self::Server { .. } => "try again later".to_owned(),
            Self::Broken { .. } => "try again: the transfer is resumed".to_owned(),
            Self::Protocol { host, .. } | Self::WrongDigest { host, .. } => format!(
                "nothing was stored; report it to the operator of `{host}`, or check proxies in between"
            ),
            Self::Local { .. } | Self::Credentials(_) | Self::Client(_) => {
                return Vec::new();
            }
        };
        match self {
            Self::Unauthorized { advice, .. } | Self::Forbidden { advice, .. } => {
                advice.iter().cloned().chain([hint]).collect()
            }
            _ => vec![hint],
        }
    }
}
