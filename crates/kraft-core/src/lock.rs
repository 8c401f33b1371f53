//! `kraft.lock`: which components a project was resolved to.
//!
//! ```json
//! {
//!   "version": 1,
//!   "components": {
//!     "core/unikraft": {
//!       "asked": {"source": "https://…/unikraft.git", "version": "stable"},
//!       "git": "https://…/unikraft.git",
//!       "commit": "0123…"
//!     },
//!     "lib/lwip": {"asked": {"version": "stable"}, "archive": "https://…", "sha256": "89ab…"}
//!   },
//!   "images": {"unikraft.org/base:latest": "sha256:…"}
//! }
//! ```
//!
//! An entry counts as long as the Kraftfile still asks for the same. Directories are not pinned:
//! they are their own truth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The name of the file, beside the Kraftfile.
pub const FILE_NAME: &str = "kraft.lock";
/// The version of the format.
pub const VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The version of the format.
    pub version: u32,
    /// Components by kind and name: `lib/lwip`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, Entry>,
    /// Digests of images by their full names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            version: VERSION,
            components: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What the Kraftfile asked for.
    pub asked: Asked,
    /// What it came to.
    #[serde(flatten)]
    pub pin: Pin,
}

/// What a Kraftfile asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A channel, tag, branch or commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Exactly which source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pin {
    /// A commit of a Git repository.
    Git {
        /// Its URL.
        git: String,
        /// The whole hash.
        commit: String,
    },
    /// An archive.
    Archive {
        /// Its URL.
        archive: String,
        /// Its SHA-256, in hexadecimal digits.
        sha256: String,
    },
}

/// Returns whether a text is a SHA-256 in hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    is_hex(text, 64)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Pin {
    /// Returns whether its commit or sum is one: files are named after them.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Git { commit, .. } => is_hex(commit, 40),
            Self::Archive { sha256, .. } => is_sha256(sha256),
        }
    }

    /// Returns the part that a person compares: a short commit or a short sum.
    pub fn short(&self) -> &str {
        match self {
            Self::Git { commit: sum, .. } | Self::Archive { sha256: sum, .. } => {
                sum.get(..12).unwrap_or(sum)
            }
        }
    }
}

/// The text is no lock file that we read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no such document.
    #[error("it is no lock file: {0}")]
    Document(#[from] serde_json::Error),
    /// A sum or a commit in it is none.
    #[error("its entry for `{0}` has no whole commit or SHA-256")]
    Sum(String),
    /// It is of another version.
    #[error("it is of version {0}, and this kraft reads version {VERSION}")]
    Version(u32),
}

impl Lock {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.version != VERSION {
            return Err(Unreadable::Version(head.version));
        }
        let lock: Self = serde_json::from_str(text)?;
        match lock
            .components
            .iter()
            .find(|(_, entry)| !entry.pin.is_sound())
        {
            Some((name, _)) => Err(Unreadable::Sum(name.clone())),
            None => Ok(lock),
        }
    }

    /// Writes the text of a file: sorted, one value a line, so that two versions compare well.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lock {
        let git = Pin::Git {
            git: "https://x.org/u.git".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
        };
        let archive = Pin::Archive {
            archive: "https://x.org/l.tar.gz".into(),
            sha256: "89".repeat(32),
        };
        let entry = |pin| Entry {
            asked: Asked {
                source: None,
                version: Some("stable".into()),
            },
            pin,
        };
        Lock {
            components: BTreeMap::from([
                ("core/unikraft".to_owned(), entry(git)),
                ("lib/lwip".to_owned(), entry(archive)),
            ]),
            images: BTreeMap::from([("unikraft.org/base:latest".into(), "sha256:00".into())]),
            ..Lock::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = sample().text().unwrap();
        assert!(text.ends_with("}\n"));
        assert_eq!(Lock::parse(&text).unwrap(), sample());
        assert_eq!(sample().text().unwrap(), text);
    }

    #[test]
    fn another_version_and_nonsense_are_refused() {
        assert!(matches!(
            Lock::parse("{\"version\": 2}"),
            Err(Unreadable::Version(2))
        ));
        for text in ["", "{}", "[]", "{\"version\":1,\"components\":{\"a\":{}}}"] {
            assert!(
                matches!(Lock::parse(text), Err(Unreadable::Document(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_sum_that_is_none_is_refused() {
        let text = sample()
            .text()
            .unwrap()
            .replace(&"89".repeat(32), "../../x");
        assert!(matches!(Lock::parse(&text), Err(Unreadable::Sum(name)) if name == "lib/lwip"));
    }

    #[test]
    fn a_pin_is_shown_by_its_first_digits() {
        assert_eq!(
            sample().components["core/unikraft"].pin.short(),
            "0123456789ab"
        );
    }
}
