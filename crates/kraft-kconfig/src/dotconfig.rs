//! `.config` files: the options that a kernel was, or is to be, built with.
//!
//! A line is `NAME=VALUE`, or `# NAME is not set`, which means `n`. Strings are in quotes, with `\`
//! before a `"` and a `\`; all other values are bare. The build system's reader is strict about
//! quotes: it drops strings without them, and numbers with them.

use std::collections::{BTreeMap, BTreeSet};

/// Options that record where a kernel was built, which are no features.
const PLACES: [&str; 3] = [
    "CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD_PATH",
    "CONFIG_UK_APP",
    "CONFIG_UK_BASE",
];
/// The prefix of every option name.
const PREFIX: &str = "CONFIG_";

/// The options of a `.config` file by name, values without quotes.
///
/// ```
/// use kraft_kconfig::DotConfig;
///
/// let mut config = DotConfig::parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S=\"x\"\n");
/// assert_eq!(config.value("CONFIG_S"), Some("x"));
/// assert!(config.is_not_set("CONFIG_B"));
/// config.set("CONFIG_A", "n");
/// assert!(config.text().contains("# CONFIG_A is not set\n"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotConfig(BTreeMap<String, Written>);

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// `# NAME is not set`.
    NotSet,
    /// Bare: `y`, a number.
    Bare(String),
    /// In quotes; stored without them.
    Quoted(String),
}

impl DotConfig {
    /// Parses a file: lines `CONFIG_NAME=VALUE` and `# CONFIG_NAME is not set`; other lines are
    /// ignored. The last line for an option wins.
    pub fn parse(text: &str) -> Self {
        let mut options = BTreeMap::new();
        for line in text.lines() {
            let line = line.trim_end_matches('\r').trim_start();
            if let Some(name) = not_set(line) {
                options.insert(name.to_owned(), Written::NotSet);
            } else if let Some((name, value)) = line.split_once('=')
                && name.starts_with(PREFIX)
            {
                options.insert(name.to_owned(), Written::read(value));
            }
        }
        Self(options)
    }

