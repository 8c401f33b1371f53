//! Bodies of answers: read in chunks, no longer than they may be, and with a time limit.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use tokio::time::timeout;

use crate::error::TransferError;

/// A server that sends less than this, in bytes, in twice the time that it may be silent, is too
/// slow.
const LEAST: usize = 16 << 10;

/// The chunks of a body. A server that is silent, or next to it, is given up.
#[derive(Debug)]
pub struct Chunks {
    answer: Response,
    idle: Duration,
    /// What came since the rate was looked at, in bytes, and how long it was waited for.
    came: usize,
    waited: Duration,
}

impl Chunks {
    /// Returns the body of an answer; `idle` is how long the server may send nothing.
    pub fn of(answer: Response, idle: Duration) -> Self {
        Self {
            answer,
            idle,
            came: 0,
            waited: Duration::ZERO,
        }
    }

    /// Returns the next chunk; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        let asked = Instant::now();
        let chunk = match timeout(self.idle, self.answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => return Err(TransferError::of(&error, self.idle)),
            Err(_) => return Err(TransferError::Idle(self.idle)),
        };
        // The time that the caller takes for a chunk does not count.
        self.waited += asked.elapsed();
        self.came += chunk.len();
        if self.came >= LEAST {
            (self.came, self.waited) = (0, Duration::ZERO);
        } else if self.waited > self.idle.saturating_mul(2) {
            return Err(TransferError::Slow {
                came: self.came,
                time: self.waited,
            });
        }
        Ok(Some(chunk))
    }
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be, in bytes.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// The transfer failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

/// Reads a body of at most `limit` bytes.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpListener;
/// use std::time::Duration;
///
/// use kraft_http::{BodyError, Client, Clients, Policy, read_body, send};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let address = server.local_addr()?.to_string();
/// std::thread::spawn(move || {
///     for mut stream in server.incoming().flatten() {
///         let _ = stream.read(&mut [0; 4096]);
///         let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
///     }
/// });
/// let clients: Clients<Client> = Clients::new(Policy::new("example"))?;
/// let get = || clients.get(&address).map(|client| client.get(format!("http://{address}/")));
/// let idle = Duration::from_secs(30);
///
/// let answer = send(get()?, 1).await?;
/// assert_eq!(read_body(answer, 100, idle).await?, b"hello");
/// let answer = send(get()?, 1).await?;
/// let refused = read_body(answer, 3, idle).await;
/// assert!(matches!(refused, Err(BodyError::TooLong(3))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn read_body(
    answer: Response,
    limit: usize,
    idle: Duration,
) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    let mut chunks = Chunks::of(answer, idle);
    while let Some(chunk) = chunks.next().await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
