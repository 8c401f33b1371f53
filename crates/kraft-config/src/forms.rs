//! Validation of settings: the same rules for flags, variables and the file.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_config::forms::{Form, seconds};
//!
//! assert!(Form::Count.check("4").is_ok());
//! assert!(Form::Count.check("four").is_err());
//! assert_eq!(seconds("30"), Some(Duration::from_secs(30)));
//! ```

use std::time::Duration;

use kraft_core::reference::check_host;

/// The format of a text, or of each item of a list. An empty text is always valid: the default
/// applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text without control characters.
    Free,
    /// A number of seconds, fractions allowed.
    Seconds,
    /// A whole number.
    Count,
    /// The address of a BuildKit.
    Buildkit,
    /// The socket of a containerd.
    Containerd,
    /// `HOST[:PORT]`.
    Host,
}

/// The maximum of a timeout.
const A_DAY: Duration = Duration::from_hours(24);

impl Form {
    /// Returns what is expected if a text has a different format.
    pub fn check(self, text: &str) -> Result<(), &'static str> {
        if text.contains(char::is_control) {
            return Err("expected a text without control characters");
        }
        if text.is_empty() {
            return Ok(());
        }
        let (fits, expected) = match self {
            Self::Free => (true, ""),
            Self::Seconds => (
                seconds(text).is_some(),
                "expected a number of seconds greater than 0 and at most 86400",
            ),
            Self::Count => (
                text.parse::<u32>().is_ok(),
                "expected a whole number, 0 or more",
            ),
            Self::Buildkit => (
                text.parse::<kraft_buildkit::Address>().is_ok(),
                "expected `unix://PATH`, `tcp://HOST:PORT`, `docker://PATH`, \
                 `docker-container://NAME`, `podman-container://NAME` or `ssh://HOST`",
            ),
            Self::Containerd => (
                text.strip_prefix("unix://")
                    .unwrap_or(text)
                    .starts_with('/'),
                "expected the absolute path of a socket, with or without `unix://`",
            ),
            Self::Host => (check_host(text).is_ok(), "expected `HOST` or `HOST:PORT`"),
        };
        if fits { Ok(()) } else { Err(expected) }
    }
}

/// Parses a number of seconds; `None` for 0 and for more than a day.
pub fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (!duration.is_zero() && duration <= A_DAY).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_texts_pass_and_others_name_the_expected_format() {
        let good = [
            (Form::Free, vec!["", "a b", "ü"]),
            (Form::Seconds, vec!["", "30", "0.5", "86400", "1e2"]),
            (Form::Count, vec!["", "0", "5", "4000000000"]),
            (
                Form::Buildkit,
                vec!["", "unix:///run/x", "tcp://localhost:1", "ssh://host"],
            ),
            (Form::Containerd, vec!["", "/run/c.sock", "unix:///run/c"]),
            (Form::Host, vec!["localhost:5000", "x.org", "[::1]:80"]),
        ];
        for (form, texts) in good {
            for text in texts {
                assert_eq!(form.check(text), Ok(()), "{form:?} {text}");
            }
        }
        let bad = [
            (Form::Free, vec!["a\nb", "\u{1b}[1m", "a\u{9b}b"]),
            (
                Form::Seconds,
                vec![
                    "banana", "0", "-1", "nan", "inf", "1e300", "86401", "30s", " ",
                ],
            ),
            (Form::Count, vec!["-1", "1.5", "x", "99999999999"]),
            (Form::Buildkit, vec!["localhost", "http://x", "tcp://x"]),
            (Form::Containerd, vec!["run/c.sock", "tcp://x", "unix://x"]),
            (Form::Host, vec!["https://x.org", "a/b", "x:port", "a b"]),
        ];
        for (form, texts) in bad {
            for text in texts {
                let expected = form.check(text).unwrap_err();
                assert!(expected.starts_with("expected "), "{form:?} {text}");
            }
        }
    }
}
