//! Connections to what is deployed: TLS to a name and a port, by way of a proxy where there is one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kraft_http::text::sanitized;
use kraft_http::trust;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long each step of a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A proxy's answer is at most this long, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// A connection.
pub type Stream = TlsStream<TcpStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The connection could not be prepared.
    #[error("cannot prepare connections: {0}")]
    Client(String),
    /// Nobody takes the connection.
    #[error("cannot connect to `{host}:{port}`: {why}")]
    Refused {
        /// The host, perhaps that of a proxy.
        host: String,
        /// Its port.
        port: u16,
        /// What stood in the way.
        why: String,
    },
    /// The proxy does not lead there.
    #[error("the proxy `{proxy}` does not lead to `{host}:{port}`: {why}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Where to.
        host: String,
        /// Its port.
        port: u16,
        /// What it said.
        why: String,
    },
    /// The other side does not speak TLS, or shows a certificate that is not trusted.
    #[error("cannot speak TLS to `{host}:{port}`: {why}")]
    Tls {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What stood in the way.
        why: String,
    },
}

/// The proxies of the environment, each a URL or nothing.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `ALL_PROXY`.
    pub all: String,
    /// `HTTPS_PROXY`.
    pub https: String,
    /// `NO_PROXY`.
    pub no: String,
}

/// Makes connections.
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
    /// Makes a dialer, which trusts the certificates in a file beyond those of this computer.
    pub fn new(proxies: Proxies, ca_file: Option<&Path>) -> Result<Self, DialError> {
        let config = config(ca_file).map_err(DialError::Client)?;
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

    /// Connects to a port of a host, and begins to speak TLS.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Stream, DialError> {
        let tls = |why: String| DialError::Tls {
            host: host.to_owned(),
            port,
            why: sanitized(&why),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| tls(error.to_string()))?;
        let plain = self.plain(host, port).await?;
        match timeout(PATIENCE, self.tls.connect(name, plain)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(tls(error.to_string())),
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

fn late() -> String {
    format!("no answer for {} seconds", PATIENCE.as_secs())
}

async fn reach(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let refused = |why: String| DialError::Refused {
        host: host.to_owned(),
        port,
        why,
    };
    let bare = host.trim_matches(['[', ']']);
    match timeout(PATIENCE, TcpStream::connect((bare, port))).await {
        Ok(Ok(stream)) => {
            // Small pieces are not kept back: what travels is somebody's conversation.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(late())),
    }
}

/// Asks a proxy to lead to a port of a host (RFC 9110, section 9.3.6).
async fn through(proxy: &Intercept, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let name = proxy.uri().host().unwrap_or_default().to_owned();
    let refused = |why: String| DialError::Proxy {
        proxy: name.clone(),
        host: host.to_owned(),
        port,
        why: sanitized(&why),
    };
    if proxy.uri().scheme_str() != Some("http") {
        return Err(refused(
            "only proxies that speak HTTP are understood".to_owned(),
        ));
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
                Err(refused(
                    answer.lines().next().unwrap_or_default().to_owned(),
                ))
            }
        }
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(late())),
    }
}

/// Reads the head of an answer, and no byte of what follows it.
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

fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let extra = match ca_file {
        Some(path) => {
            trust::certificates(path).map_err(|why| format!("`{}`: {why}", path.display()))?
        }
        None => Vec::new(),
    };
    trust::client_config(&extra, &[])
}
