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
