//! Health checks of deployed applications over HTTP, at their public names.
//!
//! The requests do not send a token.
//!
//! ```
//! use kraft_cloud::health::{HealthCheck, HealthError};
//! use kraft_http::Policy;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let check = HealthCheck::new(Policy::new("example"))?;
//! // A port that was free a moment ago.
//! let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let status = check.get(&format!("http://127.0.0.1:{port}/")).await;
//! assert!(matches!(status, Err(HealthError::Connection(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use kraft_http::{
    Client, ClientError, Clients, Policy, RequestError, TransferError, Url, UrlError, authority,
    send,
};

use crate::Error;

/// Timeout for one check.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why an application did not answer.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// This host cannot resolve the name. The application may still be healthy: a new DNS name
    /// takes time to propagate.
    #[error(transparent)]
    UnknownHost(TransferError),
    /// The connection failed.
    #[error(transparent)]
    Connection(TransferError),
    /// The platform returned 502, 503 or 504, because the application is not ready.
    #[error("the answer is {0}")]
    NotReady(StatusCode),
    /// The address is not a URL.
    #[error(transparent)]
    Url(UrlError),
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// HTTP client for health checks.
#[derive(Debug)]
pub struct HealthCheck {
    clients: Clients<Client>,
}

impl HealthCheck {
    /// Creates a client.
    ///
    /// # Errors
    /// If the policy's certificates cannot be loaded.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let clients = crate::client::clients(policy);
        let clients = clients.map_err(|error| Error::client("what is deployed", error))?;
        Ok(Self { clients })
    }

    /// Sends one `GET` request to a URL and returns the application's HTTP status.
    ///
    /// # Errors
    /// If the application does not answer, or is not ready.
    pub async fn get(&self, url: &str) -> Result<u16, HealthError> {
        let url = Url::parse(url).map_err(HealthError::Url)?;
        let client = self.clients.get(&authority(&url))?;
        match send(client.get(url).timeout(PATIENCE), 1).await {
            // A redirect counts as an answer of the application.
            Ok(answer) => match answer.status() {
                status @ (StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT) => Err(HealthError::NotReady(status)),
                status => Ok(status.as_u16()),
            },
            Err(error) => Err(classified(&error)),
        }
    }
}

/// Distinguishes a name that cannot be resolved from other failures.
fn classified(error: &RequestError) -> HealthError {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    // Message of hyper's connector for a name that cannot be resolved.
    let is_unknown = causes.any(|cause| cause.to_string() == "dns error");
    let error = TransferError::of(error, PATIENCE);
    if is_unknown {
        HealthError::UnknownHost(error)
    } else {
        HealthError::Connection(error)
    }
}
