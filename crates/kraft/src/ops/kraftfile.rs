//! Changes what a Kraftfile says and leaves everything else in it as it was written.

use std::borrow::Cow;

use kraft_core::kraftfile;
use kraft_sys::fs;

use super::project::Project;
use crate::app::App;
use crate::config::layers::Value;
use crate::failure::{Failure, Kind, Text};
use crate::yaml::document::{self, Node};
use crate::yaml::edit;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Gives an option of the core's configuration a value.
    Option(String, String),
    /// Takes an option of the core's configuration out.
    NoOption(String),
    /// Gives a value to a path of keys.
    Value(Vec<String>, String),
    /// Takes a path of keys out.
    Nothing(Vec<String>),
}

/// Changes the Kraftfile of a project; returns whether it is another now.
///
/// The new text is read before it is written: a change that would break the file is refused.
pub(crate) fn change(app: &App, project: &Project, changes: &[Change]) -> Result<bool, Failure> {
    let Some(file) = &project.file else {
        return Err(Failure::usage("a Kraftfile from stdin cannot be changed"));
    };
    let mut text = project.text.text.clone();
    for change in changes {
        text = changed(&text, change).map_err(|problems| {
            let text = Text {
                name: project.text.name.clone(),
                text: project.text.text.clone(),
            };
            Failure::problems_in(Kind::Failed, text, problems)
        })?;
    }
    if text == project.text.text {
        return Ok(false);
    }
    let parsed = kraftfile::parse(&text, &|name| {
        let value = app.config.env.raw(name)?;
        Some(value.to_string_lossy().into_owned())
    });
    if parsed.kraftfile.is_none() {
        let text = Text {
            name: project.text.name.clone(),
            text,
        };
        return Err(
            Failure::problems_in(Kind::Usage, text, parsed.problems).hint("nothing was changed")
        );
    }
    // Through a link, so that the link stays one.
    let real = file.canonicalize().map_err(fs::Error::on("open", file))?;
    fs::replace_file(&real, text.as_bytes())?;
    Ok(true)
}

fn changed(text: &str, change: &Change) -> Result<String, Vec<kraft_core::problem::Problem>> {
    match change {
        Change::Option(name, value) => option(text, name, Some(value)),
        Change::NoOption(name) => option(text, name, None),
        Change::Value(path, value) => edit::set(text, &keys(path), &Value::Text(value.clone())),
        Change::Nothing(path) => {
            Ok(edit::unset(text, &keys(path))?.unwrap_or_else(|| text.to_owned()))
        }
    }
}

fn keys(path: &[String]) -> Vec<Cow<'_, str>> {
    path.iter().map(|key| Cow::Borrowed(key.as_str())).collect()
}

/// Sets or removes an option, in a mapping as well as in a list of `NAME=VALUE`.
fn option(
    text: &str,
    name: &str,
    value: Option<&String>,
) -> Result<String, Vec<kraft_core::problem::Problem>> {
    let root = document::parse(text)?;
    let find = |path: &[&str]| {
        let path: Vec<Cow<'_, str>> = path.iter().map(|key| Cow::Borrowed(*key)).collect();
        root.as_ref().and_then(|root| root.find(&path))
    };
    // `unikraft: stable` has no room for options: the word becomes what it stands for.
    let (text, root) = match find(&["unikraft"]).map(|entry| &entry.node) {
        Some(node) if value.is_some() && !node.is_null() && is_scalar(node) => {
            let word = node.plain().as_str().unwrap_or_default().to_owned();
            let key = if word.contains("://") || word.starts_with(['/', '.', '~']) {
                "source"
            } else {
                "version"
            };
            let bare = edit::unset(text, &keys(&["unikraft".to_owned()]))?
                .unwrap_or_else(|| text.to_owned());
            let path = ["unikraft".to_owned(), key.to_owned()];
            let text = edit::set(&bare, &keys(&path), &Value::Text(word))?;
            let root = document::parse(&text)?;
            (text, root)
        }
        _ => (text.to_owned(), root.clone()),
    };
    let path = vec!["unikraft".to_owned(), "kconfig".to_owned()];
    let listed = root
        .as_ref()
        .and_then(|root| root.find(&keys(&path)))
        .and_then(|entry| items(&entry.node));
    if let Some(mut items) = listed {
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
            (None, None) => return Ok(text),
        }
        return edit::set(&text, &keys(&path), &Value::List(items));
    }
    let mut path = path;
    path.push(name.to_owned());
    match value {
        Some(value) => edit::set(&text, &keys(&path), &Value::Text(value.clone())),
        None => Ok(edit::unset(&text, &keys(&path))?.unwrap_or(text)),
    }
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
    fn a_core_that_is_one_word_gets_room_for_options() {
        let text = "spec: v0.6\nunikraft: stable\ntargets: [qemu/x86_64]\n";
        let kraftfile = kraftfile::parse(&edited(text, "CONFIG_A", Some("y")), &|_| None)
            .kraftfile
            .unwrap();
        let core = kraftfile.unikraft.unwrap();
        assert_eq!(core.version.unwrap().value, "stable");
        assert_eq!(core.kconfig[0].0.value, "CONFIG_A");
    }
}
