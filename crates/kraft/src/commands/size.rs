//! `kraft size`.

use std::ffi::OsString;
use std::path::PathBuf;

use kraft_core::kernel::object::Class;
use kraft_core::kernel::size::{By, Libraries, LibrarySize, Measured, SizeChange, SymbolSize};
use serde::Serialize;

use crate::app::App;
use crate::commands::build::Which;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::probe::{self, KernelFiles};

/// Show kernel size by library, symbol or section
///
/// Every byte that is in memory when the kernel runs is counted once, and each listing adds up to
/// the sizes of the sections. `-` lists unattributed bytes, such as padding and string literals.
///
/// Symbols are read from the debug image next to the kernel. They are attributed to libraries by
/// the object files of the build; ambiguous symbols are unattributed.
///
/// With two kernels, shows the differences.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft size
  kraft size --sections -t qemu/x86_64
  kraft size before/app_qemu-x86_64 app_qemu-x86_64 --symbols")]
pub(crate) struct Args {
    /// Kernel file, project directory or image (default: the current directory)
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    kernel: Option<OsString>,

    /// Kernel to compare with
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    other: Option<OsString>,

    /// Show the sizes of libraries (default)
    #[arg(long, visible_alias = "libraries", group = "what")]
    libs: bool,

    /// Show the sizes of symbols
    #[arg(long, group = "what")]
    symbols: bool,

    /// Show the sizes of sections
    #[arg(long, group = "what")]
    sections: bool,

    /// Use the object files in this directory
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    objects: Option<PathBuf>,

    #[command(flatten)]
    which: Which,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Serialize)]
struct SectionRow {
    name: String,
    #[serde(rename = "use")]
    class: Class,
    size: u64,
    size_in_file: u64,
    address: u64,
}

/// A kernel with the symbols of its libraries, as far as their object files exist.
type Subject = (KernelFiles, Libraries);

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let mut subjects = vec![subject(app, args, args.kernel.as_ref())?];
    if args.other.is_some() {
        subjects.push(subject(app, args, args.other.as_ref())?);
    }
    let by = by(app, args, &subjects)?;
    let measured: Vec<Measured> = subjects
        .iter()
        .map(|subject| measured(subject, by))
        .collect::<Result<_, _>>()?;
    match (measured.as_slice(), by) {
        ([before, after], _) => compare(app, args.output, &before.changes(after, by)),
        ([only, ..], By::Section) => sections(app, args.output, only),
        ([only, ..], By::Library) => libraries(app, args.output, only),
        ([only, ..], By::Symbol) => app.ui.listing(args.output, &only.symbols(), SYMBOLS),
        ([], _) => Ok(()),
    }
}

fn subject(app: &App, args: &Args, word: Option<&OsString>) -> Result<Subject, Failure> {
    let word = word.map(OsString::as_os_str);
    let which = &args.which;
    let mut specimen = probe::find(app, word, which.kraftfile.as_deref(), &which.filter())?;
    if let Some(dir) = &args.objects {
        specimen.objects = vec![dir.clone()];
    }
    let libraries = if args.sections {
        Libraries::default()
    } else {
        specimen.libraries(app)?
    };
    Ok((specimen, libraries))
}

/// Returns the type of the rows: the requested type, else libraries, if these are known.
fn by(app: &App, args: &Args, subjects: &[Subject]) -> Result<By, Failure> {
    if args.sections {
        return Ok(By::Section);
    }
    if args.symbols {
        return Ok(By::Symbol);
    }
    let Some((specimen, _)) = subjects.iter().find(|(_, libraries)| libraries.is_empty()) else {
        return Ok(By::Library);
    };
    let missing = format!(
        "the object files of `{}` are missing",
        specimen.kernel.display()
    );
    if args.libs {
        return Err(Failure::new(Kind::NotFound, missing)
            .hint("build it again, or pass their directory with `--objects`")
            .hint("`kraft size --symbols` and `--sections` need none"));
    }
    app.ui
        .info(&format!("{missing}; showing the sizes of sections"));
    Ok(By::Section)
}

fn measured((specimen, libraries): &Subject, by: By) -> Result<Measured, Failure> {
    let (read, measured) = specimen.measure(libraries)?;
    if by != By::Section && measured.shares.iter().all(|share| share.symbol.is_none()) {
        return Err(Failure::new(
            Kind::NotFound,
            format!("`{}` has no symbols", read.display()),
        )
        .hint("pass its debug image, the `.dbg` file that is built with it"));
    }
    Ok(measured)
}

fn sections(app: &App, output: Format, measured: &Measured) -> Result<(), Failure> {
    let rows: Vec<SectionRow> = measured
        .sections
        .iter()
        .map(|section| SectionRow {
            name: section.section.clone(),
            class: section.class,
            size: section.size,
            size_in_file: section.size_in_file,
            address: section.address,
        })
        .collect();
    app.ui.listing(output, &rows, SECTIONS)
}

fn libraries(app: &App, output: Format, measured: &Measured) -> Result<(), Failure> {
    let (mut rows, total) = measured.libraries();
    if matches!(output, Format::Table | Format::List) {
        rows.push(total);
    }
    app.ui.listing(output, &rows, LIBRARIES)
}

fn compare(app: &App, output: Format, changes: &[SizeChange]) -> Result<(), Failure> {
    if changes.is_empty() && output == Format::Table {
        app.ui.info("the kernels are equal");
        return Ok(());
    }
    app.ui.listing(output, changes, CHANGES)
}

const SECTIONS: &[Column<SectionRow>] = &[
    Column {
        title: "SECTION",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "SIZE",
        cell: |row| Cell::new(row.size.to_string()),
    },
    Column {
        title: "IN FILE",
        cell: |row| Cell::new(row.size_in_file.to_string()),
    },
    Column {
        title: "ADDRESS",
        cell: |row| Cell::new(format!("{:#x}", row.address)),
    },
];

const LIBRARIES: &[Column<LibrarySize>] = &[
    Column {
        title: "LIBRARY",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "TEXT",
        cell: |row| Cell::new(row.text.to_string()),
    },
    Column {
        title: "RODATA",
        cell: |row| Cell::new(row.rodata.to_string()),
    },
    Column {
        title: "DATA",
        cell: |row| Cell::new(row.data.to_string()),
    },
    Column {
        title: "BSS",
        cell: |row| Cell::new(row.bss.to_string()),
    },
    Column {
        title: "TOTAL",
        cell: |row| Cell::new(row.total.to_string()),
    },
];

const SYMBOLS: &[Column<SymbolSize>] = &[
    Column {
        title: "SIZE",
        cell: |row| Cell::new(row.size.to_string()),
    },
    Column {
        title: "SECTION",
        cell: |row| Cell::new(&row.section),
    },
    Column {
        title: "LIBRARY",
        cell: |row| Cell::new(&row.library),
    },
    Column {
        title: "SYMBOL",
        cell: |row| Cell::new(&row.name),
    },
];

const CHANGES: &[Column<SizeChange>] = &[
    Column {
        title: "NAME",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "BEFORE",
        cell: |row| Cell::new(row.before.to_string()),
    },
    Column {
        title: "AFTER",
        cell: |row| Cell::new(row.after.to_string()),
    },
    Column {
        title: "CHANGE",
        cell: |row| Cell::new(format!("{:+}", row.change)),
    },
];
