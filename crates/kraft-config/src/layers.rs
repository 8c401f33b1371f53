//! The layers of the configuration, merged: flag over environment over file over default.
//!
//! Each value records its origin. Pure: files and environment are read elsewhere.
//!
//! ```
//! use kraft_config::env::Environment;
//! use kraft_config::layers::{Bases, Origin, merge};
//!
//! let env = Environment::from([("KRAFTKIT_LOG_LEVEL", "debug")]);
//! let bases = Bases { home: "/home/anna".into(), data: "/data".into() };
//! let level = |flags: &[(&'static str, String)]| {
//!     let layers = merge(flags, &env, None, &bases).expect("valid layers");
//!     let mut settings = layers.settings.into_iter();
//!     let found = settings.find(|setting| setting.key.name == "log.level");
//!     found.map(|setting| (setting.value.to_string(), setting.origin))
//! };
//! let (value, origin) = level(&[]).expect("a key");
//! assert_eq!((value.as_str(), origin.name()), ("debug", "environment"));
//!
//! let (value, origin) = level(&[("log.level", "warn".to_owned())]).expect("a key");
//! assert_eq!(value, "warn");
//! assert!(matches!(origin, Origin::Flag("log-level")));
//! ```

use std::path::{Path, PathBuf};

use kraft_core::nearest::nearest;
use kraft_core::problem::Problem;
use kraft_core::quantity;

use super::env::Environment;
use super::forms::Form;
use super::keys::{self, Default, Key, Kind};
use kraft_core::yaml::document::{Node, Value as Yaml};
pub use kraft_core::yaml::value::Value;

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of this command line.
    Flag(&'static str),
    /// A variable of the environment.
    Env(&'static str),
    /// A line of the configuration file, counted from 1.
    File(PathBuf, usize),
    /// The built-in default.
    Default,
}

impl Origin {
    /// Returns the name of the layer.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Env(_) => "environment",
            Self::File(..) => "file",
            Self::Default => "default",
        }
    }

    /// Returns the flag, the variable, or the file with its line; `None` for a default.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Flag(flag) => Some(format!("--{flag}")),
            Self::Env(variable) => Some((*variable).to_owned()),
            Self::File(path, line) => Some(format!("{}:{line}", path.display())),
            Self::Default => None,
        }
    }
}

/// One key with its effective value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}

/// One value below `auth`.
#[derive(Clone, Debug)]
pub struct Credential {
    /// `auth.HOST.FIELD`.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Whether it is a secret.
    pub secret: bool,
    /// Its origin.
    pub origin: Origin,
}

/// The parsed configuration file.
#[derive(Debug)]
pub struct File<'f> {
    /// Its path.
    pub path: &'f Path,
    /// Its text.
    pub text: &'f str,
    /// Its tree.
    pub(super) root: &'f Node,
}

/// The merged layers.
#[derive(Debug)]
pub struct Layers {
    /// Every key, in the order of the table.
    pub settings: Vec<Setting>,
    /// Credentials, in the order of the file.
    pub credentials: Vec<Credential>,
    /// Warnings about unknown keys of the file, with their spans.
    pub unknown: Vec<Problem>,
}

/// An invalid layer.
#[derive(Debug)]
pub enum LayerError {
    /// A flag or a variable has an invalid value; the message.
    Typed(String),
    /// The file has errors, with spans in its text.
    File(Vec<Problem>),
}

/// Merges the layers; `flags` are the global flags of the command line, by key name.
pub fn merge(
    flags: &[(&'static str, String)],
    env: &Environment,
    file: Option<&File<'_>>,
    bases: &Bases,
) -> Result<Layers, LayerError> {
    let mut problems = Vec::new();
    let mut settings = Vec::with_capacity(keys::ALL.len());
    for key in keys::ALL {
        let (value, origin) = effective(key, flags, env, file, bases, &mut problems)?;
        settings.push(Setting { key, value, origin });
    }
    let credentials = file.map_or_else(Vec::new, |file| credentials(file, &mut problems));
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.span);
        return Err(LayerError::File(problems));
    }
    Ok(Layers {
        settings,
        credentials,
        unknown: file.map_or_else(Vec::new, unknown),
    })
}

