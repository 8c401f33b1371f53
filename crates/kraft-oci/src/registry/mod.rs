//! A client of registries (OCI distribution specification 1.1).
//!
//! ```text
//! documents, blobs ─► call (again, if it may help) ─► transport (scheme, redirects) ─► HTTP
//!                          └─ 401 ─► auth (challenge ─► token) ─► credentials
//! ```
//!
//! What a registry says is hostile until it proved right: every length is bounded, every wait ends,
//! and neither credentials nor tokens leave for another host.

mod auth;
mod blobs;
mod body;
mod call;
mod documents;
mod error;
mod header;
mod transport;
mod trust;

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraft_core::reference::Digest;

pub use self::error::{Error, ErrorKind};
use self::transport::{Clients, Host};
use crate::credentials::CredentialSource;

/// What a client has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it introduces itself.
    pub user_agent: String,
    /// Registries, `HOST[:PORT]`, whose certificate is not looked at, or that have none.
    pub insecure: Vec<String>,
    /// A PEM file with certificates of further authorities.
    pub ca_file: Option<PathBuf>,
    /// Whether no connection may be opened.
    pub offline: bool,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialSource>,
    /// How long a server may be silent.
    pub silence: Duration,
    /// How often something is tried again that may yet succeed.
    pub retries: u32,
    /// How long to wait before the first such try, at most; doubled for each further one.
    pub pause: Duration,
}

/// A server that asks for a longer pause than this is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

impl Settings {
    /// Returns the usual settings.
    pub fn new(user_agent: String, credentials: Arc<dyn CredentialSource>) -> Self {
        Self {
            user_agent,
            insecure: Vec::new(),
            ca_file: None,
            offline: false,
            credentials,
            silence: Duration::from_secs(30),
            retries: 5,
            pause: Duration::from_millis(300),
        }
    }
}

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    clients: Clients,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Registry {
    /// Makes a client; opens no connection.
    ///
    /// Errors: the file of authorities cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let clients = Clients::new(&settings)?;
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                clients,
                hosts: Mutex::default(),
            }),
        })
    }

    /// Returns what is known of a registry.
    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self
            .inner
            .hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Host::new(name, &self.inner.settings));
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
    /// Its digest, if the registry tells.
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
