//! Catalogs of components: their names, versions and download locations.
//!
//! An index file lists entries, or links to files that hold one entry each; KraftKit calls both
//! manifests. The format is compatible with KraftKit in both directions: files written here are
//! read by KraftKit, and vice versa.
//!
//! ```yaml
//! name: lwip
//! type: lib
//! origin: https://github.com/unikraft/lib-lwip.git
//! channels:
//! - {name: stable, default: true, resource: https://…/stable.tar.gz}
//! versions:
//! - {version: 0a1b2c3, type: gitsha, unikraft: 0.17.0, resource: https://…/0a1b2c3.tar.gz}
//! ```
//!
//! ```
//! use kraft_core::catalog::{Channel, Entry};
//! use kraft_core::component::Kind;
//!
//! let stable = Channel {
//!     name: "stable".to_owned(),
//!     default: true,
//!     latest: None,
//!     resource: Some("https://example.com/stable.tar.gz".to_owned()),
//!     sha256: None,
//! };
//! let entry = Entry {
//!     name: "lwip".to_owned(),
//!     kind: Kind::Lib,
//!     manifest: None,
//!     description: None,
//!     origin: None,
//!     provider: None,
//!     channels: vec![stable],
//!     versions: Vec::new(),
//! };
//! let release = entry.release(None)?;
//! assert_eq!(release.version, "stable");
//! assert!(release.moves);
//! assert!(entry.release(Some("0.1")).is_err());
//! # Ok::<(), kraft_core::catalog::ReleaseError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::component::Kind;
use crate::nearest::nearest;

/// An index file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// A display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the file was written (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<String>,
    /// The entries, or links to them.
    #[serde(rename = "manifests")]
    pub entries: Vec<Entry>,
}

/// One component of a catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name without the kind prefix.
    pub name: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Path or URL of a file with the remaining fields, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// A description for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it comes from: a Git URL, a directory, or the URL of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The type of the origin: `git`, `github`, `dir`, `manifest`, `index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Versions that move, such as branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Fixed versions, such as tags and commits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
}

/// A moving version: a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Name of the channel: `stable`.
    pub name: String,
    /// Whether it is the default where no version is named.
    #[serde(default)]
    pub default: bool,
    /// When it was last updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// URL or path of its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The SHA-256 of that archive, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A fixed version: a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Name of the version.
    pub version: String,
    /// URL or path of its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The SHA-256 of that archive, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The form of the version: `semver` or `gitsha`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// The Unikraft release it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unikraft: Option<String>,
}

/// Where to download a version of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release<'a> {
    /// The version's name.
    pub version: &'a str,
    /// URL or path of the archive.
    pub resource: Option<&'a str>,
    /// The SHA-256 of the archive, in hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// Whether the version can change over time: it is a channel.
    pub moves: bool,
}

/// The requested version was not found in an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No version was requested, and there is no default channel.
    #[error("it has no default version; it has {}", some(known))]
    Default {
        /// The versions that exist.
        known: Vec<String>,
    },
    /// The requested version does not exist.
    #[error("it has no version `{version}`{}; it has {}", meant(nearest.as_ref()), some(known))]
    Unknown {
        /// The requested version.
        version: String,
        /// The existing version most similar to it.
        nearest: Option<String>,
        /// The versions that exist.
        known: Vec<String>,
    },
}