/// Directories that relative paths are resolved against.
#[derive(Clone, Debug)]
pub struct Bases {
    /// The home directory, for `~/`.
    pub home: PathBuf,
    /// The data directory, for defaults.
    pub data: PathBuf,
}

fn effective(
    key: &'static Key,
    flags: &[(&'static str, String)],
    env: &Environment,
    file: Option<&File<'_>>,
    bases: &Bases,
    problems: &mut Vec<Problem>,
) -> Result<(Value, Origin), LayerError> {
    // The file is validated even where it is overridden, so that its errors are always reported.
    let from_file = file.and_then(|file| from_file(key, file, bases, problems));
    if let Some((flag, text)) = key.flag.and_then(|flag| {
        let typed = flags.iter().find(|(name, _)| *name == key.name)?;
        Some((flag, &typed.1))
    }) {
        let value = parse(key.kind, text, &bases.home).map_err(|expected| {
            LayerError::Typed(format!(
                "`{text}` is not a valid value of `--{flag}`: {expected}"
            ))
        })?;
        return Ok((value, Origin::Flag(flag)));
    }
    if let Some(text) = env.text(key.env) {
        let value = parse(key.kind, &text, &bases.home).map_err(|expected| {
            LayerError::Typed(format!(
                "`{text}` is not a valid value of the environment variable `{}`: {expected}",
                key.env
            ))
        })?;
        return Ok((value, Origin::Env(key.env)));
    }
    Ok(from_file.unwrap_or_else(|| (default(key.default, &bases.data), Origin::Default)))
}

fn default(default: Default, data: &Path) -> Value {
    match default {
        Default::Switch(on) => Value::Switch(on),
        Default::Text(text) => Value::Text(text.to_owned()),
        Default::Data(name) => Value::Text(data.join(name).to_string_lossy().into_owned()),
        Default::List(items) => Value::List(items.iter().map(|&item| item.to_owned()).collect()),
    }
}

/// Parses a text; returns what was expected if it is invalid.
pub fn parse(kind: Kind, text: &str, home: &Path) -> Result<Value, String> {
    match kind {
        Kind::Switch => match text {
            "1" | "t" | "T" | "true" | "True" | "TRUE" | "y" | "yes" | "on" => {
                Ok(Value::Switch(true))
            }
            "0" | "f" | "F" | "false" | "False" | "FALSE" | "n" | "no" | "off" => {
                Ok(Value::Switch(false))
            }
            _ => Err("expected true or false".to_owned()),
        },
        Kind::Text(form) => {
            form.check(text)?;
            Ok(Value::Text(text.to_owned()))
        }
        Kind::Path => {
            Form::Free.check(text)?;
            Ok(Value::Text(expand(text, home)))
        }
        Kind::Size(least) => match quantity::parse(text) {
            Ok(bytes) if bytes >= least => Ok(Value::Text(text.to_owned())),
            Ok(_) | Err(_) => Err(expected_size(least)),
        },
        Kind::Choice(words) => {
            let lower = text.to_ascii_lowercase();
            if words.contains(&lower.as_str()) {
                Ok(Value::Text(lower))
            } else {
                Err(format!("expected one of {}", words.join(", ")))
            }
        }
        Kind::List(form) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| checked(form, item))
            .collect::<Result<_, _>>()
            .map(Value::List),
    }
}

fn expected_size(least: u64) -> String {
    format!(
        "expected a size such as 64Mi, at least {}",
        quantity::display(least)
    )
}

fn checked(form: Form, item: &str) -> Result<String, String> {
    let fits = form.check(item);
    fits.map_err(|expected| format!("{expected}, not `{item}`"))?;
    Ok(item.to_owned())
}

fn expand(path: &str, home: &Path) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => home.join(rest).to_string_lossy().into_owned(),
        None => path.to_owned(),
    }
}

