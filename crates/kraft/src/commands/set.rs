//! `kraft set` and `kraft unset`.

use crate::app::App;
use crate::commands::project::ProjectOptions;
use crate::failure::Failure;
use kraft_engine::kconfig::{self, Edit, Where};

/// Set configuration options of a project
///
/// Edits the Kraftfile and keeps its comments; with `--target`, edits the configuration of that
/// target. Same as `kraft kconfig set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft set LIBUKDEBUG=y CONFIG_LWIP_HEAP=4096")]
pub(crate) struct SetArgs {
    /// Options with their values; the prefix `CONFIG_` is optional
    #[arg(value_name = "OPTION=VALUE", required = true)]
    options: Vec<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Unset configuration options of a project
///
/// Edits the Kraftfile and keeps its comments; with `--target`, edits the configuration of that
/// target. Same as `kraft kconfig unset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft unset LIBUKDEBUG")]
pub(crate) struct UnsetArgs {
    /// Options; the prefix `CONFIG_` is optional
    #[arg(value_name = "OPTION", required = true)]
    options: Vec<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// The arguments that select the edited file.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct PlaceArgs {
    /// Edit the configuration of this target instead of the Kraftfile
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    #[command(flatten)]
    project: ProjectOptions,

    /// Accept options that no component defines
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn set(app: &App, args: &SetArgs) -> Result<(), Failure> {
    let mut edits = Vec::new();
    for text in &args.options {
        match text.split_once('=') {
            Some((name, value)) if !value.is_empty() => {
                edits.push(Edit {
                    name: kconfig::full_name(name)?,
                    value: Some(value.to_owned()),
                });
            }
            _ => {
                return Err(Failure::usage(format!("`{text}` is not a valid option"))
                    .hint("expected OPTION=VALUE; use `kraft unset OPTION` to remove one"));
            }
        }
    }
    edit(app, &args.place, &edits)
}

pub(crate) fn unset(app: &App, args: &UnsetArgs) -> Result<(), Failure> {
    let mut edits = Vec::new();
    for name in &args.options {
        edits.push(Edit {
            name: kconfig::full_name(name)?,
            value: None,
        });
    }
    edit(app, &args.place, &edits)
}

fn edit(app: &App, place: &PlaceArgs, edits: &[Edit]) -> Result<(), Failure> {
    let project = place.project.open(app)?;
    let at = match &place.target {
        Some(target) => Where::Target(target.clone()),
        None => Where::Kraftfile,
    };
    if !kconfig::edit(app, &project, &at, edits, place.force)? {
        app.ui.info("nothing to change");
    }
    Ok(())
}
