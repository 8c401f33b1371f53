//! `kraft x probe`.

use std::fmt::Write as _;
use std::path::PathBuf;

use kraft_core::kernel::libraries::{self, Library};
use kraft_sys::fs;
use serde::Serialize;

use crate::app::App;
use crate::commands::build::Which;
use crate::failure::{Failure, Kind};
use crate::ops::probe;
use crate::ui::{Cell, Column, Format};

/// Tell what a kernel says of the libraries it was linked from
///
/// Reads the metadata that Unikraft puts into kernels: versions, licences, the compiler. Of a kernel
/// with a `.dbg` file beside it, that file is read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft x probe .unikraft/build/app_qemu-x86_64
  kraft x probe unikraft.org/nginx:latest -o json")]
pub(crate) struct Args {
    /// A kernel file, the directory of a project, or an image
    #[arg(value_name = "KERNEL")]
    kernel: Option<String>,

    #[command(flatten)]
    which: Which,

    /// Write a Kraftfile that asks for these libraries
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_kraftfile: Option<PathBuf>,

    /// Write the configuration that the kernel carries
    #[arg(short = 'c', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_config: Option<PathBuf>,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// All of it, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Document<'a> {
    kernel: String,
    core: Option<&'a Library>,
    libraries: &'a [Library],
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let kraftfile = args.which.kraftfile.as_deref();
    let kernel = probe::find(app, args.kernel.as_deref(), &args.which.wish(), kraftfile)?;
    let shown = kernel.path.display().to_string();
    let all = libraries::read(&kernel.bytes)
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot probe `{shown}`: {error}")))?;
    let config = all.iter().find_map(|library| library.config.clone());
    let (cores, libraries): (Vec<Library>, Vec<Library>) =
        all.into_iter().partition(|library| library.name.is_none());
    if let Some(path) = &args.write_kraftfile {
        fs::replace_file(path, kraftfile_of(&cores, &libraries).as_bytes())?;
    }
    if let Some(path) = &args.write_config {
        let Some(config) = config else {
            return Err(Failure::new(
                Kind::NotFound,
                format!("`{shown}` does not carry its configuration"),
            )
            .hint("build it with `CONFIG_LIBUKLIBID_INFO_UKCONFIG=y`"));
        };
        fs::replace_file(path, config.as_bytes())?;
    }
    match args.output {
        Format::Json => app.ui.json(&document(shown, &cores, &libraries)),
        Format::Yaml => app.ui.yaml(&document(shown, &cores, &libraries)),
        Format::Table | Format::List => {
            app.ui.listing(args.output, &cores, &columns("CORE"))?;
            app.ui.line("")?;
            let mut columns = columns("LIBRARY");
            columns.push(Column {
                title: "COMPILE FLAGS",
                cell: |row| Cell::new(row.flags.join(",")),
            });
            app.ui.listing(args.output, &libraries, &columns)
        }
    }
}

fn document<'a>(kernel: String, cores: &'a [Library], libraries: &'a [Library]) -> Document<'a> {
    Document {
        kernel,
        core: cores.first(),
        libraries,
    }
}

/// Writes a Kraftfile as far as the metadata tell: versions, but not where anything is from.
fn kraftfile_of(cores: &[Library], libraries: &[Library]) -> String {
    let version = |library: &Library| library.unikraft.clone().or_else(|| library.version.clone());
    let core = cores.iter().find_map(version);
    let mut text = format!(
        "spec: v0.6\nunikraft: {}\n",
        core.as_deref().unwrap_or("stable")
    );
    // Libraries with a version of their own are not part of the core.
    let own: Vec<(&str, &str)> = libraries
        .iter()
        .filter_map(|library| {
            let name = library.name.as_deref()?;
            let version = library
                .version
                .as_deref()
                .filter(|own| Some(*own) != core.as_deref())?;
            Some((name.strip_prefix("lib").unwrap_or(name), version))
        })
        .collect();
    if !own.is_empty() {
        text.push_str("libraries:\n");
    }
    for (name, version) in own {
        let _ = writeln!(text, "  {name}: '{}'", version.replace('\'', "''"));
    }
    text
}

fn cell(text: Option<&String>) -> Cell {
    Cell::new(text.map_or("-", String::as_str))
}

/// Returns what is told of the core and of libraries alike.
fn columns(first: &'static str) -> Vec<Column<Library>> {
    vec![
        Column {
            title: first,
            cell: |row| Cell::new(row.name.as_deref().unwrap_or("unikraft")),
        },
        Column {
            title: "VERSION",
            cell: |row| cell(row.version.as_ref().or(row.unikraft.as_ref())),
        },
        Column {
            title: "LICENSE",
            cell: |row| cell(row.license.as_ref()),
        },
        Column {
            title: "COMPILER",
            cell: |row| cell(row.compiler.as_ref()),
        },
        Column {
            title: "COMPILE DATE",
            cell: |row| cell(row.compiled.as_ref()),
        },
        Column {
            title: "COMPILED BY",
            cell: |row| cell(row.compiled_by.as_ref()),
        },
        Column {
            title: "COMPILED BY ASSOC",
            cell: |row| cell(row.compiled_by_assoc.as_ref()),
        },
    ]
}
