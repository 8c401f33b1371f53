//! Options of a project's configuration: edited, and explained by what KConfig knows of them.

use kraft_build::build::Job;
use kraft_build::configure::{self, Lost};
use kraft_build::plan::Plan;
use kraft_sys::fs;

use super::kraftfile::{self, Change};
use super::project::{self, Project, TargetWish};
use super::workplace::Workplace;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// What is edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// The Kraftfile.
    Kraftfile,
    /// The configuration of a target.
    Target(String),
}

/// One edit: a value, or none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The option with its prefix.
    pub(crate) name: String,
    /// Its new value.
    pub(crate) value: Option<String>,
}

/// Returns the whole name of an option: `CONFIG_` may be left out.
pub(crate) fn full_name(text: &str) -> Result<String, Failure> {
    let bare = text.strip_prefix("CONFIG_").unwrap_or(text);
    let fits = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err(Failure::usage(format!("`{text}` is no name of an option"))
            .hint("expected letters, digits and `_`, such as `LIBUKDEBUG`"));
    }
    Ok(format!("CONFIG_{bare}"))
}

/// Edits options; returns whether anything is different now.
pub(crate) fn edit(
    app: &App,
    project: Project,
    at: &Where,
    edits: &[Edit],
    _force: bool,
) -> Result<bool, Failure> {
    match at {
        Where::Kraftfile => {
            let changes: Vec<Change> = edits
                .iter()
                .map(|edit| match &edit.value {
                    Some(value) => Change::Option(edit.name.clone(), value.clone()),
                    None => Change::NoOption(edit.name.clone()),
                })
                .collect();
            kraftfile::change(app, &project, &changes)
        }
        Where::Target(name) => edit_target(app, &project, name, edits),
    }
}

fn edit_target(app: &App, project: &Project, name: &str, edits: &[Edit]) -> Result<bool, Failure> {
    let Some(resolved) = project.resolved() else {
        return Err(Failure::new(Kind::Failed, "the Kraftfile has faults"));
    };
    let wish = TargetWish {
        name: Some(name),
        ..TargetWish::default()
    };
    let workplace = Workplace::find(app, project)?;
    let mut changed = false;
    for target in project::meant_targets(&resolved, &wish)? {
        let path = workplace.config(&target);
        let bytes = fs::read_file(&path, configure::LARGEST).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Failure::new(
                    Kind::NotFound,
                    format!("{} has never been configured", project::shown(&target)),
                )
                .hint("`kraft build` or `kraft menu` configures it")
            } else {
                error.into()
            }
        })?;
        let before = String::from_utf8_lossy(&bytes).into_owned();
        let mut after = before.clone();
        for edit in edits {
            after = with(&after, edit);
        }
        if after != before {
            fs::replace_file(&path, after.as_bytes())?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Edits one option in the text of a `.config`.
fn with(text: &str, edit: &Edit) -> String {
    let line = match &edit.value {
        Some(value) => kraft_core::kconfig::defconfig_text([(edit.name.as_str(), value.as_str())]),
        None => format!("# {} is not set\n", edit.name),
    };
    let (set, not_set) = (
        format!("{}=", edit.name),
        format!("# {} is not set", edit.name),
    );
    let mut found = false;
    let mut out = String::with_capacity(text.len() + line.len());
    for old in text.split_inclusive('\n') {
        if old.starts_with(&set) || old.trim_end() == not_set {
            if !found {
                out.push_str(&line);
            }
            found = true;
        } else {
            out.push_str(old);
        }
    }
    if !found {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out
}

/// Tells why values got lost, each in a fragment: `needs LWIP_UDP, which is n because …`.
pub(crate) fn reasons(_app: &App, _plan: &Plan, _job: &Job, lost: &[Lost]) -> Vec<Option<String>> {
    lost.iter().map(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_configuration_is_edited_in_its_place() {
        let text = "# head\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n";
        let edit = |name: &str, value: Option<&str>| {
            with(
                text,
                &Edit {
                    name: name.into(),
                    value: value.map(ToOwned::to_owned),
                },
            )
        };
        assert_eq!(
            edit("CONFIG_B", Some("y")),
            text.replace("# CONFIG_B is not set", "CONFIG_B=y")
        );
        assert_eq!(
            edit("CONFIG_A", None),
            text.replace("CONFIG_A=y", "# CONFIG_A is not set")
        );
        assert_eq!(
            edit("CONFIG_D", Some("a b")),
            format!("{text}CONFIG_D=\"a b\"\n")
        );
    }

    #[test]
    fn names_are_completed_and_checked() {
        assert_eq!(full_name("LIBX").unwrap(), "CONFIG_LIBX");
        assert_eq!(full_name("CONFIG_LIBX").unwrap(), "CONFIG_LIBX");
        for bad in ["", "CONFIG_", "A B", "A-B"] {
            assert!(full_name(bad).is_err(), "{bad}");
        }
    }
}