fn meant(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn some(known: &[String]) -> String {
    const SHOWN: usize = 8;
    if known.is_empty() {
        return "none at all".to_owned();
    }
    let mut text = known
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

impl Entry {
    /// Finds a version: by its name, by the Unikraft release it is for (the last one listed), or by
    /// the name of a channel; without one, the default channel.
    pub fn release(&self, version: Option<&str>) -> Result<Release<'_>, ReleaseError> {
        let Some(wanted) = version else {
            return self
                .default_channel()
                .map(Release::of_channel)
                .ok_or_else(|| ReleaseError::Default {
                    known: self.known(),
                });
        };
        let bare = wanted
            .strip_prefix("RELEASE-")
            .or_else(|| wanted.strip_prefix('v'))
            .unwrap_or(wanted);
        let exact = self.versions.iter().find(|v| v.version == wanted);
        let by_release = || {
            let fits = |v: &&Version| v.unikraft.as_deref() == Some(bare);
            self.versions.iter().rfind(fits)
        };
        if let Some(found) = exact.or_else(by_release) {
            return Ok(Release::of_version(found));
        }
        if let Some(channel) = self.channels.iter().find(|c| c.name == wanted) {
            return Ok(Release::of_channel(channel));
        }
        if let Some(found) = self.versions.iter().find(|v| v.version == bare) {
            return Ok(Release::of_version(found));
        }
        let known = self.known();
        Err(ReleaseError::Unknown {
            nearest: nearest(wanted, known.iter().map(String::as_str)).map(ToOwned::to_owned),
            version: wanted.to_owned(),
            known,
        })
    }

    /// Returns the default channel.
    pub fn default_channel(&self) -> Option<&Channel> {
        let named = |name: &str| self.channels.iter().find(|c| c.name == name);
        self.channels
            .iter()
            .find(|channel| channel.default)
            .or_else(|| named("stable").filter(|_| named("staging").is_some()))
            .or(match self.channels.as_slice() {
                [only] => Some(only),
                _ => None,
            })
    }

    fn known(&self) -> Vec<String> {
        let channels = self.channels.iter().map(|c| c.name.clone());
        let versions = self
            .versions
            .iter()
            .rev()
            .map(|v| v.unikraft.clone().unwrap_or_else(|| v.version.clone()));
        let mut known: Vec<String> = Vec::new();
        for name in channels.chain(versions) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        known
    }
}

impl<'a> Release<'a> {
    fn of_channel(channel: &'a Channel) -> Self {
        Self {
            version: &channel.name,
            resource: channel.resource.as_deref(),
            sha256: channel.sha256.as_deref(),
            moves: true,
        }
    }

    fn of_version(version: &'a Version) -> Self {
        Self {
            version: &version.version,
            resource: version.resource.as_deref(),
            sha256: version.sha256.as_deref(),
            moves: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let channel = |name: &str| Channel {
            name: name.into(),
            default: false,
            latest: None,
            resource: Some(format!("https://x.org/{name}.tar.gz")),
            sha256: None,
        };
        let version = |version: &str, unikraft: Option<&str>| Version {
            version: version.into(),
            resource: None,
            sha256: None,
            form: None,
            unikraft: unikraft.map(ToOwned::to_owned),
        };
        Entry {
            name: "lwip".into(),
            kind: Kind::Lib,
            manifest: None,
            description: None,
            origin: None,
            provider: None,
            channels: vec![channel("staging"), channel("stable")],
            versions: vec![
                version("aaaaaaa", Some("0.16.0")),
                version("bbbbbbb", Some("0.17.0")),
                version("ccccccc", Some("0.17.0")),
                version("1.2.3", None),
            ],
        }
    }

    fn found(version: Option<&str>) -> String {
        entry().release(version).unwrap().version.to_owned()
    }

    #[test]
    fn versions_are_found_by_name_release_and_channel() {
        assert_eq!(found(None), "stable");
        assert_eq!(found(Some("staging")), "staging");
        assert_eq!(found(Some("aaaaaaa")), "aaaaaaa");
        assert_eq!(found(Some("0.17.0")), "ccccccc");
        assert_eq!(found(Some("RELEASE-0.16.0")), "aaaaaaa");
        assert_eq!(found(Some("v1.2.3")), "1.2.3");
    }

    #[test]
    fn unknown_versions_are_reported_with_the_known_ones() {
        let error = entry().release(Some("stabel")).unwrap_err().to_string();
        assert_eq!(
            error,
            "it has no version `stabel` (did you mean `stable`?); it has staging, stable, 1.2.3, \
             0.17.0, 0.16.0"
        );
        let mut entry = entry();
        entry.channels.remove(1);
        entry.channels.push(Channel {
            name: "dev".into(),
            ..entry.channels[0].clone()
        });
        assert!(matches!(
            entry.release(None),
            Err(ReleaseError::Default { .. })
        ));
    }
}