fn from_file(
    key: &'static Key,
    file: &File<'_>,
    bases: &Bases,
    problems: &mut Vec<Problem>,
) -> Option<(Value, Origin)> {
    let path: Vec<&str> = key.name.split('.').collect();
    let entry = file.root.find(&path)?;
    if entry.node.is_null() {
        return None;
    }
    match parse_node(key.kind, &entry.node, &bases.home) {
        Ok(value) => Some((value, file.origin(entry.key_span.start))),
        Err(expected) => {
            let problem = Problem::error(format!(
                "{} is not a valid value of `{}`",
                entry.node.describe(),
                key.name,
            ))
            .at(entry.node.span)
            .label(expected);
            problems.push(problem);
            None
        }
    }
}

fn parse_node(kind: Kind, node: &Node, home: &Path) -> Result<Value, String> {
    match (&node.value, kind) {
        (Yaml::Scalar { text, .. }, Kind::List(form)) => {
            Ok(Value::List(vec![checked(form, text)?]))
        }
        (Yaml::Scalar { text, .. }, _) => parse(kind, text, home),
        (Yaml::List { items, .. }, Kind::List(form)) => items
            .iter()
            .map(|item| match &item.value {
                Yaml::Scalar { text, .. } => checked(form, text),
                Yaml::List { .. } | Yaml::Map { .. } => Err("expected a list of texts".to_owned()),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Yaml::List { .. } | Yaml::Map { .. }, _) => Err(match kind {
            Kind::Switch => "expected true or false".to_owned(),
            Kind::Text(_) => "expected a text".to_owned(),
            Kind::Path => "expected a path".to_owned(),
            Kind::Size(least) => expected_size(least),
            Kind::Choice(words) => format!("expected one of {}", words.join(", ")),
            Kind::List(_) => "expected a list of texts".to_owned(),
        }),
    }
}

impl File<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Origin::File(self.path.to_owned(), line)
    }
}

fn credentials(file: &File<'_>, problems: &mut Vec<Problem>) -> Vec<Credential> {
    let Some(auth) = file.root.find(&[keys::AUTH]) else {
        return Vec::new();
    };
    if !matches!(auth.node.value, Yaml::Map { .. }) && !auth.node.is_null() {
        problems.push(
            Problem::error(format!(
                "{} is not a valid value of `auth`",
                auth.node.describe()
            ))
            .at(auth.node.span)
            .label("expected a mapping of hosts"),
        );
    }
    let mut found = Vec::new();
    for host in auth.node.entries() {
        for field in host.node.entries() {
            if !keys::AUTH_FIELDS.contains(&field.key.as_str()) || field.node.is_null() {
                continue;
            }
            let kind = if field.key == "verify_ssl" {
                Kind::Switch
            } else {
                Kind::Text(Form::Free)
            };
            let name = format!("auth.{}.{}", host.key, field.key);
            match parse_node(kind, &field.node, Path::new("")) {
                Ok(value) => found.push(Credential {
                    secret: field.key == "token",
                    value,
                    origin: file.origin(field.key_span.start),
                    name,
                }),
                // The value may be a secret: it is not repeated.
                Err(expected) => problems.push(
                    Problem::error(format!("`{name}` is invalid"))
                        .at(field.key_span)
                        .label(expected),
                ),
            }
        }
    }
    found
}

/// Returns a warning for each unknown key.
fn unknown(file: &File<'_>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for entry in file.root.entries() {
        let name = entry.key.as_str();
        if name == keys::AUTH || keys::FREE_MAPPINGS.contains(&name) || is_key(name) {
            continue;
        }
        let prefix = format!("{name}.");
        if !keys::ALL.iter().any(|key| key.name.starts_with(&prefix)) {
            warnings.push(unknown_key(name, entry.key_span));
            continue;
        }
        for inner in entry.node.entries() {
            let inner_name = format!("{prefix}{}", inner.key);
            // KraftKit writes its own directory into the file and never reads it there.
            if !is_key(&inner_name) && inner_name != "paths.config" {
                warnings.push(unknown_key(&inner_name, inner.key_span));
            }
        }
    }
    warnings
}

fn is_key(name: &str) -> bool {
    keys::ALL.iter().any(|key| key.name == name)
}

