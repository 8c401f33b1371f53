//! Text from servers and about them, safe to show.
//!
//! ```
//! use kraft_http::text::{redacted_url, sanitized};
//!
//! let text = sanitized("denied\n\x1b[2J");
//! assert!(text.starts_with("denied") && !text.contains(['\n', '\x1b']));
//! let url = redacted_url("https://anna:secret@example.com/v2/?token=1");
//! assert!(!url.contains("secret") && !url.contains("token"));
//! ```

use std::error::Error;

use kraft_core::escape::is_unsafe;
pub use kraft_sys::command_line::redacted;

/// Text of a server is shown up to this length, in characters.
const LONGEST: usize = 300;

/// Makes text of a server safe for a terminal: one line, no control characters, limited length.
pub fn sanitized(text: &str) -> String {
    text.chars()
        .map(|c| if is_unsafe(c) { ' ' } else { c })
        .take(LONGEST)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Returns an error and its causes, from the outside in.
pub(crate) fn causes(error: &dyn Error) -> impl Iterator<Item = &dyn Error> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Returns the innermost cause of an error, safe for a terminal. The outer ones of HTTP clients
/// repeat the URL, which may hold secrets.
pub fn innermost(error: &dyn Error) -> String {
    let last = causes(error).last().map(ToString::to_string);
    sanitized(&last.unwrap_or_default())
}

/// Returns a URL as it may be shown: without credentials, without its query, safe for a terminal.
pub fn redacted_url(url: &str) -> String {
    // A query ends at the first space only where there is more than a URL.
    let url = url.split(['?', '#']).next().unwrap_or(url);
    sanitized(&redacted(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_stays_on_its_line() {
        assert_eq!(sanitized("a\nb\u{1b}[31m "), "a b [31m");
        assert_eq!(sanitized("a\u{202e}b\u{9b}"), "a b");
        assert_eq!(sanitized(&"ä".repeat(1000)).chars().count(), LONGEST);
    }

    #[test]
    fn urls_lose_their_secrets() {
        for (url, text) in [
            ("https://u:pw@h.example/x?token=1", "https://h.example/x"),
            ("https://h/x?token=a b", "https://h/x"),
            ("git@h:o/x", "git@h:o/x"),
            ("/a/b\u{1b}[31m", "/a/b [31m"),
        ] {
            assert_eq!(redacted_url(url), text);
        }
    }
}
