//! Options of a project's configuration: edited, and explained by what KConfig knows of them.

use kraft_build::configure::{self, Lost};
use kraft_build::menu;
use kraft_build::pipeline::Job;
use kraft_build::plan::Plan;
use kraft_core::kraftfile::ResolvedTarget;
use kraft_kconfig::DotConfig;
use kraft_kconfig::explain::Loss;
use kraft_kconfig::language::{KconfigErrors, Tree};
use kraft_kconfig::resolve::Mode;
use kraft_sys::fs;

use super::build::{self, Site, Wish};
use super::components::Fetching;
use super::kraftfile::{self, Change};
use super::project::{self, Project, TargetFilter};
use super::workplace::Workplace;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// What is edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The Kraftfile.
    Kraftfile,
    /// The configuration of a target.
    Target(String),
}

/// One edit: a value, or none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The option with its prefix.
    pub name: String,
    /// Its new value.
    pub value: Option<String>,
}

/// Returns the whole name of an option: `CONFIG_` may be left out.
pub fn full_name(text: &str) -> Result<String, Failure> {
    let bare = text.strip_prefix("CONFIG_").unwrap_or(text);
    let fits = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err(Failure::usage(format!("`{text}` is no name of an option"))
            .hint("expected letters, digits and `_`, such as `LIBUKDEBUG`"));
    }
    Ok(format!("CONFIG_{bare}"))
}

/// Edits options; returns whether anything is different now.
pub fn edit(
    ctx: &Context,
    project: &Project,
    at: &Where,
    edits: &[Edit],
    force: bool,
) -> Result<bool, Failure> {
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
            kraftfile::change(ctx, project, &changes)
        }
        Where::Target(name) => edit_target(ctx, project, name, edits),
    }
}

fn edit_target(
    ctx: &Context,
    project: &Project,
    name: &str,
    edits: &[Edit],
) -> Result<bool, Failure> {
    let resolved = project.resolved();
    let wish = TargetFilter {
        name: Some(name),
        ..TargetFilter::default()
    };
    let workplace = Workplace::open(ctx, project)?;
    let mut changed = false;
    for target in project::select_targets(&resolved, &wish)? {
        let path = workplace.config(&target);
        let bytes = fs::read_file(&path, configure::LARGEST).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Failure::new(
                    Kind::NotFound,
                    format!("{} has never been configured", project::label(&target)),
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

/// Tells why values got lost and what can be done, where the options can be read.
pub fn losses(plan: &Plan, job: &Job, lost: &[Lost]) -> Vec<Option<Loss>> {
    let Ok(tree) = options_of(plan) else {
        return lost.iter().map(|_| None).collect();
    };
    // Of what was asked for alone, so that a default is told from what somebody wants.
    let mut asked = DotConfig::default();
    for (name, value) in &job.options {
        asked.set(name.clone(), value);
    }
    let settled = tree.resolve_as(&asked, Mode::Defconfig);
    lost.iter()
        .map(|lost| settled.explain(&lost.name, &lost.wanted))
        .collect()
}

/// Puts the first fault in files of options into words, found by reading the files ourselves;
/// `None` if we find none.
pub fn fault(plan: &Plan) -> Option<Failure> {
    options_of(plan).err().map(|faults| told(plan, faults))
}

/// Reads the options of a target as far as it is configured: what keeps its configuration from
/// being read is no concern here.
fn options_of(plan: &Plan) -> Result<Tree, KconfigErrors> {
    let now = configure::read(&plan.config).ok().flatten();
    menu::read(plan, &now.unwrap_or_default())
}

fn told(plan: &Plan, faults: KconfigErrors) -> Failure {
    let Some(first) = faults.0.into_iter().next() else {
        return Failure::new(Kind::Build, "the options cannot be read");
    };
    let text = Text {
        name: plan.core.join(&first.file).display().to_string(),
        text: first.text,
    };
    Failure::problems_in(Kind::Build, text, vec![first.problem])
}

/// A target with the options that it can be configured with.
#[derive(Debug)]
pub struct Menu {
    /// The options.
    pub tree: Tree,
    /// What the target is configured with.
    pub config: DotConfig,
    /// What was asked for.
    pub asked: DotConfig,
}

impl Menu {
    /// Tells that there is no such option, and which one may be meant.
    pub fn unknown(&self, name: &str) -> Failure {
        let failure = Failure::new(
            Kind::NotFound,
            format!("no component of the project has the option `{name}`"),
        );
        match self.tree.nearest(name) {
            Some(near) => failure.hint(format!("did you mean `CONFIG_{near}`?")),
            None => failure.hint("`kraft kconfig search WORD` looks for one"),
        }
    }
}

/// Reads the options of a target, which is configured first if it has to be.
pub fn menu(ctx: &Context, site: &Site, target: &ResolvedTarget) -> Result<Menu, Failure> {
    let wish = Wish {
        may_lose: true,
        ..Wish::default()
    };
    let (plan, options) = build::with_target(ctx, site, target, &wish, |job, orders| {
        Ok((job.configure(orders)?, job.options.clone()))
    })?;
    let config = configure::read(&plan.config)?.unwrap_or_default();
    let tree = menu::read(&plan, &config).map_err(|faults| told(&plan, faults))?;
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

/// So many changes are looked at one by one; settling takes a moment each.
const MOST_CHANGES: usize = 200;

/// Leaves out changes that follow from the others: what nobody can set, and what is as it would be
/// anyway.
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

/// Refuses an option that the project's core does not know, where that can be told.
fn check_known(ctx: &Context, project: &Project, edits: &[Edit]) -> Result<(), Failure> {
    let Some(menu) = menu_if_configured(ctx, project)? else {
        return Ok(());
    };
    for edit in edits.iter().filter(|edit| edit.value.is_some()) {
        if menu.tree.symbol(&edit.name).is_none() {
            let failure = menu.unknown(&edit.name);
            return Err(failure.hint("`--force` sets it all the same"));
        }
    }
    Ok(())
}

/// Reads the options of a project's first target, if it has been configured before.
fn menu_if_configured(ctx: &Context, project: &Project) -> Result<Option<Menu>, Failure> {
    let workplace = Workplace::find(ctx, project)?;
    let targets = project.resolved().targets;
    let known = targets
        .iter()
        .any(|target| workplace.config(target).is_file());
    if !known {
        return Ok(None);
    }
    let site = build::site(ctx, project.clone(), &Fetching::default())?;
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
