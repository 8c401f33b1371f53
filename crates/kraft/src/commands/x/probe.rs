//! `kraft x probe`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;
use kraft_core::kernel::libinfo::{self, Info, LibInfo};
use kraft_sys::fs;
use serde::Serialize;

use crate::app::App;
use crate::commands::values::{self, PlatformArg};
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::probe::{self, KernelFiles, ObjectFile};
use kraft_engine::project::TargetFilter;
use kraft_engine::reconstruct::reconstruct;

/// Show the core and the libraries of a kernel
///
/// Reads the library records that Unikraft's `lib/uklibid` embeds in a kernel. If the kernel has
/// none, as on arm64, the debug image next to it is read.
///
/// A Kraftfile and a configuration can be generated from the records. They are incomplete: a kernel
/// does not record the sources of its components, and only a kernel built with
/// `LIBUKLIBID_INFO_UKCONFIGGZ` contains its configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft x probe .unikraft/build/app_qemu-x86_64
  kraft x probe unikraft.org/helloworld:latest -o json
  kraft x probe kernel -K > Kraftfile")]
pub(crate) struct Args {
    /// Kernel file, project directory or image (default: the current directory)
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    kernel: Option<OsString>,

    /// Print a Kraftfile for the kernel, or write it to a file
    #[arg(short = 'K', long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "-", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Print the configuration of the kernel, or write it to a file
    #[arg(short, long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "-", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,

    /// Select the kernel for this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Select the kernel for this platform
    #[arg(short, long, value_name = "PLATFORM", value_parser = values::platform())]
    plat: Option<PlatformArg>,

    /// Select this target of a project: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// The fields of `-o json` and `-o yaml`.
#[derive(Debug, Serialize)]
struct Probed<'a> {
    kernel: &'a Path,
    /// The file with the records: the kernel, or its debug image.
    read: &'a Path,
    core: &'a Info,
    libraries: &'a [Info],
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let filter = TargetFilter {
        name: args.target.as_deref(),
        platform: args.plat.and_then(|plat| plat.0),
        arch: args.arch,
    };
    let specimen = probe::find(app, args.kernel.as_deref(), None, &filter)?;
    let reading = specimen.read(|object| object.section(libinfo::SECTION).is_some())?;
    let mut info = probe::records(&reading)?;
    if info.core.is_none() && info.libraries.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            format!("`{}` contains no library records", reading.path.display()),
        )
        .hint("build the kernel with `LIBUKLIBID_INFO`"));
    }
    if args.kraftfile.is_some() || args.config.is_some() {
        return write_back(app, args, &specimen, &reading, &info);
    }
    if reading.path != specimen.kernel {
        app.ui
            .info(&format!("read from `{}`", reading.path.display()));
    }
    let mut core = info.core.take().unwrap_or_default();
    core.name.get_or_insert_with(|| "unikraft".to_owned());
    print(
        app,
        args.output,
        &specimen,
        &reading,
        &core,
        &info.libraries,
    )
}

fn print(
    app: &App,
    output: Format,
    specimen: &KernelFiles,
    reading: &ObjectFile,
    core: &Info,
    libraries: &[Info],
) -> Result<(), Failure> {
    let probed = Probed {
        kernel: &specimen.kernel,
        read: &reading.path,
        core,
        libraries,
    };
    match output {
        Format::Json => app.ui.json(&probed),
        Format::Yaml => app.ui.yaml(&probed),
        Format::Table | Format::List => {
            app.ui
                .listing(output, std::slice::from_ref(core), &columns("CORE"))?;
            app.ui.line("")?;
            let mut columns = columns("LIBRARY");
            columns.push(Column {
                title: "COMPILE FLAGS",
                cell: |info| Cell::new(info.compile_flags.join(" ")),
            });
            app.ui.listing(output, libraries, &columns)
        }
    }
}

/// Returns the columns of both tables.
fn columns(first: &'static str) -> Vec<Column<Info>> {
    fn cell(text: Option<&String>) -> Cell {
        Cell::new(text.map_or("-", String::as_str))
    }
    vec![
        Column {
            title: first,
            cell: |info| cell(info.name.as_ref()),
        },
        Column {
            title: "VERSION",
            cell: |info| cell(info.version.as_ref()),
        },
        Column {
            title: "LICENSE",
            cell: |info| cell(info.license.as_ref()),
        },
        Column {
            title: "COMPILER",
            cell: |info| cell(info.compiler.as_ref()),
        },
        Column {
            title: "COMPILE DATE",
            cell: |info| cell(info.compile_date.as_ref()),
        },
        Column {
            title: "COMPILED BY",
            cell: |info| cell(info.compiled_by.as_ref()),
        },
        Column {
            title: "COMPILED BY ASSOC",
            cell: |info| cell(info.compiled_by_assoc.as_ref()),
        },
    ]
}

/// Writes a Kraftfile and a configuration to files or to stdout.
fn write_back(
    app: &App,
    args: &Args,
    specimen: &KernelFiles,
    reading: &ObjectFile,
    info: &LibInfo<'_>,
) -> Result<(), Failure> {
    let project = reconstruct(specimen, reading, info)?;
    if let Some(to) = &args.kraftfile {
        put(app, to, &project.kraftfile)?;
    }
    if let Some(to) = &args.config {
        put(app, to, &project.config)?;
    }
    if !project.has_config {
        app.ui
            .warn("the kernel does not contain its configuration; the output is incomplete");
    }
    Ok(())
}

fn put(app: &App, to: &Path, text: &str) -> Result<(), Failure> {
    if to == Path::new("-") {
        return app.ui.text(text);
    }
    fs::replace_file(to, text.as_bytes())?;
    Ok(())
}
