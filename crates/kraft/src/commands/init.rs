//! `kraft init`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::init::{self, InitRequest, Type};

/// Create a project
///
/// Detects what is in the directory and writes a Kraftfile for it: for a Dockerfile, for C sources
/// (with a Makefile.uk, if it is missing), or for a program or a kernel. The files that kraft
/// generates in a project are added to `.gitignore`, and to `.dockerignore` for a Dockerfile.
///
/// Existing files are not overwritten. Prints the files it wrote.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft init
  kraft init hello --type c
  kraft init --name web --type dockerfile")]
pub(crate) struct Args {
    /// Project directory; created if it does not exist (default: the current directory)
    #[arg(default_value = ".", hide_default_value = true, value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,

    /// Set the type of the project (default: detected)
    #[arg(
        short = 't',
        long = "type",
        visible_alias = "template",
        value_name = "TYPE",
        value_parser = super::choices::PROJECT
    )]
    kind: Option<Type>,

    /// Set the name of the project (default: the name of the directory)
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// Set the image that a Dockerfile or a program runs on; builtin is the built-in runtime
    #[arg(long, value_name = "IMAGE", default_value = "builtin")]
    runtime: String,

    /// Overwrite an existing Kraftfile
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let started = init::create(
        app,
        &InitRequest {
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
