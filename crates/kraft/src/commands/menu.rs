//! `kraft menu`.

use kraft_build::pipeline::Configure;
use kraft_kconfig::DotConfig;
use std::io::IsTerminal;

use crate::app::App;
use crate::commands::build::ProjectArgs;
use crate::failure::Failure;
use kraft_engine::build::{self, BuildOptions};
use kraft_engine::context::AskError;
use kraft_engine::kconfig;
use kraft_engine::kraftfile::{self, Change};
use kraft_engine::project;

/// Options that the build sets itself; they do not belong into a Kraftfile.
const FILLED_IN: [&str; 3] = ["CONFIG_UK_", "CONFIG_HOST_", "CONFIG_CC_"];

/// Edit the configuration of a target in a menu
///
/// Opens a front end of KConfig on the terminal. Changes are saved in the target's configuration
/// and used by the next build; kraft then offers to write them into the Kraftfile, too.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "menuconfig",
    after_long_help = "\
Examples:
  kraft menu
  kraft menu -t qemu/x86_64 --frontend nconfig"
)]
pub(crate) struct Args {
    #[command(flatten)]
    project: ProjectArgs,

    /// Use this front end: the name of its make target
    #[arg(short, long, value_name = "NAME", default_value = "menuconfig")]
    frontend: String,

    /// Open the existing configuration
    #[arg(long)]
    no_configure: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let front = args.frontend.as_str();
    let is_name = front.ends_with("config") && front.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name {
        return Err(
            Failure::usage(format!("`{front}` is not a front end of KConfig"))
                .hint("use menuconfig, nconfig, xconfig or gconfig"),
        );
    }
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if matches!(front, "menuconfig" | "nconfig") && !(stdin.is_terminal() && stdout.is_terminal()) {
        return Err(Failure::usage("the menu needs a terminal")
            .hint("`kraft set OPTION=VALUE` changes options without one"));
    }
    let site = args.project.site(app)?;
    let target = project::one_target(app, &site.resolved, &args.project.which.filter())?;
    let options = BuildOptions {
        allow_lost: true,
        configure: if args.no_configure {
            Configure::Never
        } else {
            Configure::IfNeeded
        },
        ..BuildOptions::default()
    };
    let (before, after) = build::with_target(app, &site, &target, &options, |job, orders| {
        job.menu(front, orders)
    })?;
    let changes = changes(&before, &after);
    let menu = kconfig::menu(app, &site, &target)?;
    let changes = kconfig::essential(&menu, changes);
    if changes.is_empty() {
        app.ui.info("nothing was changed");
        return Ok(());
    }
    for (name, value) in &changes {
        app.ui.line(&format!("{name}={value}"))?;
    }
    let answer = app.select(
        "Write these changes into the Kraftfile?",
        &["yes".to_owned(), "no".to_owned()],
    );
    let yes = match answer {
        Ok(answer) => answer == Some(0),
        // An aborted prompt means no.
        Err(AskError::Interrupted) => false,
        Err(error) => return Err(error.into()),
    };
    if !yes {
        app.ui
            .info(&format!("the changes are saved in `{}`", target.config));
        return Ok(());
    }
    let changes: Vec<Change> = changes
        .into_iter()
        .map(|(name, value)| Change::Option(name, value))
        .collect();
    kraftfile::change(app, &site.project, &changes)?;
    Ok(())
}

/// Returns the changed options with their new values, `n` for disabled ones.
fn changes(before: &DotConfig, after: &DotConfig) -> Vec<(String, String)> {
    let is_ours = |name: &str| FILLED_IN.iter().any(|start| name.starts_with(start));
    let mut changes: Vec<(String, String)> = after
        .iter()
        .filter(|(name, value)| !is_ours(name) && before.value(name) != Some(value))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    changes.extend(
        before
            .iter()
            .filter(|(name, value)| !is_ours(name) && *value == "y" && after.value(name).is_none())
            .map(|(name, _)| (name.to_owned(), "n".to_owned())),
    );
    changes.sort();
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_new_values_and_disabled_options() {
        let before = DotConfig::parse("CONFIG_A=y\nCONFIG_B=1\nCONFIG_C=y\nCONFIG_D=5\n");
        let after = DotConfig::parse("CONFIG_A=y\nCONFIG_B=2\nCONFIG_E=y\nCONFIG_UK_APP=\"x\"\n");
        let found = changes(&before, &after);
        let texts: Vec<String> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(texts, ["CONFIG_B=2", "CONFIG_C=n", "CONFIG_E=y"]);
    }
}
