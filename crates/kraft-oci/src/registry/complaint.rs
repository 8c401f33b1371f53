//! Error messages of registries.

use std::time::Duration;

use kraft_http::text::sanitized;
use kraft_http::{Response, read_body};
use serde::Deserialize;
use tokio::time::timeout;

use crate::image::nullable;

/// Maximum size of an error response that is read, in bytes.
const LARGEST_COMPLAINT: usize = 64 << 10;

/// Returns the error message of a registry, after a colon.
pub(super) async fn complaint(answer: Response, idle: Duration) -> String {
    // Error messages have the same time limit as other responses.
    match timeout(idle, read_body(answer, LARGEST_COMPLAINT, idle)).await {
        Ok(Ok(body)) => words(&body),
        _ => String::new(),
    }
}

/// Parses an error response: `{"errors":[{"code":…,"message":…}]}` (OCI distribution specification,
/// "Error codes"), or the OAuth form. After a colon, or empty.
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
    words.map_or_else(String::new, |words| format!(": {}", sanitized(&words)))
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
