//! `kraft init`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kraft_core::kraftfile::{FILE_NAMES, normalised};
use kraft_sys::fs;

use crate::app::App;
use crate::failure::{Failure, Kind};

/// Begin a project
///
/// Looks at what is there - a Dockerfile, sources in C, a program - and writes a Kraftfile for it, an
/// ignore file for what kraft makes, and for sources in C a Makefile.uk. Nothing is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft init
  kraft init --type c --name hello ./hello")]
pub(crate) struct Args {
    /// The directory of the project; it is made if it is not there
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,

    /// The name of the project; that of the directory if left out
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// What the project is made from; found out if left out
    #[arg(short, long = "type", value_name = "TYPE")]
    kind: Option<Origin>,

    /// The image that a Dockerfile or a program runs on
    #[arg(long, value_name = "IMAGE", default_value = "base:latest")]
    runtime: String,

    /// Overwrite a Kraftfile that is there
    #[arg(short, long)]
    force: bool,
}

/// What a project is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// A Dockerfile makes the root filesystem
    Dockerfile,
    /// Sources in C become part of the kernel
    C,
    /// A program of Linux runs on a ready kernel
    Binary,
}

/// What was found in the directory.
#[derive(Debug, Default)]
struct Found {
    dockerfile: Option<String>,
    sources: Vec<String>,
    program: Option<String>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    fs::create_dir_all(&dir, 0o755)?;
    let dir = dir.canonicalize().map_err(fs::Error::on("open", &dir))?;
    let there = FILE_NAMES.iter().find(|name| dir.join(name).exists());
    if let Some(name) = there.filter(|_| !args.force) {
        return Err(Failure::new(
            Kind::Failed,
            format!(
                "there is a project in `{}` already: it has a {name}",
                dir.display()
            ),
        )
        .hint("`--force` overwrites it"));
    }
    let found = look(&dir)?;
    let kind = match args.kind {
        Some(kind) => kind,
        None => choose(app, &found)?,
    };
    let name = name(args, &dir)?;
    let file = dir.join(there.copied().unwrap_or("Kraftfile"));
    write(app, &file, &kraftfile(kind, &name, &found, &args.runtime))?;
    if kind == Origin::C && !dir.join("Makefile.uk").exists() {
        if found.sources.is_empty() {
            write(app, &dir.join("main.c"), MAIN_C)?;
        }
        write(app, &dir.join("Makefile.uk"), &makefile(&name, &found))?;
    }
    ignore(app, &dir, ".gitignore")?;
    if kind == Origin::Dockerfile {
        ignore(app, &dir, ".dockerignore")?;
    }
    app.ui.info(match kind {
        Origin::C => "next: `kraft build`, then `kraft run`",
        Origin::Dockerfile | Origin::Binary => "next: `kraft run`",
    });
    Ok(())
}

fn look(dir: &Path) -> Result<Found, Failure> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map_err(fs::Error::on("read", dir))?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    let mut found = Found::default();
    for name in names {
        if name == "Dockerfile" || (found.dockerfile.is_none() && name.starts_with("Dockerfile.")) {
            found.dockerfile = Some(name);
        } else if Path::new(&name)
            .extension()
            .is_some_and(|ending| ending == "c")
        {
            found.sources.push(name);
        } else if found.program.is_none() && is_program(&dir.join(&name)) {
            found.program = Some(name);
        }
    }
    Ok(found)
}

/// Whether a file is a program of Linux: ELF, executable or position independent.
fn is_program(path: &Path) -> bool {
    use std::io::Read;

    let mut head = [0; 18];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && matches!(head, [.., 2 | 3, 0])
}

fn choose(app: &App, found: &Found) -> Result<Origin, Failure> {
    let mut fitting = Vec::new();
    if let Some(name) = &found.dockerfile {
        fitting.push((Origin::Dockerfile, format!("the {name}")));
    }
    if !found.sources.is_empty() {
        fitting.push((
            Origin::C,
            format!("the sources {}", found.sources.join(", ")),
        ));
    }
    if let Some(name) = &found.program {
        fitting.push((Origin::Binary, format!("the program {name}")));
    }
    let lines: Vec<String> = fitting.iter().map(|(_, text)| text.clone()).collect();
    match fitting.as_slice() {
        [] => Err(Failure::new(
            Kind::NotFound,
            "there is nothing here that a project could be made from",
        )
        .hint(
            "put a Dockerfile, sources in C or a program here, or begin with `kraft init --type c`",
        )),
        [(only, text)] => {
            app.ui.info(&format!("making a project from {text}"));
            Ok(*only)
        }
        [(first, text), ..] => {
            if let Some(at) = app.ui.select("What is the project made from?", &lines)? {
                Ok(fitting.get(at).map_or(*first, |(kind, _)| *kind))
            } else {
                app.ui.info(&format!(
                    "making a project from {text}; `--type` says otherwise"
                ));
                Ok(*first)
            }
        }
    }
}

fn name(args: &Args, dir: &Path) -> Result<String, Failure> {
    let name = if let Some(name) = &args.name {
        name.clone()
    } else {
        let name = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        normalised(&name.unwrap_or_default())
    };
    if normalised(&name).is_empty() || name.contains(['/', '\n', '\'']) {
        return Err(Failure::usage(format!("`{name}` is no name of a project"))
            .hint("name it with `--name`: letters, digits, `_` and `-`"));
    }
    Ok(name)
}

fn kraftfile(kind: Origin, name: &str, found: &Found, runtime: &str) -> String {
    let head = format!("spec: v0.6\n\nname: '{name}'\n\n");
    match kind {
        Origin::Dockerfile => format!(
            "{head}runtime: {runtime}\n\nrootfs: ./{}\n",
            found.dockerfile.as_deref().unwrap_or("Dockerfile")
        ),
        Origin::Binary => {
            let program = found.program.as_deref().unwrap_or("program");
            format!(
                "{head}runtime: {runtime}\n\n# The directory becomes the root filesystem.\nrootfs: ./\n\ncmd: [\"/{program}\"]\n"
            )
        }
        Origin::C => format!(
            "{head}unikraft:\n  version: stable\n\ntargets:\n- qemu/{}\n",
            std::env::consts::ARCH.replace("aarch64", "arm64")
        ),
    }
}

fn makefile(name: &str, found: &Found) -> String {
    let library: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let library = format!("app{}", library.to_lowercase());
    let variable = library.to_uppercase();
    let mut text = format!("$(eval $(call addlib,{library}))\n\n");
    let only_main = ["main.c".to_owned()];
    let sources = if found.sources.is_empty() {
        &only_main[..]
    } else {
        &found.sources
    };
    for source in sources {
        let _ = writeln!(text, "{variable}_SRCS-y += $({variable}_BASE)/{source}");
    }
    text
}

const MAIN_C: &str =
    "#include <stdio.h>\n\nint main(void)\n{\n\tprintf(\"Hello, world!\\n\");\n\treturn 0;\n}\n";

/// Lines for what kraft makes, added to an ignore file.
fn ignore(app: &App, dir: &Path, name: &str) -> Result<(), Failure> {
    const LINES: [&str; 2] = [".unikraft", ".config.*"];
    let path = dir.join(name);
    let mut text = match fs::read_file(&path, 1 << 20) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let before = text.len();
    for line in LINES {
        let known = text.lines().any(|known| known.trim_matches('/') == line);
        if !known {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    if text.len() != before {
        write(app, &path, &text)?;
    }
    Ok(())
}

fn write(app: &App, path: &Path, text: &str) -> Result<(), Failure> {
    fs::replace_file(path, text.as_bytes())?;
    app.ui.line(&path.display().to_string())
}
