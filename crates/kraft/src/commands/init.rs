//! `kraft init`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::init::{self, InitRequest, Type};

/// Create a project
///
/// Detects what is in the directory: a Dockerfile, a Compose file, a project in Node.js, Python, Go,
/// Rust, PHP, Ruby, Java, Elixir or Deno, a web site, a program or kernel, or C and C++ sources.
/// Writes a Kraftfile for it; for a language also a Dockerfile and a .dockerignore, for C sources a
/// Makefile.uk. The files that kraft generates in a project are added to `.gitignore`.
///
/// Existing files are not overwritten. Prints the files it wrote.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft init
  kraft init --dry-run
  kraft init hello --template python
  kraft init --type go --program server
  kraft init web --template https://github.com/me/web.git")]
pub(crate) struct Args {
    /// Project directory; created if it does not exist (default: the current directory)
    #[arg(default_value = ".", hide_default_value = true, value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,

    /// Set the type of the project (default: detected)
    #[arg(
        short = 't',
        long = "type",
        value_name = "TYPE",
        value_parser = super::choices::PROJECT
    )]
    kind: Option<Type>,

    /// Select one of several programs: an executable, a script, a Go package or a Rust binary
    #[arg(long, value_name = "NAME")]
    program: Option<String>,

    /// Copy this into the directory first: c, node, python, go, rust, php, static, or a Git URL
    #[arg(long, value_name = "NAME|URL", conflicts_with = "kind")]
    template: Option<String>,

    /// Set the name of the project (default: the name of the directory)
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// Set the image that a Dockerfile or a program runs on; builtin is the built-in runtime
    #[arg(long, value_name = "IMAGE", default_value = "builtin")]
    runtime: String,

    /// Overwrite an existing Kraftfile
    #[arg(short, long)]
    force: bool,

    /// Print the files without writing them
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let started = init::create(
        app,
        &InitRequest {
            dir: &args.dir,
            kind: args.kind,
            name: args.name.as_deref(),
            runtime: &args.runtime,
            program: args.program.as_deref(),
            template: args.template.as_deref(),
            force: args.force,
            dry_run: args.dry_run,
        },
    )?;
    for (path, text) in &started.texts {
        app.ui.line(&format!("# {}", path.display()))?;
        app.ui.text(text)?;
    }
    for path in &started.written {
        app.ui.line(&path.display().to_string())?;
    }
    for next in &started.next {
        app.ui.info(next);
    }
    Ok(())
}
