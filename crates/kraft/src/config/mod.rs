//! The configuration: found, read, merged; and changed without losing a comment.
//!
//! ```text
//! --flag  ─┐
//! $KRAFT…  ├─ layers::merge ─► every key with value and origin ─► Config
//! file     │
//! default ─┘
//! ```
//!
//! The file is never made by reading it, and secrets stay where they are: the first
//! `kraft config set` makes it, readable for its owner only.

pub(crate) mod dirs;
pub(crate) mod env;
pub(crate) mod forms;
pub(crate) mod keys;
pub(crate) mod layers;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::problem::{Problem, Span};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use self::dirs::Dirs;
use self::env::Environment;
use self::layers::{Bases, Fault, Layers, Value};
use crate::failure::{Failure, Kind, Text};

/// A configuration file is not longer than this, in bytes.
const LARGEST: u64 = 1 << 20;

/// The global flags that were typed, by the name of their key, and `--config-dir`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// Key names with what was typed.
    pub(crate) values: Vec<(&'static str, String)>,
    /// The directory of the configuration file.
    pub(crate) config_dir: Option<String>,
}

/// The effective configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The environment it was made from.
    pub(crate) env: Environment,
    /// Where things are kept.
    pub(crate) dirs: Dirs,
    /// Every key with its value and origin.
    pub(crate) layers: Layers,
    /// The text of the file, if there is one.
    pub(crate) text: Option<String>,
}

impl Config {
    /// Reads the file, if there is one, and merges the layers.
    pub(crate) fn load(flags: &Flags, env: Environment) -> Result<Self, Failure> {
        dirs::check(&env)?;
        let dirs = Dirs::find(flags.config_dir.as_deref(), &env);
        let path = dirs.config_file();
        let text = read(&path)?;
        let fail = |problems| {
            let text = Text {
                name: path.display().to_string(),
                text: text.clone().unwrap_or_default(),
            };
            Failure::problems_in(Kind::Usage, text, problems)
        };
        let root = match &text {
            Some(text) => crate::yaml::document::parse(text).map_err(fail)?,
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
                Fault::Typed(sentence) => Failure::usage(sentence),
                Fault::File(problems) => fail(problems),
            },
        )?;
        Ok(Self {
            env,
            dirs,
            layers,
            text,
        })
    }

    /// Returns the built-in configuration with flags and environment, for commands that must
    /// work whatever the file says; what is wrong with those is ignored as well.
    pub(crate) fn without_file(flags: &Flags, env: Environment) -> Self {
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
    pub(crate) fn switch(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Switch(true)))
    }

    /// Returns a text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) if !text.is_empty() => Some(text),
            Value::Text(_) | Value::Switch(_) | Value::List(_) => None,
        }
    }

    /// Returns the QEMU to use instead of the usual one.
    pub(crate) fn qemu(&self) -> Option<&str> {
        self.text("qemu")
    }

    /// Returns the directory of the machines, from the root.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        match self.text("runtime_dir") {
            Some(path) => dirs::absolute(Path::new(path)),
            None => self.dirs.data.join("runtime"),
        }
    }

    /// Returns whether machines are never to run with KVM.
    pub(crate) fn acceleration_is_off(&self) -> bool {
        self.text("acceleration") == Some("off")
    }

    /// Returns a list.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(items)) => items,
            Some(Value::Switch(_) | Value::Text(_)) | None => &[],
        }
    }

    /// Returns the package indexes and registries.
    pub(crate) fn manifests(&self) -> &[String] {
        self.list("unikraft.manifests")
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let named = |setting: &&layers::Setting| setting.key.name == name;
        self.layers.settings.iter().find(named).map(|s| &s.value)
    }
}

/// Reads the configuration file; one that does not exist says nothing.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Failure> {
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
            return Err(Failure::usage(error)
                .hint("name another directory with `--config-dir`, or mend this one"));
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
            Err(Failure::problems_in(Kind::Usage, text, vec![problem]))
        }
    }
}

/// Writes the configuration file whole; a new one is for its owner's eyes only.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), fs::Error> {
    use std::io::Write as _;

    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir, 0o700)?;
    }
    let mut file = fs::NewFile::with_mode(path, 0o600)?;
    file.write_all(text.as_bytes())
        .map_err(fs::Error::on("write", path))?;
    file.commit()
}

/// Edits the file and writes it; returns whether there was anything to change.
pub(crate) fn change(
    config: &Config,
    path: &[Cow<'_, str>],
    edit: impl Fn(&str, &[Cow<'_, str>]) -> Result<Option<String>, Vec<Problem>>,
) -> Result<bool, Failure> {
    let file = config.dirs.config_file();
    // One at a time, or one of two changes would be lost. The lock is on the directory, which is
    // made now if need be; who only reads never waits.
    let dir = &config.dirs.config;
    fs::create_dir_all(dir, 0o700)?;
    let _lock = Lock::exclusive(dir)?;
    // Not the text that was read at the start: somebody else may have changed it since.
    let text = read(&file)?.unwrap_or_default();
    let edited = edit(&text, path).map_err(|problems| {
        let text = Text {
            name: file.display().to_string(),
            text: text.clone(),
        };
        Failure::problems_in(Kind::Usage, text, problems)
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
