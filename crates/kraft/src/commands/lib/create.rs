//! `kraft lib create`.

use std::fmt::Write as _;
use std::path::PathBuf;

use kraft_sys::{fs, tool};

use crate::app::App;
use crate::failure::{Failure, Kind};

/// Begin a library of one's own
///
/// Writes its options (Config.uk), its rules (Makefile.uk), a source, and what a repository needs.
/// What is not said by flags is asked on a terminal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: kraft lib create greet --author-name Me --author-email me@example.org -v 1.0.0"
)]
pub(crate) struct Args {
    /// The name of the library
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// The name of the library, for scripts that were written so
    #[arg(long, hide = true, value_name = "NAME")]
    project_name: Option<String>,

    /// The name of its repository; `lib-NAME` if left out
    #[arg(long, value_name = "NAME")]
    library_name: Option<String>,

    /// The option that switches it on; `LIBNAME` if left out
    #[arg(long, value_name = "OPTION")]
    library_kname: Option<String>,

    /// Its version
    #[arg(short, long, value_name = "VERSION")]
    version: Option<String>,

    /// What it does, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Who writes it
    #[arg(long, value_name = "NAME")]
    author_name: Option<String>,

    /// How to reach them
    #[arg(long, value_name = "EMAIL")]
    author_email: Option<String>,

    /// The branch that its repository begins with
    #[arg(long, value_name = "BRANCH", default_value = "staging")]
    initial_branch: String,

    /// Who has the rights; the author if left out
    #[arg(long, value_name = "NAME")]
    copyright_holder: Option<String>,

    /// Where the sources are from that it ports: the URL of an archive
    #[arg(long, value_name = "URL")]
    origin: Option<String>,

    /// Write no source
    #[arg(long)]
    no_provide_c_main: bool,

    /// Make a Git repository of it
    #[arg(long)]
    git_init: bool,

    /// Make a directory for patches of this name
    #[arg(long, value_name = "DIR")]
    patch_dir: Option<PathBuf>,

    /// Add it to the catalog
    #[arg(long)]
    update_refs: bool,

    /// The directory that it is made in
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    project_path: Option<PathBuf>,
}

/// Everything that is needed.
#[derive(Debug)]
struct Library {
    /// Its name: `greet`.
    name: String,
    /// Its directory's name: `lib-greet`.
    repository: String,
    /// The option that switches it on: `LIBGREET`.
    option: String,
    version: String,
    description: String,
    author: String,
    email: String,
    holder: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let library = understand(app, args)?;
    let base = args
        .project_path
        .clone()
        .unwrap_or_else(|| PathBuf::from("."));
    let dir = base.join(&library.repository);
    if dir.exists() {
        return Err(Failure::new(
            Kind::Failed,
            format!("there is a `{}` already", dir.display()),
        )
        .hint("give the library another name, or remove what is there"));
    }
    for (name, text) in files(&library, args) {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent, 0o755)?;
        }
        fs::replace_file(&path, text.as_bytes())?;
    }
    if let Some(patches) = &args.patch_dir {
        if patches.is_absolute() || patches.components().any(|part| part.as_os_str() == "..") {
            return Err(Failure::usage(
                "the directory for patches belongs into the library",
            ));
        }
        fs::create_dir_all(&dir.join(patches), 0o755)?;
    }
    if args.git_init {
        tool::Tool::new("git")
            .package("git")
            .args(["init", "--quiet", "-b", &args.initial_branch, "--"])
            .args([&dir])
            .run()
            .map_err(|error| Failure::new(Kind::Host, error))?;
    }
    app.ui.line(&dir.display().to_string())?;
    if args.update_refs {
        let place = crate::config::dirs::absolute(&dir)
            .to_string_lossy()
            .into_owned();
        crate::commands::pkg::add_source(app, &place)?;
    }
    app.ui.info(&format!(
        "next: `kraft lib add {}` in the directory of a project",
        dir.display()
    ));
    Ok(())
}

