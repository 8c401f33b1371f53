//! Registries as servers: at which address, and whether with TLS.

use std::io;

use kraft_http::{CONNECT_TIMEOUT, Policy, TransferError, host_of_authority, is_loopback};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::auth::Authority;

/// What is known of a registry.
#[derive(Debug)]
pub(super) struct Host {
    /// `HOST[:PORT]`, as images name it.
    pub(super) name: String,
    /// `HOST[:PORT]`, as it is spoken to.
    address: String,
    /// Whether its certificate is not looked at.
    insecure: bool,
    /// Whether it is this host.
    loopback: bool,
    tls: OnceCell<bool>,
    /// How it wants to be asked.
    pub(super) authority: Authority,
}

impl Host {
    pub(super) fn new(name: &str, policy: &Policy) -> Self {
        let address = match name {
            "index.docker.io" | "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            insecure: policy.is_insecure(name),
            loopback: is_loopback(host_of_authority(address)),
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
    /// TLS is required, except for this host and registries configured as insecure, which are
    /// probed once.
    pub(super) async fn base(&self) -> Result<String, TransferError> {
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

/// Finds out whether a server speaks TLS: greets it, and looks at the first byte of the answer. That
/// of a TLS record is 20 to 23 (RFC 8446, section 5.1).
async fn speaks_tls(address: &str) -> Result<bool, TransferError> {
    let other = |error: io::Error| TransferError::Other(error.to_string());
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port {
        address.to_owned()
    } else {
        format!("{address}:443")
    };
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&with_port)).await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        // A registry on port 80, then, if on any.
        Ok(Err(_)) if !has_port => return Ok(false),
        Ok(Err(error)) => return Err(other(error)),
        Err(_) => return Err(TransferError::Idle(CONNECT_TIMEOUT)),
    };
    stream.write_all(&hello()).await.map_err(other)?;
    let mut first = [0];
    match timeout(CONNECT_TIMEOUT, stream.read(&mut first)).await {
        Ok(Ok(1)) => Ok((20..=23).contains(&first[0])),
        // It closed the connection, as a server with another protocol does.
        Ok(_) => Ok(false),
        Err(_) => Err(TransferError::Idle(CONNECT_TIMEOUT)),
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
