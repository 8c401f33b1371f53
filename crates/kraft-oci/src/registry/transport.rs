//! Connections: which client speaks to which host, and whether with TLS.

use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Settings;
use super::auth::Authority;
use super::error::{Error, Trouble};
use super::trust;

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(10);
/// A PEM file is at most this long, in bytes.
const LARGEST_PEM: u64 = 4 << 20;

/// The HTTP clients, each made when it is needed first: TLS costs time even where it is not used.
#[derive(Debug)]
pub(super) struct Clients {
    user_agent: String,
    authorities: Vec<CertificateDer<'static>>,
    made: [OnceLock<Client>; 4],
}

impl Clients {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let mut authorities = Vec::new();
        if let Some(path) = &settings.ca_file {
            let bad = |why: String| Error::Authorities {
                path: path.display().to_string(),
                why,
            };
            let pem = kraft_sys::fs::read_file(path, LARGEST_PEM)
                .map_err(|error| bad(error.source.to_string()))?;
            authorities = trust::read(&pem).map_err(bad)?;
        }
        Ok(Self {
            user_agent: settings.user_agent.clone(),
            authorities,
            made: Default::default(),
        })
    }

    /// Returns the client for a host.
    pub(super) fn get(&self, host: &Host) -> Result<&Client, Error> {
        let (lax, direct) = (host.insecure, host.loopback);
        let place = usize::from(lax) + 2 * usize::from(direct);
        let Some(made) = self.made.get(place) else {
            return Err(unusable(&host.name, "no client".to_owned()));
        };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let mut builder = Client::builder()
            .user_agent(&self.user_agent)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECTING)
            .tcp_nodelay(true)
            .tls_danger_accept_invalid_certs(lax)
            .tls_danger_accept_invalid_hostnames(lax);
        if !lax && !self.authorities.is_empty() {
            let config = trust::config(&self.authorities)
                .map_err(|error| unusable(&host.name, error.to_string()))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        if direct {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| unusable(&host.name, chain(&error)))?;
        Ok(made.get_or_init(|| client))
    }
}

fn unusable(host: &str, why: String) -> Error {
    Error::Unreachable {
        host: host.to_owned(),
        doing: "speak to it".to_owned(),
        source: Trouble::Other(why),
    }
}

/// What is known of a registry.
#[derive(Debug)]
pub(super) struct Host {
    /// `HOST[:PORT]`, as images name it.
    pub(super) name: String,
    /// `HOST[:PORT]`, as it is spoken to.
    address: String,
    /// Whether its certificate is not looked at.
    insecure: bool,
    /// Whether it is this computer.
    loopback: bool,
    tls: OnceCell<bool>,
    /// How it wants to be asked.
    pub(super) authority: Authority,
}

impl Host {
    pub(super) fn new(name: &str, settings: &Settings) -> Self {
        let address = match name {
            "index.docker.io" | "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            insecure: settings.insecure.iter().any(|host| host == name),
            loopback: is_loopback(host_part(address)),
            tls: OnceCell::new(),
            authority: Authority::default(),
        }
    }

    /// Returns whether it may be spoken to without TLS.
    pub(super) fn may_be_plain(&self) -> bool {
        self.insecure || self.loopback
    }

    /// Returns the beginning of its URLs: `https://HOST[:PORT]`.
    ///
    /// TLS is spoken everywhere. Only this computer, and registries that the user declared
    /// insecure, are asked once whether they speak it.
    pub(super) async fn base(&self) -> Result<String, Trouble> {
        let tls = if self.may_be_plain() {
            *self
                .tls
                .get_or_try_init(|| speaks_tls(&self.address))
                .await?
        } else {
            true
        };
        let scheme = if tls { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.address))
    }
}

/// Returns the host without its port.
fn host_part(address: &str) -> &str {
    match address.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => address.split(':').next().unwrap_or(address),
    }
}

/// Returns whether a host is this computer.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Finds out whether a server speaks TLS: greets it, and looks at the first byte of the answer. That
/// of a TLS record is 20 to 23 (RFC 8446, section 5.1).
async fn speaks_tls(address: &str) -> Result<bool, Trouble> {
    let other = |error: io::Error| Trouble::Other(error.to_string());
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port {
        address.to_owned()
    } else {
        format!("{address}:443")
    };
    let connected = timeout(CONNECTING, TcpStream::connect(&with_port)).await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        // A registry on port 80, then, if on any.
        Ok(Err(_)) if !has_port => return Ok(false),
        Ok(Err(error)) => return Err(other(error)),
        Err(_) => return Err(Trouble::Silent(CONNECTING)),
    };
    stream.write_all(&hello()).await.map_err(other)?;
    let mut first = [0];
    match timeout(CONNECTING, stream.read(&mut first)).await {
        Ok(Ok(1)) => Ok((20..=23).contains(&first[0])),
        // It hung up on us, as a server does that expects something else.
        Ok(_) => Ok(false),
        Err(_) => Err(Trouble::Silent(CONNECTING)),
    }
}

/// Returns the shortest greeting that every TLS server answers, if only with an alert (RFC 5246,
/// section 7.4.1.2).
fn hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    // Thirty-two random bytes, among them what a server without TLS takes for the end of a bad
    // request: it answers at once instead of waiting for more.
    body.extend([0x42; 28]);
    body.extend(b"\r\n\r\n");
    // No session, one cipher suite (TLS_RSA_WITH_AES_128_CBC_SHA), no compression.
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap_or_default();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

/// Tells what stood in the way of a request.
pub(super) fn trouble(error: &reqwest::Error) -> Trouble {
    let text = chain(error);
    let lower = text.to_lowercase();
    if lower.contains("certificate") || lower.contains("unknownissuer") {
        return Trouble::Certificate(last(error));
    }
    if error.is_timeout() {
        return Trouble::Silent(CONNECTING);
    }
    Trouble::Other(last(error))
}

/// Returns the innermost cause: the outer ones repeat URLs.
fn last(error: &dyn std::error::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    shown(&deepest.to_string())
}

/// Returns an error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Makes text of a stranger fit for a terminal: one line, no control characters, not too long.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_is_known_by_its_names() {
        for here in ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["localhost.example", "10.0.0.1", "unikraft.org", ""] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
        assert_eq!(host_part("[::1]:5000"), "::1");
        assert_eq!(host_part("a.example:443"), "a.example");
    }

    #[test]
    fn the_words_of_a_stranger_stay_on_their_line() {
        assert_eq!(shown("a\nb\u{1b}[31m "), "a b [31m");
        assert_eq!(shown(&"x".repeat(1000)).len(), 300);
    }
}
