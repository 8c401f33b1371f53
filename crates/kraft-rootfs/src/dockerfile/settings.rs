//! The configuration of an image, as far as a unikernel or a builder uses it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Run configuration of an image (OCI image specification, `config.md`, the object `config`).
///
/// ```
/// use kraft_rootfs::dockerfile::Settings;
///
/// let json = br#"{"config": {"Entrypoint": ["/app"], "Cmd": null, "WorkingDir": "/srv"}}"#;
/// let settings = Settings::of_image(json)?;
/// assert_eq!(settings.entrypoint, ["/app"]);
/// assert!(settings.cmd.is_empty());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    /// The user: a name or number, optionally with `:GROUP`.
    #[serde(deserialize_with = "null_is_empty")]
    pub user: String,
    /// Variables as `NAME=VALUE`.
    #[serde(deserialize_with = "without_nulls")]
    pub env: Vec<String>,
    /// The program with its first arguments.
    #[serde(deserialize_with = "without_nulls")]
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program if there is no entry point.
    #[serde(deserialize_with = "without_nulls")]
    pub cmd: Vec<String>,
    /// The working directory.
    #[serde(deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "without_null_values")]
    pub labels: BTreeMap<String, String>,
    /// The shell for commands that are not lists.
    #[serde(deserialize_with = "without_nulls")]
    pub shell: Vec<String>,
    /// Instructions for builds on it (`ONBUILD`).
    #[serde(deserialize_with = "without_nulls")]
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

/// Reads a list without its `null` entries.
fn without_nulls<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let entries: Vec<Option<String>> = null_is_empty(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Reads a map without its `null` values.
fn without_null_values<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let entries: BTreeMap<String, Option<String>> = null_is_empty(deserializer)?;
    let entries = entries.into_iter();
    Ok(entries
        .filter_map(|(key, value)| Some((key, value?)))
        .collect())
}

impl Settings {
    /// Parses the configuration of an image: the whole document, of which this is a part.
    ///
    /// # Errors
    ///
    /// If the document is not valid JSON.
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

    /// Sets a variable; an existing one keeps its position.
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
        for nothing in [
            r#"{"config":null}"#,
            r#"{"config":{"User":null,"WorkingDir":null,"Env":[null],"Labels":{"a":null}}}"#,
            r#"{"config":{"Env":null,"Cmd":null,"Entrypoint":null,"Labels":null,"Shell":null}}"#,
        ] {
            let settings = Settings::of_image(nothing.as_bytes()).unwrap();
            assert_eq!(settings, Settings::default(), "{nothing}");
        }
    }
}
