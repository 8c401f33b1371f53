//! TLS connections to deployed applications, through an HTTP proxy if one is configured.
//!
//! ```no_run
//! use kraft_cloud::dial::{Dialer, Proxies};
//! use tokio::io::AsyncWriteExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let proxies = Proxies { https: "http://proxy.example:3128".to_owned(), ..Proxies::default() };
//! let dialer = Dialer::new(proxies, None)?;
//! let mut stream = dialer.dial("web.fra0.kraft.host", 443).await?;
//! stream.write_all(b"hello").await?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kraft_http::text::sanitized;
use kraft_http::{ClientError, trust};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Timeout for each step of a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum size of the response head of a proxy, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// TLS connection over TCP.
pub type Stream = TlsStream<TcpStream>;

/// Error from opening a connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The TLS configuration cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The TCP connection failed or timed out.
    #[error("cannot connect to `{host}:{port}`")]
    Refused {
        /// Host; the proxy's if there is one.
        host: String,
        /// Port of the host.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The proxy did not open a tunnel to the host.
    #[error("the proxy `{proxy}` does not lead to `{host}:{port}`")]
    Proxy {
        /// Host of the proxy.
        proxy: String,
        /// Target host.
        host: String,
        /// Port of the host.
        port: u16,
        /// The cause; it contains the reply of the proxy, if there was one.
        source: io::Error,
    },
    /// The TLS handshake failed: the host does not support TLS, or its certificate is not trusted.
    #[error("cannot speak TLS to `{host}:{port}`")]
    Tls {
        /// Target host.
        host: String,
        /// Port of the host.
        port: u16,
        /// The cause.
        source: io::Error,
    },
}

/// Proxy settings of the environment: each the value of its variable, or empty.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `ALL_PROXY`.
    pub all: String,
    /// `HTTPS_PROXY`.
    pub https: String,
    /// `NO_PROXY`.
    pub no: String,
}

/// Opens TLS connections.
#[derive(Clone)]
pub struct Dialer {
    tls: TlsConnector,
    proxies: Arc<Matcher>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialer")
    }
}

impl Dialer {
    /// Creates a dialer that trusts this host's CA certificates and those in `ca_file`.
    pub fn new(proxies: Proxies, ca_file: Option<&Path>) -> Result<Self, DialError> {
        let config = config(ca_file)?;
        let proxies = Matcher::builder()
            .all(proxies.all)
            .https(proxies.https)
            .no(proxies.no)
            .build();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            proxies: Arc::new(proxies),
        })
    }

    /// Connects to a port of a host and performs the TLS handshake.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Stream, DialError> {
        let tls = |source: io::Error| DialError::Tls {
            host: host.to_owned(),
            port,
            source,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let plain = self.plain(host, port).await?;
        match timeout(PATIENCE, self.tls.connect(name, plain)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(tls(error)),
            Err(_) => Err(tls(late())),
        }
    }

    async fn plain(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let uri: Option<http::Uri> = format!("https://{host}:{port}/").parse().ok();
        match uri.and_then(|uri| self.proxies.intercept(&uri)) {
            None => reach(host, port).await,
            Some(proxy) => through(&proxy, host, port).await,
        }
    }
}

fn late() -> io::Error {
    let text = format!("no answer for {} seconds", PATIENCE.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

async fn reach(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let refused = |source: io::Error| DialError::Refused {
        host: host.to_owned(),
        port,
        source,
    };
    let bare = host.trim_matches(['[', ']']);
    match timeout(PATIENCE, TcpStream::connect((bare, port))).await {
        Ok(Ok(stream)) => {
            // Disable Nagle's algorithm: the traffic may be interactive.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(refused(error)),
        Err(_) => Err(refused(late())),
    }
}

/// Opens a tunnel through a proxy with `CONNECT` (RFC 9110, section 9.3.6).
async fn through(proxy: &Intercept, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let name = proxy.uri().host().unwrap_or_default().to_owned();
    let refused = |source: io::Error| DialError::Proxy {
        proxy: name.clone(),
        host: host.to_owned(),
        port,
        source,
    };
    if proxy.uri().scheme_str() != Some("http") {
        let text = "only proxies that speak HTTP are supported";
        return Err(refused(io::Error::new(io::ErrorKind::Unsupported, text)));
    }
    let mut stream = reach(&name, proxy.uri().port_u16().unwrap_or(80)).await?;
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    let raw = || {
        let (user, password) = proxy.raw_auth()?;
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Some(format!("Basic {pair}"))
    };
    let given = proxy.basic_auth().and_then(|auth| auth.to_str().ok());
    if let Some(auth) = given.map(str::to_owned).or_else(raw) {
        head.extend(["Proxy-Authorization: ", &auth, "\r\n"]);
    }
    head.push_str("\r\n");
    let asked = timeout(PATIENCE, async {
        stream.write_all(head.as_bytes()).await?;
        answer(&mut stream).await
    });
    match asked.await {
        Ok(Ok(answer)) => {
            let status = answer.split_whitespace().nth(1).unwrap_or_default();
            if status.starts_with('2') {
                Ok(stream)
            } else {
                let line = answer.lines().next().unwrap_or_default();
                Err(refused(io::Error::other(sanitized(line))))
            }
        }
        Ok(Err(error)) => Err(refused(error)),
        Err(_) => Err(refused(late())),
    }
}

/// Reads a response head, and no byte after it.
async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(io::Error::other("its answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn config(ca_file: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let extra = match ca_file {
        Some(path) => trust::certificates(path).map_err(|source| ClientError::Certificates {
            path: path.display().to_string(),
            source: Box::new(source),
        })?,
        None => Vec::new(),
    };
    trust::client_config(&extra, &[]).map_err(|error| ClientError::Tls(Box::new(error)))
}
