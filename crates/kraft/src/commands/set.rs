//! `kraft set` and `kraft unset`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::kconfig::{self, Edit, Where};
use kraft_engine::project;

/// Give options of a project's configuration values
///
/// Edits the Kraftfile, whose comments stay; with `--target`, the configuration of that target. The
/// short form of `kraft kconfig set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft set LIBUKDEBUG=y CONFIG_LWIP_HEAP=4096")]
pub(crate) struct SetArgs {
    /// Options with their values; `CONFIG_` in front may be left out
    #[arg(value_name = "OPTION=VALUE", required = true)]
    options: Vec<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Take options out of a project's configuration
///
/// Edits the Kraftfile, whose comments stay; with `--target`, the configuration of that target. The
/// short form of `kraft kconfig unset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft unset LIBUKDEBUG")]
pub(crate) struct UnsetArgs {
    /// Options; `CONFIG_` in front may be left out
    #[arg(value_name = "OPTION", required = true)]
    options: Vec<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// What is edited.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct PlaceArgs {
    /// Edit the configuration of this target instead of the Kraftfile
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    /// The directory of the project
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Take the option even if the core does not know it
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
                return Err(
                    Failure::usage(format!("invalid or malformed argument: {text}"))
                        .hint("expected OPTION=VALUE; `kraft unset OPTION` takes one out"),
                );
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
    let project = project::open(app, place.workdir.as_deref(), place.kraftfile.as_deref())?;
    let at = match &place.target {
        Some(target) => Where::Target(target.clone()),
        None => Where::Kraftfile,
    };
    if !kconfig::edit(app, &project, &at, edits, place.force)? {
        app.ui.info("nothing to change");
    }
    Ok(())
}
