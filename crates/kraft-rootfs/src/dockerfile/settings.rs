//! The configuration of an image, as far as a unikernel or a builder heeds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How an image wants to be run (OCI image specification, `config.md`, the object `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    /// The user, as name or number, with its group behind a colon.
    pub user: String,
    /// Variables as `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// What is run.
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments, or what is run where there is no entry point.
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Where it is run.
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The words before a command that is no list.
    #[serde(deserialize_with = "null_is_empty")]
    pub shell: Vec<String>,
    /// Instructions for those who build on it.
    #[serde(deserialize_with = "null_is_empty")]
    pub on_build: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    #[serde(deserialize_with = "null_is_empty")]
    config: Settings,
}

/// Go writes an empty list as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Settings {
    /// Reads the configuration of an image: the whole document, of which this is a part.
    pub fn of_image(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<Configuration>(json).map(|whole| whole.config)
    }

    /// Returns the value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let pairs = self.env.iter().filter_map(|pair| pair.split_once('='));
        pairs
            .rev()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// Sets a variable; one that is there keeps its place.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let old = self
            .env
            .iter_mut()
            .find(|old| old.split_once('=').is_some_and(|(own, _)| own == name));
        match old {
            Some(old) => *old = pair,
            None => self.env.push(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_a_daemon_is_read() {
        let json = br#"{"architecture":"amd64","config":{"Env":["A=1"],"Cmd":["x"],"Entrypoint":null,"WorkingDir":"/w","OnBuild":null,"ArgsEscaped":true}}"#;
        let settings = Settings::of_image(json).unwrap();
        assert_eq!(
            (settings.cmd, settings.working_dir.as_str()),
            (vec!["x".to_owned()], "/w")
        );
        assert_eq!(
            Settings::of_image(br#"{"config":null}"#).unwrap(),
            Settings::default()
        );
    }
}
