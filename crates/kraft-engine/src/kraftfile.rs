//! Edits a Kraftfile: values change, comments and layout stay.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::kraftfile::{Change, change};
//! use kraft_engine::project;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let file = dir.path().join("Kraftfile");
//! std::fs::write(&file, "spec: v0.6\nname: web # mine\nruntime: base\n")?;
//! let project = project::open(&context, Some(dir.path()), None)?;
//! let name = Change::Value(vec!["name".to_owned()], "shop".to_owned());
//! assert!(change(&context, &project, &[name])?);
//! let text = std::fs::read_to_string(&file)?;
//! assert_eq!(text, "spec: v0.6\nname: shop # mine\nruntime: base\n");
//! # Ok(())
//! # }
//! ```

use std::borrow::Cow;
use std::path::Path;

use kraft_core::kraftfile;
use kraft_core::problem::{Problem, Text};
use kraft_sys::fs;

use super::project::Project;
use crate::context::Context;
use kraft_config::layers::Value;
use kraft_core::yaml::document::{self, Node};
use kraft_core::yaml::edit;

/// Why a Kraftfile cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kraftfile is not a file.
    #[error("a Kraftfile from stdin cannot be changed")]
    Stdin,
    /// The text cannot be edited at that place.
    #[error("`{}` cannot be changed there", text.name)]
    Edit {
        /// The text of the file.
        text: Text,
        /// Why.
        problems: Vec<Problem>,
    },
    /// The new text has errors; the file is not written.
    #[error("the change makes `{}` invalid", text.name)]
    Invalid {
        /// The new text.
        text: Text,
        /// Its errors.
        problems: Vec<Problem>,
    },
    /// The file cannot be written, or is outside of the project.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets an option.
    Option(String, String),
    /// Removes an option.
    NoOption(String),
    /// Sets the value at a path of keys.
    Value(Vec<String>, String),
    /// Removes the value at a path of keys.
    NoValue(Vec<String>),
}

/// Edits the Kraftfile of a project; returns whether its text is different now.
///
/// The new text is parsed before it is written, so the file is never left with errors.
///
/// # Errors
///
/// If the project has no file, the text cannot be edited or would have errors, or the file cannot be
/// written.
pub fn change(ctx: &Context, project: &Project, changes: &[Change]) -> Result<bool, Error> {
    let file = project.file.as_ref().ok_or(Error::Stdin)?;
    let mut text = project.text.text.clone();
    for change in changes {
        text = changed(&text, change).map_err(|problems| Error::Edit {
            text: Text {
                name: project.text.name.clone(),
                text: text.clone(),
            },
            problems,
        })?;
    }
    if text == project.text.text {
        return Ok(false);
    }
    let parsed = kraftfile::parse(&text, &|name| {
        let value = ctx.env.raw(name)?;
        Some(value.to_string_lossy().into_owned())
    });
    if parsed.kraftfile.is_none() {
        let text = Text {
            name: project.text.name.clone(),
            text,
        };
        return Err(Error::Invalid {
            text,
            problems: parsed.problems,
        });
    }
    // A link stays a link: the file it leads to is replaced.
    let real = file.canonicalize().map_err(fs::Error::on("open", file))?;
    let dir = file.parent().unwrap_or(Path::new(".")).join(".");
    fs::check_inside(&dir, &dir.join(file.file_name().unwrap_or_default()))?;
    fs::replace_file(&real, text.as_bytes())?;
    Ok(true)
}

fn changed(text: &str, change: &Change) -> Result<String, Vec<Problem>> {
    match change {
        Change::Option(name, value) => option(text, name, Some(value)),
        Change::NoOption(name) => option(text, name, None),
        Change::Value(path, value) => edit::set(text, &keys(path), &Value::Text(value.clone())),
        Change::NoValue(path) => {
            Ok(edit::unset(text, &keys(path))?.unwrap_or_else(|| text.to_owned()))
        }
    }
}

fn keys(path: &[String]) -> Vec<Cow<'_, str>> {
    path.iter().map(|key| Cow::Borrowed(key.as_str())).collect()
}

/// Sets or removes an option where it is set already, in the options of the core or of a library; a
/// new one is added to those of the core.
fn option(text: &str, name: &str, value: Option<&String>) -> Result<String, Vec<Problem>> {
    let root = document::parse(text)?;
    let core = vec!["unikraft".to_owned(), "kconfig".to_owned()];
    let libraries = root
        .as_ref()
        .and_then(|root| root.find(&keys(&["libraries".to_owned()])))
        .map(|entry| entry.node.entries())
        .unwrap_or_default()
        .iter()
        .map(|library| {
            vec![
                "libraries".to_owned(),
                library.key.clone(),
                "kconfig".to_owned(),
            ]
        });
    let places: Vec<Vec<String>> = std::iter::once(core.clone()).chain(libraries).collect();
    let node = |path: &[String]| {
        let entry = root.as_ref().and_then(|root| root.find(&keys(path)));
        entry.map(|entry| &entry.node)
    };
    let stands: Vec<&Vec<String>> = places
        .iter()
        .filter(|path| node(path).is_some_and(|node| names(node).any(|found| found == name)))
        .collect();
    let Some(value) = value else {
        let mut text = text.to_owned();
        for path in stands {
            text = option_at(&text, path, name, None)?;
        }
        return Ok(text);
    };
    // If several places set it, the last one wins.
    if let Some(path) = stands.last() {
        return option_at(text, path, name, Some(value));
    }
    option_at(
        &with_core_mapping(text, root.as_ref())?,
        &core,
        name,
        Some(value),
    )
}

