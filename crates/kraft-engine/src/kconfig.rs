//! Edits the options of a project, and explains them by the KConfig files of its components.

use kraft_build::configure;
use kraft_build::menu;
use kraft_core::kraftfile::ResolvedTarget;
use kraft_kconfig::explain::Loss;
use kraft_kconfig::language::Tree;
use kraft_kconfig::resolve::Mode;
use kraft_kconfig::{DotConfig, SymbolInfo, diff};
use kraft_sys::fs;
use serde::Serialize;

use super::build::{self, BuildOptions, Inputs, OptionsError};
use super::components::Fetching;
use super::kraftfile::{self, Change};
use super::project::{self, Project, TargetFilter};
use super::workplace::{self, Workplace};
use crate::context::Context;

/// Why options cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a name of an option.
    #[error("`{0}` is not a name of an option")]
    InvalidName(String),
    /// No component has an option of that name.
    #[error("no component of the project has the option `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The most similar name, without its prefix.
        nearest: Option<String>,
        /// Whether `--force` sets it nevertheless.
        can_force: bool,
    },
    /// The target has no configuration to edit.
    #[error("{target} has never been configured")]
    NotConfigured {
        /// The target: `app (qemu/x86_64)`.
        target: String,
    },
    /// The KConfig files have an error.
    #[error(transparent)]
    Options(#[from] Box<OptionsError>),
    /// The project has no such target.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The project has no place for its configurations.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// The Kraftfile cannot be edited.
    #[error(transparent)]
    Kraftfile(#[from] kraftfile::Error),
    /// The target cannot be configured.
    #[error(transparent)]
    Build(Box<build::Error>),
    /// A configuration cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

impl From<build::Error> for Error {
    fn from(error: build::Error) -> Self {
        Self::Build(Box::new(error))
    }
}

/// What is edited: the Kraftfile or a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The Kraftfile.
    Kraftfile,
    /// The configuration of a target.
    Target(String),
}

/// One edit: an option is set or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The option with its prefix.
    pub name: String,
    /// The new value; `None` removes the option.
    pub value: Option<String>,
}

/// Returns the full name of an option: `CONFIG_` may be left out.
///
/// # Errors
///
/// If the text has other characters than letters, digits and `_`.
///
/// ```
/// use kraft_engine::kconfig::full_name;
///
/// assert_eq!(full_name("LIBUKDEBUG").unwrap(), "CONFIG_LIBUKDEBUG");
/// assert!(full_name("LIBUKDEBUG=y").is_err());
/// ```
pub fn full_name(text: &str) -> Result<String, Error> {
    let bare = text.strip_prefix("CONFIG_").unwrap_or(text);
    let fits = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err(Error::InvalidName(text.to_owned()));
    }
    Ok(format!("CONFIG_{bare}"))
}

/// Edits options; returns whether anything is different now. Options that no component has are
/// refused, unless `force` is set or the project was never configured.
///
/// # Errors
///
/// If an option is unknown, or the Kraftfile or the configuration cannot be written.
pub fn edit(
    ctx: &Context,
    project: &Project,
    at: &Where,
    edits: &[Edit],
    force: bool,
) -> Result<bool, Error> {
    if !force {
        check_known(ctx, project, edits)?;
    }
    match at {
        Where::Kraftfile => {
            let changes: Vec<Change> = edits
                .iter()
                .map(|edit| match &edit.value {
                    Some(value) => Change::Option(edit.name.clone(), value.clone()),
                    None => Change::NoOption(edit.name.clone()),
                })
                .collect();
            Ok(kraftfile::change(ctx, project, &changes)?)
        }
        Where::Target(name) => edit_target(ctx, project, name, edits),
    }
}