/// Puts together what flags, Git and the user say.
fn understand(app: &App, args: &Args) -> Result<Library, Failure> {
    let ask = |given: Option<&String>, question: &str, default: Option<String>| {
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            return Ok(Some(given.clone()));
        }
        let shown = match &default {
            Some(default) => format!("{question} [{default}]"),
            None => question.to_owned(),
        };
        let answer = app.ui.ask(&shown)?;
        Ok::<_, Failure>(answer.filter(|answer| !answer.is_empty()).or(default))
    };
    let asks = |key: &str| {
        let said = tool::Tool::new("git").args(["config", key]).output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        (said.status.success() && !text.is_empty()).then_some(text)
    };
    let name = ask(
        args.name.as_ref().or(args.project_name.as_ref()),
        "Name of the library",
        None,
    )?;
    let version = ask(args.version.as_ref(), "Version", None)?;
    let author = ask(
        args.author_name.as_ref(),
        "Name of the author",
        asks("user.name"),
    )?;
    let email = ask(
        args.author_email.as_ref(),
        "Email of the author",
        asks("user.email"),
    )?;
    let (Some(name), Some(version), Some(author), Some(email)) =
        (name.clone(), version.clone(), author.clone(), email.clone())
    else {
        let missing: Vec<&str> = [
            (name.is_none(), "project name cannot be empty"),
            (version.is_none(), "version cannot be empty"),
            (author.is_none(), "author name cannot be empty"),
            (email.is_none(), "author email cannot be empty"),
        ]
        .iter()
        .filter(|(is_missing, _)| *is_missing)
        .map(|(_, text)| *text)
        .collect();
        return Err(Failure::usage(missing.join("\n"))
            .hint("say so by flags: NAME, `--version`, `--author-name`, `--author-email`"));
    };
    let bare = name.strip_prefix("lib-").unwrap_or(&name).to_owned();
    let fits = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !fits(&bare) {
        return Err(Failure::usage(format!("`{name}` is no name of a library"))
            .hint("expected letters, digits, `-` and `_`"));
    }
    let repository = args
        .library_name
        .clone()
        .unwrap_or_else(|| format!("lib-{bare}"));
    let option = args
        .library_kname
        .clone()
        .unwrap_or_else(|| format!("LIB{}", bare.replace('-', "").to_uppercase()));
    if !fits(&repository) || !fits(&option) {
        return Err(Failure::usage(
            "the names of the repository and the option may have letters, digits, `-` and `_`",
        ));
    }
    Ok(Library {
        name: bare,
        repository,
        option: option.strip_prefix("CONFIG_").unwrap_or(&option).to_owned(),
        version,
        description: args.description.clone().unwrap_or_default(),
        holder: args
            .copyright_holder
            .clone()
            .unwrap_or_else(|| author.clone()),
        author,
        email,
    })
}

fn files(library: &Library, args: &Args) -> Vec<(&'static str, String)> {
    let Library {
        name,
        repository,
        option,
        version,
        description,
        author,
        email,
        holder,
    } = library;
    let what = if description.is_empty() {
        "a library"
    } else {
        description
    };
    let lower = format!("lib{}", name.replace('-', ""));
    let variable = lower.to_uppercase();
    let mut makefile = format!(
        "# {name} {version}: {what}\n\n$(eval $(call addlib_s,{lower},$(CONFIG_{option})))\n\n{variable}_VERSION = {version}\n"
    );
    if let Some(origin) = &args.origin {
        let _ = write!(
            makefile,
            "\n# The sources that this library ports are fetched from here.\n{variable}_URL = {origin}\n\
             $(eval $(call fetch,{lower},$({variable}_URL)))\n"
        );
        if let Some(patches) = &args.patch_dir {
            let _ = write!(
                makefile,
                "{variable}_PATCHDIR = $({variable}_BASE)/{}\n$(eval $(call patch,{lower},$({variable}_PATCHDIR),{name}-$({variable}_VERSION)))\n",
                patches.display()
            );
        }
    }
    if !args.no_provide_c_main {
        let _ = write!(
            makefile,
            "\n{variable}_SRCS-y += $({variable}_BASE)/main.c\n"
        );
    }
    let function = lower.clone();
    let mut files = vec![
        (
            "Config.uk",
            format!("menuconfig {option}\n\tbool \"{name}: {what}\"\n\tdefault n\n\nif {option}\n\nendif\n"),
        ),
        ("Makefile.uk", makefile),
        (
            "README.md",
            format!(
                "# {repository}\n\n{name} {version}: {what}, for Unikraft.\n\nAdd it to a project with `kraft lib add`; \
                 `CONFIG_{option}` switches it on.\n"
            ),
        ),
        (
            "CONTRIBUTING.md",
            format!(
                "# Contributing\n\nChanges are welcome, with a commit message that says why and a `Signed-off-by` line. \
                 Ask {author} <{email}>.\n"
            ),
        ),
        (
            "CODING_STYLE.md",
            "# Coding style\n\nC as in the Unikraft core: tabs, lines of at most 80 columns, comments that say why.\n".to_owned(),
        ),
        ("COPYING.md", licence(holder)),
    ];
    if !args.no_provide_c_main {
        files.push((
            "main.c",
            format!("/* {name}: {what} */\n\nvoid {function}_hello(void);\n\nvoid {function}_hello(void)\n{{\n}}\n"),
        ));
    }
    files
}

fn licence(holder: &str) -> String {
    format!(
        "SPDX-License-Identifier: BSD-3-Clause\n\nCopyright {holder}. The terms are those of the BSD-3-Clause licence,\n<https://spdx.org/licenses/BSD-3-Clause.html>.\n"
    )
}
