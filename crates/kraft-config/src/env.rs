//! The environment, read once. No other module reads it.
//!
//! ```
//! use kraft_config::env::Environment;
//!
//! let env = Environment::from([("NO_PROXY", "localhost"), ("HTTP_PROXY", "")]);
//! assert_eq!(env.text("NO_PROXY").as_deref(), Some("localhost"));
//! assert_eq!(env.text("HTTP_PROXY"), None, "empty counts as unset");
//! assert!(env.raw("HTTP_PROXY").is_some());
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The environment variables of the `kraft` process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Captures the environment of this process.
    pub fn capture() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
        }
    }

    /// Returns all variables, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the raw value of a variable, if it is set.
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// Returns a variable that is not empty. An empty variable counts as unset, as in KraftKit;
    /// bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name)
            .filter(|value| !value.is_empty())
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns a variable that is not empty, as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}