fn edit_target(
    ctx: &Context,
    project: &Project,
    name: &str,
    edits: &[Edit],
) -> Result<bool, Error> {
    let resolved = project.resolved();
    let filter = TargetFilter {
        name: Some(name),
        ..TargetFilter::default()
    };
    let workplace = Workplace::open(ctx, project)?;
    let mut changed = false;
    for target in project::select_targets(&resolved, &filter)? {
        let path = workplace.config(&target);
        let bytes = fs::read_file(&path, configure::LARGEST).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Error::NotConfigured {
                    target: project::label(&target),
                }
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
        Some(value) => kraft_kconfig::defconfig_text([(edit.name.as_str(), value.as_str())]),
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

/// A target with its options and its configuration.
#[derive(Debug)]
pub struct Menu {
    /// The options that it has.
    pub tree: Tree,
    /// The configuration.
    pub config: DotConfig,
    /// The options that the Kraftfile sets.
    pub asked: DotConfig,
}

impl Menu {
    /// Returns the error of an option that no component has, with the most similar one.
    #[must_use]
    pub fn unknown(&self, name: &str) -> Error {
        Error::Unknown {
            name: name.to_owned(),
            nearest: self.tree.nearest(name).map(ToString::to_string),
            can_force: false,
        }
    }

    /// Explains an option, or why it does not have the value `wanted`; by default that of the
    /// Kraftfile.
    ///
    /// # Errors
    ///
    /// If no component has the option.
    pub fn explain(&self, name: &str, wanted: Option<&str>) -> Result<Explanation, Error> {
        let symbol = self.tree.symbol(name).ok_or_else(|| self.unknown(name))?;
        let asked = self.asked.value(name).map(ToOwned::to_owned);
        let loss = wanted.or(asked.as_deref()).and_then(|wanted| {
            let mut all = self.asked.clone();
            all.set(name.to_owned(), wanted);
            let resolved = self.tree.resolve_as(&all, Mode::Defconfig);
            resolved.explain(name, wanted)
        });
        Ok(Explanation {
            value: self.config.value(name).map(ToOwned::to_owned),
            symbol,
            asked,
            loss,
        })
    }

    /// Returns the options that do not have the value that the Kraftfile sets.
    pub fn differences(&self) -> Vec<kraft_kconfig::Change> {
        let mut found = DotConfig::default();
        for (name, value) in self.config.iter() {
            if self.asked.value(name).is_some() {
                found.set(name, value);
            }
        }
        diff(&self.asked, &found)
    }
}

/// The explanation of an option, as it is printed.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The option.
    #[serde(flatten)]
    pub symbol: SymbolInfo,
    /// Its value.
    pub value: Option<String>,
    /// The value that the Kraftfile sets.
    pub asked: Option<String>,
    /// Why it does not have the requested value.
    pub loss: Option<Loss>,
}

/// Reads the options of a target; configures it first if its sources have changed.
///
/// # Errors
///
/// If it cannot be configured, or its KConfig files have an error.
pub fn menu(ctx: &Context, site: &Inputs, target: &ResolvedTarget) -> Result<Menu, Error> {
    let options = BuildOptions {
        allow_lost: true,
        ..BuildOptions::default()
    };
    let (plan, options) = build::with_target(ctx, site, target, &options, |job, orders| {
        Ok((job.configure(orders)?, job.options.clone()))
    })?;
    let config = configure::read(&plan.config)?.unwrap_or_default();
    let tree = menu::read(&plan, &config)
        .map_err(|errors| Box::new(build::options::error(&plan, errors)))?;
    let mut asked = DotConfig::default();
    for (name, value) in options {
        asked.set(name, &value);
    }
    Ok(Menu {
        tree,
        config,
        asked,
    })
}

/// The largest number of changes of which the essential ones are found: each takes a configuration of
/// its own.
const MOST_CHANGES: usize = 200;

/// Leaves out changes that follow from the others: options without a prompt, and values that are the
/// defaults.
#[must_use]
pub fn essential(menu: &Menu, changes: Vec<(String, String)>) -> Vec<(String, String)> {
    let has_prompt = |name: &str| {
        let symbol = menu.tree.symbol(name);
        symbol.is_some_and(|symbol| symbol.prompt.is_some())
    };
    let mut kept: Vec<(String, String)> = changes
        .into_iter()
        .filter(|(name, _)| has_prompt(name))
        .collect();
    let mut at = 0;
    while kept.len() <= MOST_CHANGES && at < kept.len() {
        let mut without = kept.clone();
        let (name, value) = without.remove(at);
        let mut all = menu.asked.clone();
        for (name, value) in &without {
            all.set(name.clone(), value);
        }
        let settled = menu.tree.resolve_as(&all, Mode::Defconfig);
        if settled.value(&name).as_deref() == Some(value.as_str()) {
            kept = without;
        } else {
            at += 1;
        }
    }
    kept
}

/// Fails if an option is set that no component has; a project that was never configured is not
/// checked.
fn check_known(ctx: &Context, project: &Project, edits: &[Edit]) -> Result<(), Error> {
    let Some(menu) = menu_if_configured(ctx, project)? else {
        return Ok(());
    };
    for edit in edits.iter().filter(|edit| edit.value.is_some()) {
        if menu.tree.symbol(&edit.name).is_none() {
            return Err(Error::Unknown {
                name: edit.name.clone(),
                nearest: menu.tree.nearest(&edit.name).map(ToString::to_string),
                can_force: true,
            });
        }
    }
    Ok(())
}

/// Reads the options of the first target of a project that has a configuration, if there is one.
fn menu_if_configured(ctx: &Context, project: &Project) -> Result<Option<Menu>, Error> {
    let workplace = Workplace::find(ctx, project)?;
    let targets = project.resolved().targets;
    let known = targets
        .iter()
        .any(|target| workplace.config(target).is_file());
    if !known {
        return Ok(None);
    }
    let site = build::prepare(ctx, project.clone(), &Fetching::default())?;
    let configured = |target: &&ResolvedTarget| site.workplace.config(target).is_file();
    let Some(target) = site.resolved.targets.iter().find(configured).cloned() else {
        return Ok(None);
    };
    menu(ctx, &site, &target).map(Some)
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
