//! Image references: `[HOST[:PORT]/]PATH[:TAG][@sha256:HEX]`.
//!
//! The grammar of a path and a tag is that of the OCI distribution specification (1.1, "Pulling
//! manifests"). As in Docker and KraftKit, the first part of the path is a registry if it contains
//! a `.` or a `:`, or is `localhost`.
//!
//! A reference without a registry stays so until its [qualified](Reference::qualified) form is
//! requested: locally it matches an image of any registry.
//!
//! ```
//! use kraft_core::reference::Reference;
//!
//! let typed: Reference = "nginx:1.25".parse()?;
//! assert_eq!((typed.registry(), typed.tag()), (None, Some("1.25")));
//! assert_eq!(typed.qualified().to_string(), "unikraft.org/nginx:1.25");
//!
//! let other: Reference = "localhost:5000/team/app".parse()?;
//! assert_eq!(other.host(), "localhost:5000");
//! assert_eq!(other.version(), "latest");
//! # Ok::<(), kraft_core::reference::ReferenceError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The default registry.
pub const DEFAULT_REGISTRY: &str = "unikraft.org";
/// The default tag, for references with neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
/// Maximum length of a repository path, in bytes.
const LONGEST_PATH: usize = 255;
/// Maximum length of a tag, in bytes.
const LONGEST_TAG: usize = 128;

