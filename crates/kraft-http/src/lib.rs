//! One HTTP policy for registries, downloads and the cloud.
//!
//! ```text
//! Policy ─► Clients (trust, proxies, timeouts) ─► send (debug event) ─► Response
//!    └────► Retry (back-off, Retry-After)            └─ redirect ─► the next URL, or an error
//! ```
//!
//! Everything that a server sends is hostile: every length is bounded, every wait ends, and no
//! credential follows a redirect to another server. What is sent, and what it means, is decided by
//! the crates that know the protocol.
//!
//! ```
//! use kraft_http::{Client, Clients, Policy};
//!
//! let mut policy = Policy::new("kraft/0.1.0");
//! policy.retries = 2;
//! let clients: Clients<Client> = Clients::new(policy)?;
//! // Opens no connection; a loopback address is reached without the proxy.
//! clients.get("127.0.0.1:5000")?;
//! # Ok::<(), kraft_http::ClientError>(())
//! ```

mod body;
mod client;
pub mod credential;
mod error;
mod host;
mod policy;
pub mod redirect;
mod retry;
mod send;
pub mod text;
pub mod trust;

pub use reqwest::{Body, Client, Error as RequestError, RequestBuilder, Response, Url, blocking};

/// Why a text is not a URL.
pub type UrlError = <Url as std::str::FromStr>::Err;

pub use self::body::{BodyError, Chunks, read_body};
pub use self::client::{CONNECT_TIMEOUT, ClientError, Clients, HttpClient};
pub use self::error::{ErrorKind, TransferError};
pub use self::host::{authority, host_of_authority, is_loopback};
pub use self::policy::Policy;
pub use self::retry::{Failed, LONGEST_PAUSE, Retry, is_transient, retry_after};
pub use self::send::{send, send_blocking, send_upload, send_within};
