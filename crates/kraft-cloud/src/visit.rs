//! Health checks of deployed applications over HTTP, at their public names.
//!
//! The requests do not send a token.
//!
//! ```
//! use kraft_cloud::visit::{Absence, Visitor};
//! use kraft_http::Policy;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let visitor = Visitor::new(Policy::new("example"))?;
//! // A port that was free a moment ago.
//! let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let visit = visitor.visit(&format!("http://127.0.0.1:{port}/")).await;
//! assert!(matches!(visit, Err(Absence::Silent(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use http::StatusCode;
use kraft_http::text::sanitized;
use kraft_http::{Client, Clients, Policy, RequestError, Url, authority, send};

use crate::Error;

/// Timeout for one check.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reason why an application did not answer, as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// This host cannot resolve the name. The application may still be healthy: a new DNS name
    /// takes time to propagate.
    #[error("{0}")]
    Nameless(String),
    /// The connection failed, or the platform returned 502, 503 or 504 because the application is
    /// not ready.
    #[error("{0}")]
    Silent(String),
}

/// HTTP client for health checks.
#[derive(Debug)]
pub struct Visitor {
    clients: Clients<Client>,
}

impl Visitor {
    /// Creates a visitor.
    ///
    /// # Errors
    /// If the policy's certificates cannot be loaded.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let clients = crate::client::clients(policy);
        let clients = clients.map_err(|error| Error::client("what is deployed", error))?;
        Ok(Self { clients })
    }

    /// Sends one `GET` request to a URL and returns the application's HTTP status.
    pub async fn visit(&self, url: &str) -> Result<u16, Absence> {
        let silent = |why: String| Absence::Silent(why);
        let url = Url::parse(url).map_err(|error| silent(error.to_string()))?;
        let client = self.clients.get(&authority(&url));
        let client = client.map_err(|error| silent(error.to_string()))?;
        match send(client.get(url).timeout(PATIENCE), 1).await {
            // A redirect counts as an answer of the application.
            Ok(answer) => match answer.status() {
                status @ (StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT) => {
                    Err(Absence::Silent(format!("the answer is {status}")))
                }
                status => Ok(status.as_u16()),
            },
            Err(error) => Err(absence(&error)),
        }
    }
}

/// Returns the innermost cause of an error: the outer ones repeat the URL.
fn absence(error: &RequestError) -> Absence {
    let mut deepest: &dyn std::error::Error = error;
    let mut nameless = false;
    while let Some(source) = deepest.source() {
        // Message of hyper's connector for a name that cannot be resolved.
        nameless |= source.to_string() == "dns error";
        deepest = source;
    }
    let why = sanitized(&deepest.to_string());
    if nameless {
        Absence::Nameless(why)
    } else {
        Absence::Silent(why)
    }
}
