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
