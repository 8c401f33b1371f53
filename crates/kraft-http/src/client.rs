//! Construction of HTTP clients.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, blocking, redirect};
use rustls::pki_types::CertificateDer;

use crate::host::{host_of_authority, is_loopback};
use crate::policy::Policy;
use crate::trust::{self, TrustError};

/// The time limit for opening a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The PEM file of [`Policy::ca_file`] cannot be used.
    #[error("cannot use the certificates in `{path}`")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong.
        source: Box<TrustError>,
    },
    /// The TLS library refuses.
    #[error("cannot prepare connections")]
    Tls(#[source] Box<TrustError>),
    /// The HTTP library refuses.
    #[error("cannot prepare connections")]
    Client(#[source] reqwest::Error),
}

/// A client that [`Clients`] can make.
pub trait HttpClient: Sized {
    /// Builds it.
    fn build(builder: ClientBuilder, idle: Duration) -> reqwest::Result<Self>;
}

impl HttpClient for Client {
    /// The timeouts of this client are those of its callers, who know what they wait for.
    fn build(builder: ClientBuilder, _: Duration) -> reqwest::Result<Self> {
        builder.build()
    }
}

impl HttpClient for blocking::Client {
    fn build(builder: ClientBuilder, idle: Duration) -> reqwest::Result<Self> {
        // In this client the timeout is the time between two reads.
        blocking::ClientBuilder::from(builder).timeout(idle).build()
    }
}

/// The clients of one policy, each made when it is first needed: TLS costs time even where it is
/// not used.
///
/// ```
/// use kraft_http::{ClientError, Clients, Policy, blocking};
///
/// let mut policy = Policy::new("example");
/// let clients: Clients<blocking::Client> = Clients::new(policy.clone())?;
/// assert_eq!(clients.policy().user_agent, "example");
///
/// policy.ca_file = Some("/nonexistent.pem".into());
/// let refused = Clients::<blocking::Client>::new(policy);
/// assert!(matches!(refused, Err(ClientError::Certificates { .. })));
/// # Ok::<(), ClientError>(())
/// ```
#[derive(Debug)]
pub struct Clients<C> {
    policy: Policy,
    certificates: Vec<CertificateDer<'static>>,
    /// By whether the server is this host, and whether certificates are verified.
    made: [OnceLock<C>; 4],
}

impl<C: HttpClient> Clients<C> {
    /// Reads the certificates of the policy; opens no connection.
    ///
    /// # Errors
    /// If the file of certificates cannot be read, or holds none.
    pub fn new(policy: Policy) -> Result<Self, ClientError> {
        let certificates = match &policy.ca_file {
            Some(path) => {
                trust::certificates(path).map_err(|source| ClientError::Certificates {
                    path: path.display().to_string(),
                    source: Box::new(source),
                })?
            }
            None => Vec::new(),
        };
        Ok(Self {
            policy,
            certificates,
            made: Default::default(),
        })
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the client for a server, `HOST[:PORT]`. It follows no redirects.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn get(&self, authority: &str) -> Result<&C, ClientError> {
        let insecure = self.policy.is_insecure(authority);
        let loopback = is_loopback(host_of_authority(authority));
        let [remote, remote_insecure, local, local_insecure] = &self.made;
        let made = match (loopback, insecure) {
            (false, false) => remote,
            (false, true) => remote_insecure,
            (true, false) => local,
            (true, true) => local_insecure,
        };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let client = C::build(self.builder(insecure, loopback)?, self.policy.idle)
            .map_err(ClientError::Client)?;
        Ok(made.get_or_init(|| client))
    }

    fn builder(&self, insecure: bool, loopback: bool) -> Result<ClientBuilder, ClientError> {
        let mut builder = Client::builder()
            .user_agent(&self.policy.user_agent)
            // Credentials must not follow: see `redirect`.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tls_danger_accept_invalid_certs(insecure)
            .tls_danger_accept_invalid_hostnames(insecure);
        if !insecure {
            let config = trust::client_config(&self.certificates, &[b"h2", b"http/1.1"])
                .map_err(|error| ClientError::Tls(Box::new(error)))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        if loopback {
            builder = builder.no_proxy();
        }
        if !self.policy.keep_alive {
            builder = builder.pool_max_idle_per_host(0);
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ca_file(text: &str) -> Result<Clients<Client>, ClientError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
        let mut policy = Policy::new("test");
        policy.ca_file = Some(path);
        Clients::new(policy)
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        for text in ["", "not a PEM file", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            let error = with_ca_file(text).unwrap_err();
            assert!(
                matches!(&error, ClientError::Certificates { path, .. } if path.ends_with("ca.pem")),
                "{text:?}: {error}"
            );
        }
        let mut policy = Policy::new("test");
        policy.ca_file = Some("/does/not/exist".into());
        let error = Clients::<Client>::new(policy).unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }

    #[test]
    fn servers_of_the_same_sort_share_a_client() {
        let mut policy = Policy::new("test");
        policy.insecure = vec!["lax.example:5000".to_owned()];
        let clients: Clients<Client> = Clients::new(policy).unwrap();
        let place = |authority| std::ptr::from_ref(clients.get(authority).unwrap());
        assert_eq!(place("a.example"), place("b.example:8080"));
        assert_eq!(place("127.0.0.1:5000"), place("[::1]:80"));
        assert_ne!(place("a.example"), place("localhost"));
        assert_ne!(place("lax.example"), place("lax.example:5000"));
    }
}
