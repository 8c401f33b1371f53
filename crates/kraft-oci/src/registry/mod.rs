//! A client of registries (OCI distribution specification 1.1).
//!
//! ```text
//! documents, blobs ─► call (again, if it may help) ─► transport (scheme, redirects) ─► HTTP
//!                          └─ 401 ─► auth (challenge ─► token) ─► credentials
//! ```
//!
//! What a registry says is hostile until it proved right: every length is bounded, every wait ends,
//! and neither credentials nor tokens leave for another host.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kraft_http::Policy;
//! use kraft_oci::credentials::Keyrings;
//! use kraft_oci::pull::look;
//! use kraft_oci::registry::{ErrorKind, Registry};
//!
//! // A port that was free a moment ago.
//! let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let name = format!("127.0.0.1:{port}/web:1.0").parse()?;
//! let policy = Policy { retries: 0, ..Policy::new("example") };
//! let registry = Registry::new(policy, Arc::new(Keyrings::default()))?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! let looked = runtime.block_on(look(&registry, &name));
//! assert!(looked.is_err(), "no registry listens there");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod blobs;
mod call;
mod complaint;
mod documents;
mod error;
mod header;
mod transport;

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraft_core::reference::Digest;
use kraft_http::{Client, Clients, Policy};

pub use kraft_http::ErrorKind;

pub use self::error::Error;
use self::transport::Host;
use crate::credentials::CredentialSource;

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clients: Clients<Client>,
    credentials: Arc<dyn CredentialSource>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Registry {
    /// Makes a client; opens no connection. Credentials are looked up when a registry asks for them.
    ///
    /// Errors: the file of authorities cannot be read.
    pub fn new(policy: Policy, credentials: Arc<dyn CredentialSource>) -> Result<Self, Error> {
        let clients = Clients::new(policy)?;
        Ok(Self {
            inner: Arc::new(Inner {
                clients,
                credentials,
                hosts: Mutex::default(),
            }),
        })
    }

    /// Returns how servers are spoken to.
    fn policy(&self) -> &Policy {
        self.inner.clients.policy()
    }

    /// Returns what is known of a registry.
    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self
            .inner
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Host::new(name, self.policy()));
        Arc::clone(hosts.entry(name.to_owned()).or_insert_with(make))
    }
}

/// A document that was fetched, or the news that it is the one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is what the given tag stood for.
    NotModified,
    /// It is this.
    Document {
        /// Its bytes.
        bytes: Bytes,
        /// What the registry says it is.
        media_type: String,
        /// What the bytes hash to.
        digest: Digest,
        /// What makes the next question a short one.
        etag: Option<String>,
    },
}

/// What a registry says of a document without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its digest, if the registry returns one.
    pub digest: Option<Digest>,
}

/// Takes a blob piece by piece.
pub trait BlobSink: Send {
    /// Returns how many bytes it has.
    fn offset(&self) -> u64;

    /// Forgets what it has.
    fn restart(&mut self) -> BoxFuture<'_, io::Result<()>>;

    /// Takes the next piece, and lets the sender wait as long as it likes.
    fn chunk(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>>;
}

/// Gives a blob, as often as it has to be sent.
pub trait BlobSource: Send + Sync {
    /// Opens it at its beginning. Called on a thread that may block.
    fn open(&self) -> io::Result<Box<dyn Read + Send>>;
}