    /// Returns the value of an option that is set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Written::value)
    }

    /// Returns whether the text contains `# NAME is not set`, unlike an option that is absent.
    pub fn is_not_set(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Written::NotSet))
    }

    /// Sets an option, written as by [`defconfig_text`]: `n` becomes "not set".
    pub fn set(&mut self, name: impl Into<String>, value: &str) {
        self.0.insert(name.into(), Written::of(value));
    }

    /// Removes an option; returns whether it existed.
    pub fn unset(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Returns the options that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, written)| Some((name.as_str(), written.value()?)))
    }

    /// Returns all entries, by name.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&str, &Written)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Sets an option as written, for callers that know its type.
    pub(crate) fn write(&mut self, name: String, written: Written) {
        self.0.insert(name, written);
    }

    /// Formats the options so that [`DotConfig::parse`] reads them back: sorted, one line each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, written) in &self.0 {
            written.line(name, &mut text);
        }
        text
    }

    /// Returns the options as features of an image: `NAME=VALUE`, sorted, without those that
    /// contain directories of the build host.
    pub fn features(&self) -> Vec<String> {
        self.iter()
            .filter(|(name, _)| !PLACES.contains(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for DotConfig {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(options: I) -> Self {
        let mut config = Self::default();
        for (name, value) in options {
            config.set(name, value);
        }
        config
    }
}

impl Written {
    /// Derives how a value is written from its form, without the type of its option.
    fn of(value: &str) -> Self {
        let number = value.strip_prefix('-').unwrap_or(value);
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let hex = value
            .strip_prefix("0x")
            .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match value {
            "n" => Self::NotSet,
            "y" | "m" => Self::Bare(value.to_owned()),
            _ if digits || hex => Self::Bare(value.to_owned()),
            _ => Self::Quoted(value.to_owned()),
        }
    }

    fn read(text: &str) -> Self {
        match quoted(text) {
            Some(value) => Self::Quoted(value),
            None => Self::Bare(text.to_owned()),
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Self::NotSet => None,
            Self::Bare(value) | Self::Quoted(value) => Some(value),
        }
    }

    fn line(&self, name: &str, text: &mut String) {
        match self {
            Self::NotSet => {
                text.push_str("# ");
                text.push_str(name);
                text.push_str(" is not set");
            }
            Self::Bare(value) => {
                text.push_str(name);
                text.push('=');
                text.push_str(value);
            }
            Self::Quoted(value) => {
                text.push_str(name);
                text.push('=');
                text.push_str(&in_quotes(value));
            }
        }
        text.push('\n');
    }
}

/// An option that differs between two configurations. `None` means not set, or `n`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The option, with its prefix.
    pub name: String,
    /// Its value in the first configuration.
    pub before: Option<String>,
    /// Its value in the second.
    pub after: Option<String>,
}

/// Returns the differences between two configurations, by name. Not set, `n` and absent are equal.
pub fn diff(before: &DotConfig, after: &DotConfig) -> Vec<Change> {
    let value = |config: &DotConfig, name: &str| {
        let value = config.value(name).filter(|value| *value != "n");
        value.map(str::to_owned)
    };
    let names: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    names
        .into_iter()
        .map(|name| Change {
            name: name.clone(),
            before: value(before, name),
            after: value(after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// Formats options as input for KConfig: sorted, one line each.
///
/// Without the types of the options, the form of a value decides: `n` becomes "not set"; `y`, `m`,
/// decimal numbers and `0x…` are bare; everything else is a quoted string. A string option whose
/// value looks like a number is lost; with a [`Tree`](super::language::Tree) use its method
/// instead.
pub fn defconfig_text<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    options.into_iter().collect::<DotConfig>().text()
}

/// Quotes a string as KConfig does. A line break would begin another option, so it becomes a space.
pub(crate) fn in_quotes(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' | '\r' | '\0' => text.push(' '),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Returns the name in a line `# CONFIG_NAME is not set`.
fn not_set(line: &str) -> Option<&str> {
    let name = line.strip_prefix("# ")?.strip_suffix(" is not set")?;
    let plain = name.bytes().all(|b| b.is_ascii_graphic());
    (name.starts_with(PREFIX) && plain).then_some(name)
}

/// Returns the text between the quotes of a value; text after the second quote is ignored.
fn quoted(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut value = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '"' => return Some(value),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_the_set_options_without_build_directories() {
        let config = DotConfig::parse(
            "#\n# comment\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_UK_NAME=\"a \\\"q\\\"\"\n\
             CONFIG_UK_APP=\"/home/me\"\nCONFIG_A=0x10\n\
             CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD_PATH=\"/home/me/x.cpio\"\n\nnonsense\n",
        );
        assert_eq!(config.value("CONFIG_UK_NAME"), Some("a \"q\""));
        assert_eq!(config.value("CONFIG_C"), None);
        assert!(config.is_not_set("CONFIG_C") && !config.is_not_set("CONFIG_D"));
        assert_eq!(
            config.features(),
            ["CONFIG_A=0x10", "CONFIG_B=y", "CONFIG_UK_NAME=a \"q\""]
        );
    }

    #[test]
    fn text_is_sorted_and_quoted_by_the_form_of_values() {
        let text = defconfig_text([
            ("E", "a \"q\" \\ b"),
            ("B", "n"),
            ("A", "y"),
            ("C", "64"),
            ("D", "0x10"),
            ("F", "-3"),
            ("G", "m"),
            ("H", ""),
            ("I", "0x"),
            ("J", "-"),
        ]);
        assert_eq!(
            text,
            "A=y\n# B is not set\nC=64\nD=0x10\nE=\"a \\\"q\\\" \\\\ b\"\nF=-3\nG=m\nH=\"\"\n\
             I=\"0x\"\nJ=\"-\"\n"
        );
    }

    #[test]
    fn line_breaks_in_values_cannot_inject_options() {
        let text = defconfig_text([("CONFIG_A", "x\nCONFIG_B=y")]);
        assert_eq!(DotConfig::parse(&text).value("CONFIG_B"), None, "{text}");
    }

    #[test]
    fn formatted_options_are_read_back() {
        let mut config = DotConfig::default();
        for (name, value) in [
            ("CONFIG_A", "\\\"\\\\"),
            ("CONFIG_B", "n"),
            ("CONFIG_C", "7"),
        ] {
            config.set(name, value);
        }
        assert_eq!(DotConfig::parse(&config.text()), config);
        assert!(config.unset("CONFIG_B") && !config.unset("CONFIG_B"));
        assert_eq!(config.text(), "CONFIG_A=\"\\\\\\\"\\\\\\\\\"\nCONFIG_C=7\n");
    }

    #[test]
    fn absent_unset_and_n_are_equal() {
        let before = DotConfig::parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=1\n");
        let after = DotConfig::parse("CONFIG_A=n\nCONFIG_C=2\nCONFIG_D=\"x\"\n");
        let names: Vec<_> = diff(&before, &after).into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["CONFIG_A", "CONFIG_C", "CONFIG_D"]);
    }
}