fn unknown_key(name: &str, span: kraft_core::problem::Span) -> Problem {
    let message = format!("unknown configuration key `{name}`: ignored");
    let problem = Problem::warning(message).at(span);
    match nearest(name, keys::ALL.iter().map(|key| key.name)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kraft_core::yaml::document;

    fn merged(
        flags: &[(&'static str, String)],
        env: &Environment,
        text: &str,
    ) -> Result<Layers, LayerError> {
        let root = document::parse(text).unwrap();
        let file = root.as_ref().map(|root| File {
            path: Path::new("/c/config.yaml"),
            text,
            root,
        });
        let bases = Bases {
            home: "/h".into(),
            data: "/d".into(),
        };
        merge(flags, env, file.as_ref(), &bases)
    }

    fn setting<'l>(layers: &'l Layers, name: &str) -> &'l Setting {
        layers.settings.iter().find(|s| s.key.name == name).unwrap()
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
        let text = "# mine\nlog:\n  level: warn\n";
        let variable = Environment::from([("KRAFTKIT_LOG_LEVEL", "debug")]);
        let none = Environment::default();
        let flag = [("log.level", "trace".to_owned())];
        for (flags, env, text, value, origin) in [
            (&flag[..], &variable, text, "trace", "--log-level"),
            (&[], &variable, text, "debug", "KRAFTKIT_LOG_LEVEL"),
            (&[], &none, text, "warn", "/c/config.yaml:3"),
            (&[], &none, "", "info", ""),
        ] {
            let layers = merged(flags, env, text).unwrap();
            let level = setting(&layers, "log.level");
            assert_eq!(level.value, Value::Text(value.to_owned()));
            assert_eq!(level.origin.place().unwrap_or_default(), origin);
        }
    }

    #[test]
    fn an_empty_variable_is_not_set_and_a_list_comes_from_a_variable_too() {
        let env = Environment::from([
            ("KRAFTKIT_LOG_LEVEL", ""),
            ("KRAFTKIT_UNIKRAFT_MANIFESTS", "a, b"),
        ]);
        let layers = merged(&[], &env, "").unwrap();
        assert_eq!(setting(&layers, "log.level").origin, Origin::Default);
        assert_eq!(
            setting(&layers, "unikraft.manifests").value,
            Value::List(vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn paths_are_resolved_against_home_and_data_directory() {
        let layers = merged(&[], &Environment::default(), "runtime_dir: ~/machines\n").unwrap();
        assert_eq!(
            setting(&layers, "runtime_dir").value.to_string(),
            "/h/machines"
        );
        assert_eq!(
            setting(&layers, "paths.sources").value.to_string(),
            "/d/sources"
        );
    }

    #[test]
    fn every_error_of_the_file_is_reported_at_its_place() {
        let text = "no_prompt: maybe\nlog: {level: loud}\nruntime_dir: [x]\n";
        let Err(LayerError::File(problems)) = merged(&[], &Environment::default(), text) else {
            panic!("accepted");
        };
        let places: Vec<&str> = problems
            .iter()
            .map(|p| p.span.unwrap())
            .map(|span| text.get(span.start..span.end).unwrap())
            .collect();
        assert_eq!(places, ["maybe", "loud", "[x]"]);
    }

    #[test]
    fn unknown_keys_are_warnings_and_credentials_are_found() {
        let text = "colour: red\nlog: {volume: 11}\naliases: {x: y}\npaths: {config: /x}\n\
                    auth:\n  ghcr.io: {user: me, token: s3cret, verify_ssl: no}\n";
        let layers = merged(&[], &Environment::default(), text).unwrap();
        let unknown: Vec<&str> = layers.unknown.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(unknown.len(), 2);
        assert!(unknown[0].contains("`colour`") && unknown[1].contains("`log.volume`"));
        let names: Vec<&str> = layers.credentials.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "auth.ghcr.io.user",
                "auth.ghcr.io.token",
                "auth.ghcr.io.verify_ssl"
            ]
        );
        assert_eq!(layers.credentials[2].value, Value::Switch(false));
    }
}
