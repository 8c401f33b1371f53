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

/// Begin a library of one's own
///
/// Makes a directory `lib-NAME`, and in it the files of a library: its options, its
/// makefile, what a reader should know, and a `main.c` that can be switched on.
///
/// What is not said by flags is asked for on a terminal. Elsewhere the names of the project, the
/// version and the author must be given; the author may be the one of the Git configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft lib create
  kraft lib create hello --version 1.0.0 --git-init
  kraft lib create zlib -v 1.3.1 --patch-dir --origin https://zlib.net/zlib-1.3.1.tar.gz")]
pub(crate) struct Args {
    /// The name of the library, for people
    #[arg(value_name = "NAME", conflicts_with = "project_name")]
    name: Option<String>,

    /// The same, as a flag
    #[arg(long, value_name = "NAME")]
    project_name: Option<String>,

    /// The name of the library and of its directory; `lib-NAME` if left out
    #[arg(long, value_name = "NAME")]
    library_name: Option<String>,

    /// The name of its option; `LIBNAME` if left out
    #[arg(long, value_name = "NAME")]
    library_kname: Option<String>,

    /// The version of the library, or of what it brings
    #[arg(short, long, value_name = "VERSION")]
    version: Option<String>,

    /// What it is, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Who writes it; as Git knows you if left out
    #[arg(long, value_name = "NAME")]
    author_name: Option<String>,

    /// Their address; as Git knows you if left out
    #[arg(long, value_name = "ADDRESS")]
    author_email: Option<String>,

    /// The branch that work begins on
    #[arg(long, value_name = "BRANCH", default_value = "staging")]
    initial_branch: String,

    /// Who has the copyright; the author if left out
    #[arg(long, value_name = "NAME")]
    copyright_holder: Option<String>,

    /// The URL of an archive of sources that the library brings
    #[arg(long, value_name = "URL")]
    origin: Option<String>,

    /// Leave `main.c` out
    #[arg(long)]
    no_provide_c_main: bool,

    /// Make it a Git repository with a first commit
    #[arg(long)]
    git_init: bool,

    /// Make a directory for patches to the sources it brings
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "patches")]
    patch_dir: Option<String>,

    /// Add it to the catalog of this computer
    #[arg(long)]
    update_refs: bool,

    /// The directory that its own is made in
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
        "in the directory of a project, `kraft lib add {}` adds it",
        dir.display()
    ));
    Ok(())
}

/// Completes what was typed by what is answered and by what follows from the rest.
fn library(app: &App, args: &Args) -> Result<Library, Failure> {
    let project = args.name.as_ref().or(args.project_name.as_ref());
    let project = value(app, project, "Name of the project", None)?;
    let version = value(app, args.version.as_ref(), "Version", Some("1.0.0"))?;
    let description = value(
        app,
        args.description.as_ref(),
        "What it is, in one line",
        None,
    )?;
    let author = known(app, args.author_name.as_ref(), "Author", "user.name")?;
    let email = known(
        app,
        args.author_email.as_ref(),
        "Address of the author",
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

/// Returns what was typed, else what is answered; nothing where nobody can be asked.
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

/// Returns what was typed, else what is answered, else what Git knows.
fn known(app: &App, typed: Option<&String>, question: &str, key: &str) -> Result<String, Failure> {
    if let Some(typed) = typed {
        return Ok(typed.clone());
    }
    let git = library::of_git(key);
    let said = value(app, None, question, git.as_deref())?;
    Ok(if said.is_empty() {
        git.unwrap_or_default()
    } else {
        said
    })
}