/// A content digest: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest for a SHA-256 hash.
    pub fn of_sha256(hash: [u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        // Each blob of a store has its digest compared: `{:02x}` takes longer than the hash of a document.
        for byte in hash {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        Self(text)
    }

    /// Returns the whole text, including the algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hexadecimal digits only.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// Returns the first digits, for listings.
    pub fn short(&self) -> &str {
        self.hex().get(..7).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| ReferenceError::Digest(text.to_owned()))?;
        if algorithm != "sha256" {
            return Err(ReferenceError::Algorithm(algorithm.to_owned()));
        }
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 64 || !hex.bytes().all(lower_hex) {
            return Err(ReferenceError::Digest(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An image reference, as typed or as stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Returns the registry, `HOST[:PORT]`, if there is one.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// Returns the path without the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the complete reference: with the default registry and, without tag and digest, the
    /// default tag. Images are stored under such names only.
    #[must_use]
    pub fn qualified(&self) -> Self {
        let mut full = self.clone();
        full.registry
            .get_or_insert_with(|| DEFAULT_REGISTRY.to_owned());
        if full.tag.is_none() && full.digest.is_none() {
            full.tag = Some(DEFAULT_TAG.to_owned());
        }
        full
    }

    /// Returns the registry of the complete reference.
    pub fn host(&self) -> &str {
        self.registry.as_deref().unwrap_or(DEFAULT_REGISTRY)
    }

    /// Returns `HOST/PATH` of the complete reference, without tag and digest.
    pub fn path(&self) -> String {
        format!("{}/{}", self.host(), self.repository)
    }

    /// Returns a reference to the same repository by digest.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest.clone()),
            ..self.clone()
        }
    }

    /// Returns the version: the digest, otherwise the tag of the complete reference.
    pub fn version(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(typed: &str) -> Result<Self, ReferenceError> {
        let text = typed.strip_prefix("oci://").unwrap_or(typed);
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceError::Scheme(scheme.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(check_host(first)?), rest),
            _ => (None, rest),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        check_path(path)?;
        let (registry, repository) = docker_hub(registry, path);
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        if let Some(registry) = &self.registry {
            text.push_str(registry);
            text.push('/');
        }
        text.push_str(&self.repository);
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        f.pad(&text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns whether the first part of a path is a registry.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

/// Docker Hub's registry has another host name, and its official images have no owner.
fn docker_hub(registry: Option<String>, path: &str) -> (Option<String>, String) {
    match registry.as_deref() {
        Some("docker.io" | "index.docker.io" | "registry-1.docker.io") => {
            let official = !path.contains('/');
            let prefix = if official { "library/" } else { "" };
            (
                Some("index.docker.io".to_owned()),
                format!("{prefix}{path}"),
            )
        }
        _ => (registry, path.to_owned()),
    }
}

/// Checks `HOST[:PORT]`, including `[IPv6][:PORT]`, and returns it in lower case.
pub fn check_host(text: &str) -> Result<String, ReferenceError> {
    let bad = || ReferenceError::Host(text.to_owned());
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or_else(bad)?;
            let _: std::net::Ipv6Addr = address.parse().map_err(|_| bad())?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(bad)?),
            };
            (None, port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(text), None),
        },
    };
    if let Some(port) = port
        && (port.is_empty()
            || !port.bytes().all(|b| b.is_ascii_digit())
            || port.parse::<u16>().is_err())
    {
        return Err(bad());
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if let Some(name) = name
        && (name.len() > 253 || !name.split('.').all(label_is_good))
    {
        return Err(bad());
    }
    Ok(text.to_ascii_lowercase())
}

fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if path.len() > LONGEST_PATH {
        return Err(ReferenceError::TooLong(path.len()));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(path.to_owned()));
    }
    if path.split('/').all(part_is_good) {
        Ok(())
    } else {
        Err(ReferenceError::Path(path.to_owned()))
    }
}

/// Returns whether a path part is valid: lower-case letters and digits, joined by `.`, `_`, `__` or
/// any number of `-`.
fn part_is_good(part: &str) -> bool {
    let mut separator = String::new();
    let mut any = false;
    for c in part.chars() {
        match c {
            'a'..='z' | '0'..='9' => {
                let joined = match separator.as_str() {
                    "" | "." | "_" | "__" => true,
                    run => run.chars().all(|c| c == '-'),
                };
                if !joined || (!any && !separator.is_empty()) {
                    return false;
                }
                any = true;
                separator.clear();
            }
            '.' | '_' | '-' => separator.push(c),
            _ => return false,
        }
    }
    any && separator.is_empty()
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    let good = bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
        && tag.len() <= LONGEST_TAG;
    if good {
        Ok(())
    } else {
        Err(ReferenceError::Tag(tag.to_owned()))
    }
}

/// Why an image reference is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is empty, or nothing precedes the tag.
    #[error("the name of the image is empty")]
    Empty,
    /// It begins with a URL scheme: `https://…`.
    #[error("an image reference has no `{0}://`: expected HOST/PATH[:TAG]")]
    Scheme(String),
    /// The first part looks like a registry and is not a valid one.
    #[error("`{0}` is not a valid registry: expected HOST or HOST:PORT")]
    Host(String),
    /// The path is too long; its length in bytes.
    #[error("the path has {0} characters, and at most 255 are allowed")]
    TooLong(usize),
    /// It contains upper-case letters.
    #[error("`{0}` contains upper-case letters: image names are lower-case")]
    UpperCase(String),
    /// The path contains another invalid character, or one in the wrong position.
    #[error(
        "`{0}` is not a valid image path: expected lower-case letters and digits, joined by `.`, `_`, `-` and `/`"
    )]
    Path(String),
    /// The tag is invalid.
    #[error(
        "`{0}` is not a valid tag: expected up to 128 letters, digits, `_`, `.` and `-`, the first of them a letter, a \
         digit or `_`"
    )]
    Tag(String),
    /// The digest is invalid.
    #[error(
        "`{0}` is not a valid digest: expected `sha256:` and 64 hexadecimal digits in lower case"
    )]
    Digest(String),
    /// The hash algorithm is not supported.
    #[error("digests by `{0}` are not supported: expected `sha256:` and 64 hexadecimal digits")]
    Algorithm(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "67ca3871fc380b31798fd54e83f58b56cf118f4cac56ae1213bef1be1480d9ac";

    fn full(text: &str) -> String {
        let parsed: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        parsed.qualified().to_string()
    }

    #[test]
    fn defaults_are_added() {
        for (typed, expected) in [
            ("nginx", "unikraft.org/nginx:latest"),
            ("nginx:1.25", "unikraft.org/nginx:1.25"),
            ("my/app", "unikraft.org/my/app:latest"),
            ("unikraft.org/nginx", "unikraft.org/nginx:latest"),
            ("oci://unikraft.org/nginx:x", "unikraft.org/nginx:x"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("LOCALHOST:5000/x", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("docker.io/nginx", "index.docker.io/library/nginx:latest"),
            ("docker.io/me/nginx", "index.docker.io/me/nginx:latest"),
            ("ghcr.io/a__b/c--d", "ghcr.io/a__b/c--d:latest"),
        ] {
            assert_eq!(full(typed), expected, "{typed}");
        }
        let by_digest = format!("host.example/a@sha256:{HEX}");
        assert_eq!(full(&by_digest), by_digest);
        let both = format!("a:1@sha256:{HEX}");
        assert_eq!(full(&both), format!("unikraft.org/{both}"));
    }

    #[test]
    fn the_reference_is_kept_as_typed() {
        for typed in ["nginx", "a/b:c", "localhost:5000/x"] {
            assert_eq!(typed.parse::<Reference>().unwrap().to_string(), typed);
        }
        assert_eq!("nginx".parse::<Reference>().unwrap().registry(), None);
    }

    #[test]
    fn invalid_references_are_rejected_with_a_reason() {
        use ReferenceError as E;
        for (typed, expected) in [
            ("", E::Empty),
            (":x", E::Empty),
            ("a.example/", E::Empty),
            ("https://a.example/b", E::Scheme("https".into())),
            ("Nginx", E::UpperCase("Nginx".into())),
            ("a//b", E::Path("a//b".into())),
            ("../etc", E::Host("..".into())),
            ("a/../etc", E::Path("a/../etc".into())),
            ("-a", E::Path("-a".into())),
            ("a..b", E::Path("a..b".into())),
            ("a b", E::Path("a b".into())),
            ("a:", E::Tag(String::new())),
            ("a:.x", E::Tag(".x".into())),
            ("host:99999/a", E::Host("host:99999".into())),
            ("host:/a", E::Host("host:".into())),
            ("a@sha256:12", E::Digest("sha256:12".into())),
            ("a@md5:12", E::Algorithm("md5".into())),
            ("a@", E::Digest(String::new())),
        ] {
            assert_eq!(typed.parse::<Reference>(), Err(expected), "{typed}");
        }
        assert_eq!("a".repeat(256).parse::<Reference>(), Err(E::TooLong(256)));
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
    }
}
