//! Where things are kept. Nothing is created or moved here.

use std::path::{Path, PathBuf};

use super::env::Environment;
use crate::Error;

/// The directories of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Holds the configuration file.
    pub config: PathBuf,
    /// Holds what is kept: machines, caches, indexes.
    pub data: PathBuf,
}

impl Dirs {
    /// Finds the directories.
    ///
    /// The configuration: `--config-dir`, `KRAFTKIT_CONFIG_DIR`, `$XDG_CONFIG_HOME/kraftkit`,
    /// `~/.config/kraftkit`; the first that is given counts, whether it exists or not.
    /// The data: `$XDG_DATA_HOME/kraftkit`, `~/.local/share/kraftkit`.
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

/// Returns our place below a base directory of the XDG specification, which says that a
/// relative one is to be ignored.
fn xdg(env: &Environment, variable: &str, below_home: &str) -> PathBuf {
    env.path(variable)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| home(env).join(below_home))
        .join("kraftkit")
}

/// Refuses a home directory that would be another one in every directory.
pub fn check(env: &Environment) -> Result<(), Error> {
    match env.path("HOME") {
        Some(home) if home.is_relative() => Err(Error::RelativeHome(home)),
        Some(_) | None => Ok(()),
    }
}

/// Returns the home directory: `HOME`, else what the system has for this user.
pub fn home(env: &Environment) -> PathBuf {
    env.path("HOME")
        .or_else(|| etcetera::home_dir().ok())
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// Returns the path from the root; one that cannot be told (the current directory is gone)
/// stays as it is.
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
    fn data_lives_below_the_data_home() {
        let env = Environment::from([("HOME", "/h")]);
        assert_eq!(
            Dirs::find(None, &env).data,
            Path::new("/h/.local/share/kraftkit")
        );
    }
}
