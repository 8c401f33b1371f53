//! `kraft.lock`: the exact sources that a project's components were resolved to.
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
//! An entry is valid while the Kraftfile still requests the same source and version. Directories
//! are not pinned.
//!
//! ```
//! use kraft_core::lock::{Asked, Entry, Lock, Pin};
//!
//! let pin = Pin::Git {
//!     git: "https://github.com/unikraft/unikraft.git".to_owned(),
//!     commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
//! };
//! assert!(pin.is_sound());
//! let asked = Asked { source: None, version: Some("stable".to_owned()) };
//! let mut lock = Lock::default();
//! lock.components.insert("core/unikraft".to_owned(), Entry { asked, pin });
//!
//! let read = Lock::parse(&lock.text()?)?;
//! assert_eq!(read.components.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// File name, beside the Kraftfile.
pub const FILE_NAME: &str = "kraft.lock";
/// The version of the format.
pub const VERSION: u32 = 1;

/// The content of a lock file.
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

/// The pinned source of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What the Kraftfile requested.
    pub asked: Asked,
    /// What it was resolved to.
    #[serde(flatten)]
    pub pin: Pin,
}

/// The source that a Kraftfile requests.
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

/// An exact source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pin {
    /// A commit of a Git repository.
    Git {
        /// Its URL.
        git: String,
        /// The full hash.
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

/// Returns whether a text is a SHA-256 in 64 hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    is_hex(text, 64)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Pin {
    /// Returns whether its commit or checksum is valid; files are named after it.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Git { commit, .. } => is_hex(commit, 40),
            Self::Archive { sha256, .. } => is_sha256(sha256),
        }
    }

    /// Returns the first digits of the commit or checksum, for users.
    pub fn short(&self) -> &str {
        match self {
            Self::Git { commit: sum, .. } | Self::Archive { sha256: sum, .. } => {
                sum.get(..12).unwrap_or(sum)
            }
        }
    }
}

/// Why a text cannot be read as a lock file.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not valid JSON of this format.
    #[error("it is not a valid lock file: {0}")]
    Document(#[from] serde_json::Error),
    /// An entry has an invalid commit or checksum.
    #[error("its entry for `{0}` has an invalid commit or SHA-256")]
    Sum(String),
    /// It has an unsupported version.
    #[error("its version {0} is not supported: expected version {VERSION}")]
    Version(u32),
}

impl Lock {
    /// Parses the text of a lock file.
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

    /// Formats the file: sorted, one value per line, so that diffs are small.
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
    fn a_written_lock_file_is_read_back() {
        let text = sample().text().unwrap();
        assert!(text.ends_with("}\n"));
        assert_eq!(Lock::parse(&text).unwrap(), sample());
        assert_eq!(sample().text().unwrap(), text);
    }

    #[test]
    fn unsupported_versions_and_invalid_files_are_rejected() {
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
    fn invalid_checksums_are_rejected() {
        let text = sample()
            .text()
            .unwrap()
            .replace(&"89".repeat(32), "../../x");
        assert!(matches!(Lock::parse(&text), Err(Unreadable::Sum(name)) if name == "lib/lwip"));
    }

    #[test]
    fn pins_are_shortened_for_users() {
        assert_eq!(
            sample().components["core/unikraft"].pin.short(),
            "0123456789ab"
        );
    }
}
