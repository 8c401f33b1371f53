//! `kraft size`.

use std::collections::BTreeMap;

use kraft_core::kernel::sizes::{self, Library, Section, Sizes, Symbol};
use serde::Serialize;

use crate::app::App;
use crate::commands::build::Which;
use crate::failure::{Failure, Kind};
use crate::ops::probe;
use crate::ui::{Cell, Column, Format};

/// Tell how large a kernel is, and which libraries, symbols and sections make it so
///
/// Every byte that is loaded counts once, and the sums are those of the file; `-` has what belongs to
/// nobody, such as padding. Libraries are told apart by the objects that a build left, so they are
/// known of what was built in a project.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft size
  kraft size --symbols .unikraft/build/app_qemu-x86_64
  kraft size --libs . ../other")]
pub(crate) struct Args {
    /// A kernel file, the directory of a project, or an image; of two, the difference is told
    #[arg(value_name = "KERNEL", num_args = 0..=2)]
    kernels: Vec<String>,

    #[command(flatten)]
    which: Which,

    /// Tell the sizes of libraries
    #[arg(long, visible_alias = "libraries", group = "what")]
    libs: bool,

    /// Tell the sizes of symbols
    #[arg(long, group = "what")]
    symbols: bool,

    /// Tell the sizes of sections
    #[arg(long, group = "what")]
    sections: bool,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let measured: Vec<Sizes> = if args.kernels.is_empty() {
        vec![measure(app, args, None)?]
    } else {
        args.kernels
            .iter()
            .map(|kernel| measure(app, args, Some(kernel)))
            .collect::<Result<_, _>>()?
    };
    match measured.as_slice() {
        [before, after] => difference(app, args, before, after),
        [only] => one(app, args, only),
        _ => Err(Failure::usage("name one kernel, or two to compare")),
    }
}

fn measure(app: &App, args: &Args, kernel: Option<&str>) -> Result<Sizes, Failure> {
    let kraftfile = args.which.kraftfile.as_deref();
    let kernel = probe::find(app, kernel, &args.which.wish(), kraftfile)?;
    sizes::measure(&kernel.bytes, &kernel.owners()).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("cannot measure `{}`: {error}", kernel.path.display()),
        )
        .hint("kernels for arm64 are no ELF files: take the one with `.dbg` at its end")
    })
}

fn one(app: &App, args: &Args, sizes: &Sizes) -> Result<(), Failure> {
    if args.symbols {
        return app.ui.listing(args.output, &sizes.symbols, SYMBOLS);
    }
    if args.sections {
        return app.ui.listing(args.output, &sizes.sections, SECTIONS);
    }
    let mut rows = sizes.libraries.clone();
    if matches!(args.output, Format::Table | Format::List) {
        rows.push(total(&rows));
    }
    app.ui.listing(args.output, &rows, LIBRARIES)
}

fn total(rows: &[Library]) -> Library {
    let sum = |part: fn(&Library) -> u64| rows.iter().map(part).sum();
    Library {
        name: "total".to_owned(),
        text: sum(|row| row.text),
        rodata: sum(|row| row.rodata),
        data: sum(|row| row.data),
        bss: sum(|row| row.bss),
        total: sum(|row| row.total),
    }
}

/// What changed, as it is printed.
#[derive(Debug, Serialize)]
struct Changed {
    name: String,
    before: u64,
    after: u64,
    change: i128,
}

fn difference(app: &App, args: &Args, before: &Sizes, after: &Sizes) -> Result<(), Failure> {
    let of = |sizes: &Sizes| -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        let pairs: Vec<(String, u64)> = if args.symbols {
            let each = sizes.symbols.iter();
            each.map(|row| (row.name.clone(), row.size)).collect()
        } else if args.sections {
            let each = sizes.sections.iter();
            each.map(|row| (row.name.clone(), row.size)).collect()
        } else {
            let each = sizes.libraries.iter();
            each.map(|row| (row.name.clone(), row.total)).collect()
        };
        for (name, size) in pairs {
            *all.entry(name).or_insert(0) += size;
        }
        all
    };
    let (before, after) = (of(before), of(after));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut rows: Vec<Changed> = names
        .into_iter()
        .map(|name| {
            let (was, is) = (
                before.get(name).copied().unwrap_or(0),
                after.get(name).copied().unwrap_or(0),
            );
            Changed {
                name: name.clone(),
                before: was,
                after: is,
                change: i128::from(is) - i128::from(was),
            }
        })
        .filter(|row| row.change != 0)
        .collect();
    rows.sort_by(|a, b| {
        b.change
            .abs()
            .cmp(&a.change.abs())
            .then_with(|| a.name.cmp(&b.name))
    });
    if rows.is_empty() && args.output == Format::Table {
        app.ui.info("there is no difference");
        return Ok(());
    }
    app.ui.listing(args.output, &rows, CHANGES)
}

const LIBRARIES: &[Column<Library>] = &[
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

const SYMBOLS: &[Column<Symbol>] = &[
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

const SECTIONS: &[Column<Section>] = &[
    Column {
        title: "SECTION",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "SIZE",
        cell: |row| Cell::new(row.size.to_string()),
    },
];

const CHANGES: &[Column<Changed>] = &[
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
