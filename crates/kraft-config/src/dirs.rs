//! Paths of the configuration and the data. This module creates and moves nothing.
//!
//! ```
//! use std::path::Path;
//!
//! use kraft_config::dirs::Dirs;
//! use kraft_config::env::Environment;
//!
//! let env = Environment::from([("HOME", "/home/anna")]);
//! let dirs = Dirs::find(None, &env);
//! assert!(dirs.config_file().starts_with("/home/anna/.config"));
//! let other = Dirs::find(Some("/etc/kraft"), &env);
//! assert_eq!(other.config_file(), Path::new("/etc/kraft/config.yaml"));
//! ```

use std::path::{Path, PathBuf};

use super::env::Environment;
use crate::Error;

/// The directories of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Holds the configuration file.
    pub config: PathBuf,
    /// Holds persistent data: machines, caches, indexes.
    pub data: PathBuf,
}

impl Dirs {
    /// Finds the directories.
    ///
    /// The configuration: `--config-dir`, `KRAFTKIT_CONFIG_DIR`, `$XDG_CONFIG_HOME/kraftkit`,
    /// `~/.config/kraftkit`; the first one that is set is used, whether it exists or not. The data:
    /// `$XDG_DATA_HOME/kraftkit`, `~/.local/share/kraftkit`.
    pub fn find(flag: Option<&str>, env: &Environment) -> Self {
        let config = flag
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .or_else(|| env.path("KRAFTKIT_CONFIG_DIR"))
            .unwrap_or_else(|| xdg(env, "XDG_CONFIG_HOME", ".config"));
        Self {
            config: absolute(&config),
            data: absolute(&xdg(env, "XDG_DATA_HOME", ".local/share")),
        }
    }

    /// Returns the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.yaml")
    }
}

/// Returns kraft's directory below an XDG base directory. Relative base directories are ignored, as
/// the XDG specification demands.
fn xdg(env: &Environment, variable: &str, below_home: &str) -> PathBuf {
    env.path(variable)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| home(env).join(below_home))
        .join("kraftkit")
}

/// Returns an error if `HOME` is relative: it would change with the working directory.
pub fn check(env: &Environment) -> Result<(), Error> {
    match env.path("HOME") {
        Some(home) if home.is_relative() => Err(Error::RelativeHome(home)),
        Some(_) | None => Ok(()),
    }
}

/// Returns the home directory: `HOME`, else the one of the system's user database.
pub fn home(env: &Environment) -> PathBuf {
    env.path("HOME")
        .or_else(|| etcetera::home_dir().ok())
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// Returns the absolute path. The path is returned unchanged if the current directory is gone.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_home() {
        let env = Environment::from([
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/x"),
            ("KRAFTKIT_CONFIG_DIR", "/k"),
        ]);
        let config = |flag, env: &Environment| Dirs::find(flag, env).config_file();
        assert_eq!(config(Some("/f"), &env), Path::new("/f/config.yaml"));
        assert_eq!(config(None, &env), Path::new("/k/config.yaml"));
        let env = Environment::from([("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]);
        assert_eq!(config(None, &env), Path::new("/x/kraftkit/config.yaml"));
        let env = Environment::from([("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")]);
        assert_eq!(
            config(None, &env),
            Path::new("/h/.config/kraftkit/config.yaml")
        );
    }

    #[test]
    fn data_is_below_the_data_home() {
        let env = Environment::from([("HOME", "/h")]);
        assert_eq!(
            Dirs::find(None, &env).data,
            Path::new("/h/.local/share/kraftkit")
        );
    }
}