/// Turns a core that is one word into a mapping that can have options: `unikraft: stable` becomes
/// `unikraft: {version: stable}`.
fn with_core_mapping(text: &str, root: Option<&Node>) -> Result<String, Vec<Problem>> {
    let path = ["unikraft".to_owned()];
    let node = root.and_then(|root| root.find(&keys(&path)));
    let Some(node) = node
        .map(|entry| &entry.node)
        .filter(|node| !node.is_null() && is_scalar(node))
    else {
        return Ok(text.to_owned());
    };
    let word = node.plain().as_str().unwrap_or_default().to_owned();
    let key = if word.contains("://") || word.starts_with(['/', '.', '~']) {
        "source"
    } else {
        "version"
    };
    let bare = edit::unset(text, &keys(&path))?.unwrap_or_else(|| text.to_owned());
    let path = ["unikraft".to_owned(), key.to_owned()];
    edit::set(&bare, &keys(&path), &Value::Text(word))
}

/// Sets or removes an option among others, in a mapping as well as in a list of `NAME=VALUE`.
fn option_at(
    text: &str,
    path: &[String],
    name: &str,
    value: Option<&String>,
) -> Result<String, Vec<Problem>> {
    let root = document::parse(text)?;
    let found = root.as_ref().and_then(|root| root.find(&keys(path)));
    if let Some(mut items) = found.and_then(|entry| items(&entry.node)) {
        let prefix = format!("{name}=");
        let at = items.iter().position(|item| item.starts_with(&prefix));
        match (at, value) {
            (Some(at), _) => {
                items.remove(at);
                if let Some(value) = value {
                    items.insert(at, format!("{name}={value}"));
                }
            }
            (None, Some(value)) => items.push(format!("{name}={value}")),
            (None, None) => return Ok(text.to_owned()),
        }
        return edit::set(text, &keys(path), &Value::List(items));
    }
    let only = found.is_some_and(|entry| entry.node.entries().len() == 1);
    let mut path = path.to_vec();
    // The last option goes with its mapping: an empty key is not a mapping.
    if !(only && value.is_none()) {
        path.push(name.to_owned());
    }
    match value {
        Some(value) => edit::set(text, &keys(&path), &Value::Text(value.clone())),
        None => Ok(edit::unset(text, &keys(&path))?.unwrap_or_else(|| text.to_owned())),
    }
}

/// Returns the names of options, in a mapping as well as in a list.
fn names(node: &Node) -> impl Iterator<Item = String> {
    let listed = items(node).unwrap_or_default().into_iter();
    let listed = listed.filter_map(|item| item.split_once('=').map(|(name, _)| name.to_owned()));
    let mapped: Vec<String> = node
        .entries()
        .iter()
        .map(|entry| entry.key.clone())
        .collect();
    listed.chain(mapped)
}

fn is_scalar(node: &Node) -> bool {
    node.plain().is_string() || node.plain().is_number()
}

/// Returns the items of a list of texts.
fn items(node: &Node) -> Option<Vec<String>> {
    let plain = node.plain();
    let list = plain.as_array()?;
    list.iter()
        .map(|item| item.as_str().map(ToOwned::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, name: &str, value: Option<&str>) -> String {
        let value = value.map(ToOwned::to_owned);
        option(text, name, value.as_ref()).unwrap()
    }

    #[test]
    fn an_option_is_set_in_a_mapping_and_comments_stay() {
        let text = "spec: v0.6 # format\nunikraft:\n  version: stable\n  kconfig:\n    # why\n    CONFIG_A: 'y'\ntargets:\n- qemu/x86_64\n";
        assert_eq!(
            edited(text, "CONFIG_B", Some("64")),
            text.replace("CONFIG_A: 'y'\n", "CONFIG_A: 'y'\n    CONFIG_B: \"64\"\n")
        );
        let off = edited(text, "CONFIG_A", Some("n"));
        assert!(off.contains("    # why\n    CONFIG_A: "), "{off}");
        assert!(!edited(text, "CONFIG_A", None).contains("CONFIG_A"));
        assert_eq!(edited(text, "CONFIG_GONE", None), text);
    }

    #[test]
    fn an_option_is_set_in_a_list() {
        let text = "unikraft:\n  kconfig:\n  - CONFIG_A=y # a\n  - CONFIG_B=y\n";
        let added = edited(text, "CONFIG_C", Some("1"));
        assert!(added.contains("- CONFIG_A=y # a\n"), "{added}");
        assert!(added.contains("- CONFIG_C=1\n"), "{added}");
        let changed = edited(text, "CONFIG_B", Some("n"));
        assert!(changed.contains("- CONFIG_B=n"), "{changed}");
        assert!(!edited(text, "CONFIG_A", None).contains("CONFIG_A"));
    }

    #[test]
    fn an_option_of_a_library_is_changed_where_it_is_set() {
        let text = "unikraft: {version: s}\nlibraries:\n  x:\n    kconfig:\n      CONFIG_X: 1\n    version: s\n";
        let set = edited(text, "CONFIG_X", Some("2"));
        assert!(set.contains("      CONFIG_X: "), "{set}");
        assert!(!set.contains("unikraft: {version: s, kconfig"), "{set}");
        assert!(!edited(text, "CONFIG_X", None).contains("kconfig"));
    }

    #[test]
    fn a_core_that_is_one_word_becomes_a_mapping() {
        let text = "spec: v0.6\nunikraft: stable\ntargets: [qemu/x86_64]\n";
        let kraftfile = kraftfile::parse(&edited(text, "CONFIG_A", Some("y")), &|_| None)
            .kraftfile
            .unwrap();
        let core = kraftfile.unikraft.unwrap();
        assert_eq!(core.version.unwrap().value, "stable");
        assert_eq!(core.kconfig[0].0.value, "CONFIG_A");
    }
}
