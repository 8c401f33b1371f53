//! `kraft lib create`.

use std::path::PathBuf;

use jiff::Zoned;
use kraft_build::catalog;

use crate::app::App;
use crate::commands::pkg;
use crate::failure::{Failure, Kind};
use kraft_config::dirs::absolute;
use kraft_engine::components::Fetching;
use kraft_engine::library::{self, Library};
use kraft_engine::sources;

/// Create a library
///
/// Creates a directory `lib-NAME` with the files of a library: `Config.uk`, `Makefile.uk`, a
/// README, and an optional `main.c`.
///
/// Prompts for missing values on a terminal. Without one, the name of the project, the version and
/// the author are required; the author can be that of the Git configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft lib create
  kraft lib create hello --version 1.0.0 --git-init
  kraft lib create zlib -v 1.3.1 --patch-dir --origin https://zlib.net/zlib-1.3.1.tar.gz")]
pub(crate) struct Args {
    /// Human-readable name of the library
    #[arg(value_name = "NAME", conflicts_with = "project_name")]
    name: Option<String>,

    /// Set the name, as the argument does
    #[arg(long, value_name = "NAME")]
    project_name: Option<String>,

    /// Set the name of the library and its directory (default: `lib-NAME`)
    #[arg(long, value_name = "NAME")]
    library_name: Option<String>,

    /// Set the name of its KConfig option (default: `LIBNAME`)
    #[arg(long, value_name = "NAME")]
    library_kname: Option<String>,

    /// Set the version of the library or of its upstream sources
    #[arg(short, long, value_name = "VERSION")]
    version: Option<String>,

    /// Set the description, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Set the author (default: Git's `user.name`)
    #[arg(long, value_name = "NAME")]
    author_name: Option<String>,

    /// Set the email address of the author (default: Git's `user.email`)
    #[arg(long, value_name = "ADDRESS")]
    author_email: Option<String>,

    /// Set the initial branch
    #[arg(long, value_name = "BRANCH", default_value = "staging")]
    initial_branch: String,

    /// Set the copyright holder (default: the author)
    #[arg(long, value_name = "NAME")]
    copyright_holder: Option<String>,

    /// Set the URL of the archive with its upstream sources
    #[arg(long, value_name = "URL")]
    origin: Option<String>,

    /// Do not create `main.c`
    #[arg(long)]
    no_provide_c_main: bool,

    /// Create a Git repository with an initial commit
    #[arg(long)]
    git_init: bool,

    /// Create a directory for patches to the upstream sources
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "patches")]
    patch_dir: Option<String>,

    /// Add the library to the local catalog
    #[arg(long)]
    update_refs: bool,

    /// Create the library in this directory (default: the current directory)
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true,
          value_hint = clap::ValueHint::DirPath)]
    project_path: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let library = library(app, args)?;
    let problems = library.problems();
    if !problems.is_empty() {
        return Err(Failure::problems(Kind::Usage, problems));
    }
    let dir = library.create(Zoned::now().year())?;
    app.ui.line(&dir.display().to_string())?;
    if args.update_refs {
        let place = absolute(&dir).to_string_lossy().into_owned();
        pkg::add_source(app, &place)?;
        let mut places = sources::places(app);
        places.push(place);
        let door = sources::open(app, &Fetching::default())?;
        let progress = app.progress();
        catalog::update(&door, &sources::manifests(app), &places, &progress)?;
        return Ok(());
    }
    app.ui.info(&format!(
        "`kraft lib add {}` in the directory of a project adds it",
        dir.display()
    ));
    Ok(())
}

/// Completes the arguments by prompts and defaults.
fn library(app: &App, args: &Args) -> Result<Library, Failure> {
    let project = args.name.as_ref().or(args.project_name.as_ref());
    let project = value(app, project, "Name of the project", None)?;
    let version = value(app, args.version.as_ref(), "Version", Some("1.0.0"))?;
    let description = value(
        app,
        args.description.as_ref(),
        "Description, in one line",
        None,
    )?;
    let author = known(app, args.author_name.as_ref(), "Author", "user.name")?;
    let email = known(
        app,
        args.author_email.as_ref(),
        "Email address of the author",
        "user.email",
    )?;
    Ok(Library {
        name: args
            .library_name
            .clone()
            .unwrap_or_else(|| library::name(&project)),
        kname: args
            .library_kname
            .clone()
            .unwrap_or_else(|| library::kname(&project)),
        version,
        description,
        holder: args
            .copyright_holder
            .clone()
            .unwrap_or_else(|| author.clone()),
        author,
        email,
        branch: args.initial_branch.clone(),
        origin: args.origin.clone(),
        main: !args.no_provide_c_main,
        patches: args.patch_dir.clone(),
        git: args.git_init,
        path: args.project_path.clone(),
        project,
    })
}

/// Returns the argument, else the answer to a prompt; empty if prompts are not possible.
fn value(
    app: &App,
    typed: Option<&String>,
    question: &str,
    usual: Option<&str>,
) -> Result<String, Failure> {
    if let Some(typed) = typed {
        return Ok(typed.clone());
    }
    let offered = usual.map_or(String::new(), |usual| format!(" [{usual}]"));
    let answer = app.line(&format!("{question}{offered}: "))?;
    Ok(match answer {
        Some(answer) if answer.trim().is_empty() => usual.unwrap_or_default().to_owned(),
        Some(answer) => answer.trim().to_owned(),
        None => String::new(),
    })
}

/// Returns the argument, else the answer to a prompt, else the value of the Git configuration.
fn known(app: &App, typed: Option<&String>, question: &str, key: &str) -> Result<String, Failure> {
    if let Some(typed) = typed {
        return Ok(typed.clone());
    }
    let git = library::git_config(key);
    let said = value(app, None, question, git.as_deref())?;
    Ok(if said.is_empty() {
        git.unwrap_or_default()
    } else {
        said
    })
}
