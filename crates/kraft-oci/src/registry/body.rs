//! Bodies of answers: read piece by piece, no longer than they may be, and not for ever.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use serde::Deserialize;
use tokio::time::timeout;

use super::error::Trouble;
use super::transport::{shown, trouble};
use crate::image::nullable;

/// What a registry says about a failure is read this far, in bytes.
const LARGEST_COMPLAINT: usize = 64 << 10;
/// Whoever sends less than this, in bytes, in twice the time that he may be silent, only pretends
/// to send.
const LEAST: usize = 16 << 10;

/// Reads the pieces of a body, and loses patience with whoever is silent, or next to it.
pub(super) struct Pieces {
    answer: Response,
    silence: Duration,
    /// What came since the pace was looked at, in bytes, and how long it was waited for.
    came: usize,
    waited: Duration,
}

impl Pieces {
    pub(super) fn of(answer: Response, silence: Duration) -> Self {
        Self {
            answer,
            silence,
            came: 0,
            waited: Duration::ZERO,
        }
    }

    /// Returns the next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let asked = Instant::now();
        let piece = match timeout(self.silence, self.answer.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => return Err(trouble(&error)),
            Err(_) => return Err(Trouble::Silent(self.silence)),
        };
        // What our own side takes to put the pieces down does not count.
        self.waited += asked.elapsed();
        self.came += piece.len();
        if self.came >= LEAST {
            (self.came, self.waited) = (0, Duration::ZERO);
        } else if self.waited > self.silence.saturating_mul(2) {
            return Err(Trouble::Slow {
                came: self.came,
                time: self.waited,
            });
        }
        Ok(Some(piece))
    }
}

/// Why a body was not read to its end.
pub(super) enum BodyFault {
    TooLong,
    Trouble(Trouble),
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn bounded_body(
    answer: Response,
    limit: usize,
    silence: Duration,
) -> Result<Bytes, BodyFault> {
    let mut body = Vec::new();
    let mut pieces = Pieces::of(answer, silence);
    while let Some(piece) = pieces.next().await.map_err(BodyFault::Trouble)? {
        if body.len() + piece.len() > limit {
            return Err(BodyFault::TooLong);
        }
        body.extend(&piece);
    }
    Ok(body.into())
}

/// Returns what a registry says about a failure, behind a colon.
pub(super) async fn complaint(answer: Response, silence: Duration) -> String {
    // Nobody waits longer for the words of a failure than for any other byte.
    match timeout(silence, bounded_body(answer, LARGEST_COMPLAINT, silence)).await {
        Ok(Ok(body)) => words(&body),
        _ => String::new(),
    }
}

/// Reads the words of a failure: `{"errors":[{"code":…,"message":…}]}` (OCI distribution
/// specification, "Error codes"), or the OAuth form. Behind a colon, or nothing.
pub(super) fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        #[serde(default, deserialize_with = "nullable")]
        errors: Vec<One>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        error_description: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default, deserialize_with = "nullable")]
        code: String,
        #[serde(default, deserialize_with = "nullable")]
        message: String,
    }
    let Ok(complaint) = serde_json::from_slice::<Complaint>(body) else {
        return String::new();
    };
    let words = complaint
        .errors
        .into_iter()
        .map(|one| {
            if one.message.is_empty() {
                one.code
            } else {
                one.message
            }
        })
        .chain(complaint.details)
        .chain(complaint.error_description)
        .find(|words| !words.is_empty());
    words.map_or_else(String::new, |words| format!(": {}", shown(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_registry_are_found() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#;
        assert_eq!(words(body), ": no way");
        assert_eq!(words(br#"{"errors":[{"code":"DENIED"}]}"#), ": DENIED");
        assert_eq!(words(br#"{"details":"wrong"}"#), ": wrong");
        assert_eq!(
            words(br#"{"errors":[{"code":"DENIED","message":null}],"details":null}"#),
            ": DENIED"
        );
        assert_eq!(words(br#"{"errors":null,"details":"wrong"}"#), ": wrong");
        assert_eq!(words(b"<html>"), "");
    }
}
