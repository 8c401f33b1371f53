//! The configuration: locates, reads and merges its layers, and edits the file with its comments.
//!
//! ```text
//! --flag  ─┐
//! $KRAFT…  ├─ layers::merge ─► every key with value and origin ─► Config
//! file     │
//! default ─┘
//! ```
//!
//! Reading never creates the file. The first `kraft config set` creates it, readable by its owner
//! only.
//!
//! ```
//! use kraft_config::env::Environment;
//! use kraft_config::{Config, Flags};
//!
//! let env = Environment::from([("HOME", "/nonexistent"), ("KRAFTKIT_LOG_LEVEL", "debug")]);
//! let flags = Flags {
//!     values: vec![("http_timeout", "90".to_owned())],
//!     ..Flags::default()
//! };
//! let config = Config::load(&flags, env)?;
//! assert_eq!(config.text("log.level"), Some("debug"));
//! assert_eq!(config.settings().http_timeout.as_secs(), 90);
//! # Ok::<(), kraft_config::Error>(())
//! ```

pub mod dirs;
pub mod env;
pub mod forms;
pub mod keys;
pub mod layers;
mod settings;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::problem::{Problem, Span};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::dirs::Dirs;
use crate::env::Environment;
use crate::layers::{Bases, LayerError, Layers, Value};
pub use crate::settings::Settings;
use kraft_core::problem::Text;

/// Maximum size of the configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// An error while the configuration is read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `HOME` is relative, so it would change with the working directory.
    #[error("`HOME` is `{}`, which is not an absolute path", .0.display())]
    RelativeHome(PathBuf),
    /// A flag or an environment variable has an invalid value.
    #[error("{0}")]
    Value(String),
    /// The file has errors.
    #[error("the configuration file `{}` has errors", .text.name)]
    File {
        /// The text of the file.
        text: Text,
        /// The errors, with spans.
        problems: Vec<Problem>,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(fs::Error),
    /// The file cannot be written or locked.
    #[error(transparent)]
    Write(#[from] fs::Error),
}

/// The global flags of the command line, by the name of their key, and `--config-dir`.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Key names with their values.
    pub values: Vec<(&'static str, String)>,
    /// The directory of the configuration file.
    pub config_dir: Option<String>,
}

/// The effective configuration.
#[derive(Debug)]
pub struct Config {
    /// The environment.
    pub env: Environment,
    /// The directories of the configuration and the data.
    pub dirs: Dirs,
    /// Every key with its value and origin.
    pub layers: Layers,
    /// The text of the file, if there is one.
    pub text: Option<String>,
}

impl Config {
    /// Reads the file, if there is one, and merges the layers.
    pub fn load(flags: &Flags, env: Environment) -> Result<Self, Error> {
        dirs::check(&env)?;
        let dirs = Dirs::find(flags.config_dir.as_deref(), &env);
        let path = dirs.config_file();
        let text = read(&path)?;
        let fail = |problems| {
            let text = Text {
                name: path.display().to_string(),
                text: text.clone().unwrap_or_default(),
            };
            Error::File { text, problems }
        };
        let root = match &text {
            Some(text) => kraft_core::yaml::document::parse(text).map_err(fail)?,
            None => None,
        };
        let file = root
            .as_ref()
            .zip(text.as_deref())
            .map(|(root, text)| layers::File {
                path: &path,
                text,
                root,
            });
        let bases = Bases {
            home: dirs::home(&env),
            data: dirs.data.clone(),
        };
        let layers = layers::merge(&flags.values, &env, file.as_ref(), &bases).map_err(
            |fault| match fault {
                LayerError::Typed(sentence) => Error::Value(sentence),
                LayerError::File(problems) => fail(problems),
            },
        )?;
        Ok(Self {
            env,
            dirs,
            layers,
            text,
        })
    }

    /// Returns the built-in configuration with flags and environment, for commands that must work
    /// with any file. Invalid flags and variables are ignored, too.
    pub fn without_file(flags: &Flags, env: Environment) -> Self {
        let dirs = Dirs::find(flags.config_dir.as_deref(), &env);
        let bases = Bases {
            home: dirs::home(&env),
            data: dirs.data.clone(),
        };
        let nothing = || Layers {
            settings: Vec::new(),
            credentials: Vec::new(),
            unknown: Vec::new(),
        };
        let layers = layers::merge(&flags.values, &env, None, &bases)
            .or_else(|_| layers::merge(&[], &Environment::default(), None, &bases))
            .unwrap_or_else(|_| nothing());
        Self {
            env,
            dirs,
            layers,
            text: None,
        }
    }

    /// Returns a switch.
    pub fn switch(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Switch(true)))
    }

    /// Returns a text that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) if !text.is_empty() => Some(text),
            Value::Text(_) | Value::Switch(_) | Value::List(_) => None,
        }
    }

    /// Returns a list.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(items)) => items,
            Some(Value::Switch(_) | Value::Text(_)) | None => &[],
        }
    }

    /// Returns the package indexes and registries.
    pub fn manifests(&self) -> &[String] {
        self.list("unikraft.manifests")
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let named = |setting: &&layers::Setting| setting.key.name == name;
        self.layers.settings.iter().find(named).map(|s| &s.value)
    }
}

/// Reads the configuration file; `None` if it does not exist.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    let bytes = match fs::read_file(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(Error::Unreadable(error));
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let problem = Problem::error("the configuration is not UTF-8 text").at(Span {
                start,
                end: start + 1,
            });
            let text = Text {
                name: path.display().to_string(),
                text,
            };
            Err(Error::File {
                text,
                problems: vec![problem],
            })
        }
    }
}

/// Writes the configuration file atomically; a new one is readable by its owner only.
pub fn write(path: &Path, text: &str) -> Result<(), fs::Error> {
    use std::io::Write as _;

    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir, 0o700)?;
    }
    let mut file = fs::NewFile::with_mode(path, 0o600)?;
    file.write_all(text.as_bytes())
        .map_err(fs::Error::on("write", path))?;
    file.commit()
}

/// Edits the file and writes it; returns whether it changed.
pub fn change(
    config: &Config,
    path: &[Cow<'_, str>],
    edit: impl Fn(&str, &[Cow<'_, str>]) -> Result<Option<String>, Vec<Problem>>,
) -> Result<bool, Error> {
    let file = config.dirs.config_file();
    // The lock keeps concurrent changes from being lost. It is on the directory, which is created
    // if it is missing; readers do not take it.
    let dir = &config.dirs.config;
    fs::create_dir_all(dir, 0o700)?;
    let _lock = Lock::exclusive(dir)?;
    // The file is read again: another process may have changed it since the start.
    let text = read(&file)?.unwrap_or_default();
    let edited = edit(&text, path).map_err(|problems| {
        let text = Text {
            name: file.display().to_string(),
            text: text.clone(),
        };
        Error::File { text, problems }
    })?;
    match edited {
        None => Ok(false),
        Some(edited) => {
            if edited != text {
                write(&file, &edited)?;
            }
            Ok(true)
        }
    }
}
