//! Components of a unikernel: their kinds and names.
//!
//! ```text
//! lwip            lib/lwip:stable     app-elfloader:RELEASE-0.17.0     unikraft:stable
//! [KIND(/|-)]NAME[:VERSION]           lib-*  (a pattern)
//! ```
//!
//! ```
//! use kraft_core::component::{Kind, Name, matches, of_source};
//!
//! let name: Name = "lib/lwip:stable".parse()?;
//! assert_eq!((name.kind, name.name.as_str()), (Some(Kind::Lib), "lwip"));
//! assert_eq!(name.version.as_deref(), Some("stable"));
//!
//! let source = "https://github.com/unikraft/lib-lwip.git";
//! assert_eq!(of_source(source), (Some(Kind::Lib), "lwip"));
//! assert!(matches("lw*", "lwip"));
//! # Ok::<(), kraft_core::component::InvalidName>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The Unikraft core.
    Core,
    /// An external architecture.
    Arch,
    /// An external platform.
    Plat,
    /// A library.
    Lib,
    /// An application or an application template.
    App,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Core, Self::Arch, Self::Plat, Self::Lib, Self::App];

    /// Returns its name as used in Kraftfiles and catalogs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Arch => "arch",
            Self::Plat => "plat",
            Self::Lib => "lib",
            Self::App => "app",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of a component, possibly incomplete or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its kind, if the name has a prefix.
    pub kind: Option<Kind>,
    /// The name itself; `*` matches any text.
    pub name: String,
    /// A channel, tag, branch or commit, if the name has one.
    pub version: Option<String>,
}

/// The text is not a valid component name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid component name: expected [lib/]NAME[:VERSION]")]
pub struct InvalidName(pub String);

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName(text.to_owned());
        let (name, version) = match text.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let is_version = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
        };
        if version.is_some_and(|version| !is_version(version)) {
            return Err(bad());
        }
        let (kind, name) = split(name);
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-*".contains(&b));
        if !is_name {
            return Err(bad());
        }
        let kind = if name.eq_ignore_ascii_case("unikraft") {
            Some(Kind::Core)
        } else {
            kind
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
            version: version.map(ToOwned::to_owned),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) if kind != Kind::Core => write!(f, "{kind}/{}", self.name)?,
            _ => f.write_str(&self.name)?,
        }
        match &self.version {
            Some(version) => write!(f, ":{version}"),
            None => Ok(()),
        }
    }
}

/// Splits the kind prefix from a name: `lib-lwip`, `libs/lwip`.
pub fn split(text: &str) -> (Option<Kind>, &str) {
    for kind in [Kind::Lib, Kind::App, Kind::Plat, Kind::Arch] {
        let word = kind.name();
        let Some(start) = text.get(..word.len()) else {
            continue;
        };
        if !start.eq_ignore_ascii_case(word) {
            continue;
        }
        let rest = text.get(word.len()..).unwrap_or_default();
        let rest_of_plural = rest.strip_prefix(['s', 'S']).unwrap_or(rest);
        for rest in [rest, rest_of_plural] {
            if let Some(name) = rest
                .strip_prefix(['-', '/'])
                .filter(|name| !name.is_empty())
            {
                return (Some(kind), name);
            }
        }
    }
    (None, text)
}

/// Returns kind and name of a component by its source: the last path segment without prefix and
/// extension.
///
/// `https://github.com/unikraft/lib-lwip.git` is the library `lwip`.
pub fn of_source(source: &str) -> (Option<Kind>, &str) {
    let source = source.split_once('?').map_or(source, |(source, _)| source);
    let last = source
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or(source);
    let bare = [".git", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tar"]
        .iter()
        .find_map(|ending| last.strip_suffix(ending))
        .unwrap_or(last);
    let (kind, name) = split(bare);
    if name.eq_ignore_ascii_case("unikraft") {
        return (Some(Kind::Core), name);
    }
    (kind, name)
}

/// Returns whether a name matches a pattern in which `*` matches any text.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    let mut rest = rest;
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_name_and_version_are_parsed() {
        for (text, kind, name, version) in [
            ("nginx:1.21.6", None, "nginx", Some("1.21.6")),
            ("lib/musl:stable", Some(Kind::Lib), "musl", Some("stable")),
            ("Libs-lwip", Some(Kind::Lib), "lwip", None),
            ("app-elfloader", Some(Kind::App), "elfloader", None),
            (
                "unikraft:RELEASE-0.17.0",
                Some(Kind::Core),
                "unikraft",
                Some("RELEASE-0.17.0"),
            ),
            ("lib-*", Some(Kind::Lib), "*", None),
            ("libelf", None, "libelf", None),
            ("library", None, "library", None),
        ] {
            let parsed: Name = text.parse().unwrap();
            assert_eq!(
                (parsed.kind, parsed.name.as_str(), parsed.version.as_deref()),
                (kind, name, version),
                "{text}"
            );
        }
        for text in [
            "",
            "unikraft.org/nginx",
            "a b",
            "x:",
            ":y",
            "lib/",
            "a/b",
            "x:a/b",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_derived_from_sources() {
        for (source, kind, name) in [
            (
                "https://github.com/unikraft/lib-lwip.git",
                Some(Kind::Lib),
                "lwip",
            ),
            (
                "git@github.com:unikraft/app-elfloader.git",
                Some(Kind::App),
                "elfloader",
            ),
            (
                "https://x.org/unikraft.git?branch=staging",
                Some(Kind::Core),
                "unikraft",
            ),
            ("/src/lib-x/", Some(Kind::Lib), "x"),
            ("https://x.org/y.tar.gz", None, "y"),
        ] {
            assert_eq!(of_source(source), (kind, name), "{source}");
        }
    }

    #[test]
    fn patterns_match_with_stars_anywhere() {
        assert!(matches("*", "lwip"));
        assert!(matches("l*p", "lwip"));
        assert!(matches("lwip", "lwip"));
        assert!(matches("*w*", "lwip"));
        assert!(!matches("lw", "lwip"));
        assert!(!matches("l*x", "lwip"));
        assert!(!matches("lwip*lwip", "lwip"));
    }
}
