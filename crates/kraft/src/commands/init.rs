//! `kraft init`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::init::{self, Type, Wish};

/// Begin a project
///
/// Looks at what is in the directory, and writes a Kraftfile for it: for a Dockerfile, for C sources
/// (with a Makefile.uk, if there is none), or for a program or a kernel that is there. What kraft
/// makes in the project is added to `.gitignore`, and to `.dockerignore` where images are built.
///
/// Nothing that is there is overwritten. Prints the files it wrote.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft init
  kraft init hello --type c
  kraft init --name web --type dockerfile")]
pub(crate) struct Args {
    /// The directory; made if it is not there
    #[arg(default_value = ".", hide_default_value = true, value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,

    /// What to make the project from
    #[arg(
        short = 't',
        long = "type",
        visible_alias = "template",
        value_name = "TYPE",
        value_parser = super::choices::PROJECT
    )]
    kind: Option<Type>,

    /// The name of the project; that of the directory if left out
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// The image that a Dockerfile or a program runs on
    #[arg(long, value_name = "IMAGE", default_value = "base:latest")]
    runtime: String,

    /// Write the Kraftfile anew if there is one
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let started = init::start(
        app,
        &Wish {
            dir: &args.dir,
            kind: args.kind,
            name: args.name.as_deref(),
            runtime: &args.runtime,
            force: args.force,
        },
    )?;
    for path in &started.written {
        app.ui.line(&path.display().to_string())?;
    }
    for next in &started.next {
        app.ui.info(next);
    }
    Ok(())
}
