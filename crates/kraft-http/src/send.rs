//! Sending, with one debug event for each request.
//!
//! An event has the method, the URL, the status, the duration and the number of the attempt. It never
//! has headers, bodies, or the credentials and the query of a URL, because all of them may hold
//! secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response, StatusCode, blocking};
use tokio::time::timeout;

use crate::error::TransferError;
use crate::text::{innermost, redacted_url};

/// Sends a request; `attempt` counts from 1.
///
/// # Errors
/// If no answer came. A status of 400 or more is an answer.
pub async fn send(request: RequestBuilder, attempt: u32) -> reqwest::Result<Response> {
    let (client, request) = request.build_split();
    let request = request?;
    let exchange = Exchange::begin(request.method().as_str(), request.url().as_str(), attempt);
    let answer = client.execute(request).await;
    exchange.end(answer.as_ref().map(Response::status));
    answer
}

/// Sends a request, and waits for the head of its answer for `idle` at most.
///
/// # Errors
/// As [`send`], and if the server is silent.
pub async fn send_within(
    request: RequestBuilder,
    attempt: u32,
    idle: Duration,
) -> Result<Response, TransferError> {
    match timeout(idle, send(request, attempt)).await {
        Ok(answer) => answer.map_err(|error| TransferError::of(&error, idle)),
        Err(_) => Err(TransferError::Idle(idle)),
    }
}

/// Sends a request with a large body, and waits for the head of its answer for as long as bytes of the
/// body go out. `sent` counts them.
///
/// # Errors
/// As [`send`], and if nothing moves for four times `idle`: a server needs time to store a large body
/// once it has all of it.
pub async fn send_upload(
    request: RequestBuilder,
    attempt: u32,
    idle: Duration,
    sent: &AtomicU64,
) -> Result<Response, TransferError> {
    let patience = idle.saturating_mul(4);
    let answer = send(request, attempt);
    tokio::pin!(answer);
    let mut before = 0;
    loop {
        if let Ok(answer) = timeout(patience, &mut answer).await {
            return answer.map_err(|error| TransferError::of(&error, patience));
        }
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return Err(TransferError::Idle(patience));
        }
        before = now;
    }
}

/// Sends a request, and blocks until its answer begins.
///
/// # Errors
/// As [`send`].
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpListener;
///
/// use kraft_http::{Clients, Policy, blocking, send_blocking};
///
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let address = server.local_addr()?.to_string();
/// std::thread::spawn(move || {
///     let (mut stream, _) = server.accept()?;
///     stream.read(&mut [0; 4096])?;
///     stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
/// });
/// let clients: Clients<blocking::Client> = Clients::new(Policy::new("example"))?;
/// let request = clients.get(&address)?.get(format!("http://{address}/"));
/// assert_eq!(send_blocking(request, 1)?.status(), 404);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn send_blocking(
    request: blocking::RequestBuilder,
    attempt: u32,
) -> reqwest::Result<blocking::Response> {
    let (client, request) = request.build_split();
    let request = request?;
    let exchange = Exchange::begin(request.method().as_str(), request.url().as_str(), attempt);
    let answer = client.execute(request);
    exchange.end(answer.as_ref().map(blocking::Response::status));
    answer
}

/// A request on its way. One that is given up before its answer is reported too.
struct Exchange(Option<Sent>);

struct Sent {
    method: String,
    url: String,
    attempt: u32,
    begin: Instant,
}

impl Exchange {
    fn begin(method: &str, url: &str, attempt: u32) -> Self {
        // Without a subscriber, nothing is copied.
        let sent = tracing::enabled!(tracing::Level::DEBUG).then(|| Sent {
            method: method.to_owned(),
            url: redacted_url(url),
            attempt,
            begin: Instant::now(),
        });
        Self(sent)
    }

    fn end(mut self, outcome: Result<StatusCode, &reqwest::Error>) {
        if let Some(sent) = self.0.take() {
            match outcome {
                Ok(status) => sent.report(status.as_str()),
                Err(error) => sent.report(&innermost(error)),
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(sent) = self.0.take() {
            sent.report("no answer");
        }
    }
}

impl Sent {
    fn report(&self, outcome: &str) {
        let milliseconds = self.begin.elapsed().as_millis();
        tracing::debug!(
            method = self.method,
            url = self.url,
            outcome,
            milliseconds,
            attempt = self.attempt,
            "HTTP request"
        );
    }
}
