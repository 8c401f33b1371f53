//! Probes of metros: whether one is reachable, and its connection latency.
//!
//! Probes do not send a token: a reachable metro answers 401 to a request without one.
//!
//! ```
//! use kraft_cloud::probe::delay;
//! use kraft_http::{Policy, Url};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! // A port that was free a moment ago.
//! let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! let base: Url = format!("http://127.0.0.1:{port}/v1").parse()?;
//! assert_eq!(delay(&base, &Policy::new("example")).await, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use http::StatusCode;
use kraft_http::{Policy, Url, authority, send};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Timeout for each step of a probe.
const PATIENCE: Duration = Duration::from_secs(3);

/// Returns the first IPv4 address of a host.
pub async fn address(host: &str) -> Option<Ipv4Addr> {
    let found = timeout(PATIENCE, lookup_host((host, 443))).await.ok()?;
    found.ok()?.find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

/// Returns the TCP connection time of a metro, or `None` if `base` is unreachable or is not the API
/// of a metro.
pub async fn delay(base: &Url, policy: &Policy) -> Option<Duration> {
    let clients = crate::client::clients(policy.clone()).ok()?;
    let client = clients.get(&authority(base)).ok()?;
    let mut root = base.clone();
    root.set_path("/");
    let answer = send(client.get(root).timeout(PATIENCE), 1).await.ok()?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let host = base.host_str()?.trim_matches(['[', ']']);
    let port = base.port_or_known_default()?;
    let begin = Instant::now();
    timeout(PATIENCE, TcpStream::connect((host, port)))
        .await
        .ok()?
        .ok()?;
    Some(begin.elapsed())
}
