//! What all clients share.

use std::path::PathBuf;
use std::time::Duration;

use crate::retry::Retry;

/// How servers are spoken to over HTTP.
///
/// ```
/// use kraft_http::Policy;
///
/// let mut policy = Policy::new("kraft/0.1.0");
/// policy.insecure = vec!["registry.example:5000".to_owned()];
/// policy.retries = 1;
/// assert!(policy.is_insecure("registry.example:5000"));
/// let mut attempts = policy.retry();
/// assert!(attempts.next_delay().is_some());
/// assert!(attempts.next_delay().is_none(), "one retry");
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// A PEM file with certificates that are trusted in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// Servers, `HOST[:PORT]`, whose certificate is not verified.
    pub insecure: Vec<String>,
    /// Whether no connection may be opened. The caller checks it, and reports what it needed.
    pub offline: bool,
    /// How long a server may send nothing.
    pub idle: Duration,
    /// How often a request that failed is tried again, where that may help.
    pub retries: u32,
    /// The longest delay before the first retry; it doubles for each further one.
    pub backoff: Duration,
    /// Whether a connection is kept for the next request.
    pub keep_alive: bool,
}

impl Policy {
    /// Returns the defaults: 30 seconds of silence, five retries, back-off from 300 ms.
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            ca_file: None,
            insecure: Vec::new(),
            offline: false,
            idle: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_millis(300),
            keep_alive: true,
        }
    }

    /// Returns whether the certificate of a server is not verified.
    pub fn is_insecure(&self, authority: &str) -> bool {
        self.insecure.iter().any(|known| known == authority)
    }

    /// Begins to count the attempts of one request.
    pub fn retry(&self) -> Retry {
        Retry::new(self)
    }
}
