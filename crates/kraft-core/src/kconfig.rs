//! What a kernel was built with: the text of a `.config` file.

use std::collections::BTreeMap;

/// Options that say where a kernel was built, and nothing about what it can do.
const PLACES: [&str; 2] = ["CONFIG_UK_APP", "CONFIG_UK_BASE"];

/// The options of a `.config` file by name, values without their quotes. Options that are not set
/// are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotConfig(BTreeMap<String, String>);

impl DotConfig {
    /// Reads the text of a file: lines `CONFIG_NAME=VALUE`; everything else is passed over.
    pub fn parse(text: &str) -> Self {
        let mut options = BTreeMap::new();
        for line in text.lines() {
            let Some((name, value)) = line.trim().split_once('=') else {
                continue;
            };
            if name.starts_with("CONFIG_") {
                options.insert(name.to_owned(), unquoted(value));
            }
        }
        Self(options)
    }

    /// Returns the value of an option that is set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the options that are set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the options as the features of an image: `NAME=VALUE`, sorted, without those that
    /// name directories of the computer it was built on.
    pub fn features(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| !PLACES.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// Writes options as a text that KConfig starts from: sorted, one line each.
pub fn defconfig_text<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeMap<&str, &str> = options.into_iter().collect();
    let mut text = String::new();
    for (name, value) in sorted {
        let number = value.strip_prefix('-').unwrap_or(value);
        let bare = matches!(value, "y" | "m")
            || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            || value
                .strip_prefix("0x")
                .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if value == "n" {
            text.push_str(&format!("# {name} is not set\n"));
        } else if bare {
            text.push_str(&format!("{name}={value}\n"));
        } else {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("{name}=\"{escaped}\"\n"));
        }
    }
    text
}

fn unquoted(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_options_are_read_and_places_left_out() {
        let config = DotConfig::parse(
            "#\n# comment\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_UK_NAME=\"a \\\"q\\\"\"\n\
             CONFIG_UK_APP=\"/home/me\"\nCONFIG_A=0x10\n\nnonsense\n",
        );
        assert_eq!(config.value("CONFIG_UK_NAME"), Some("a \"q\""));
        assert_eq!(config.value("CONFIG_C"), None);
        assert_eq!(
            config.features(),
            ["CONFIG_A=0x10", "CONFIG_B=y", "CONFIG_UK_NAME=a \"q\""]
        );
    }
}
