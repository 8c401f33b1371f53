//! `kraft ps`.

mod filter;
mod template;

use kraft_core::arch::Arch;
use kraft_core::machine::MachineState;
use kraft_core::quantity;
use kraft_machine::Listed;

use self::filter::Filter;
use self::template::Template;
use super::values::{self, PlatformArg};
use crate::app::App;
use crate::commands::machines::Row;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;

/// List machines
///
/// List running machines, or with --all every machine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft ps
  kraft ps --all --long
  kraft ps --filter label=tier=web --filter status=running
  kraft ps --format '{{.Names}}\t{{.Ports}}'
  kraft ps --all -o json | jq -r '.[] | select(.state == \"errored\") | .name'")]
pub(crate) struct Args {
    /// List all machines, not only running ones
    #[arg(short, long)]
    all: bool,

    /// Show more columns
    #[arg(short, long)]
    long: bool,

    /// Print only ids
    #[arg(short, long, conflicts_with_all = ["long", "output"])]
    quiet: bool,

    /// List only machines of this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// List only machines on this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "all", hide_default_value = true,
          value_parser = values::platform())]
    plat: PlatformArg,

    /// List only machines with this property: name, id, label, status, health, exited or image; with
    /// status, exited or health, of all machines
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    /// Print this text for each machine, with {{.Names}}, {{.Status}} and similar replaced
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["output", "long", "quiet"])]
    format: Option<Template>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let rows: Vec<Row> = machines
        .list()?
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Machine(machine) => Some(Row::from(*machine)),
            Listed::Unreadable(unreadable) => {
                machines::warn_of(app, &unreadable);
                (!unreadable.error.is_foreign()).then(|| Row::from(&unreadable))
            }
        })
        .filter(|row| wanted(args, row))
        .collect();
    if args.quiet {
        return rows.iter().try_for_each(|row| app.ui.line(&row.id));
    }
    if let Some(template) = &args.format {
        return print(app, template, &rows);
    }
    let columns = if args.long { LONG } else { SHORT };
    app.ui.listing(args.output, &rows, columns)
}

fn print(app: &App, template: &Template, rows: &[Row]) -> Result<(), Failure> {
    match template {
        Template::Json => rows.iter().try_for_each(|row| {
            let line = serde_json::to_string(row).map_err(|e| Failure::new(Kind::Failed, e))?;
            app.ui.line(&line)
        }),
        Template::Lines(line) => rows
            .iter()
            .try_for_each(|row| app.ui.line(&line.render(row))),
        Template::Table(line) => app.ui.text(&line.table(rows)),
    }
}

/// A machine of unknown state may be running: it is always listed.
fn wanted(args: &Args, row: &Row) -> bool {
    let runs = matches!(row.moment, MachineState::Running | MachineState::Unknown);
    // A VMM that is still starting is listed, too.
    let comes_up = row.moment == MachineState::Created && row.pid.is_some();
    let chosen = args.filter.iter().any(Filter::is_about_state);
    let state = args.all || runs || comes_up || chosen || row.moment == MachineState::Restarting;
    let arch = args.arch.is_none() || row.arch.is_none() || row.arch == args.arch;
    state
        && arch
        && filter::all_match(&args.filter, row)
        && row
            .platform
            .is_none_or(|platform| args.plat.means(platform))
}

const ID: Column<Row> = Column {
    title: "MACHINE ID",
    cell: |row| Cell::new(&row.id),
};
const NAME: Column<Row> = Column {
    title: "NAME",
    cell: |row| Cell::new(row.name.as_deref().unwrap_or(&row.id)),
};
const KERNEL: Column<Row> = Column {
    title: "KERNEL",
    cell: |row| Cell::new(row.kernel.as_deref().unwrap_or_default()),
};
const ARGS: Column<Row> = Column {
    title: "ARGS",
    cell: |row| Cell::new(row.args.join(" ")),
};
const CREATED: Column<Row> = Column {
    title: "CREATED",
    cell: |row| {
        let now = jiff::Timestamp::now();
        Cell::new(
            row.created_at
                .map_or_else(String::new, |at| crate::commands::machines::ago(at, now)),
        )
    },
};
const STATUS: Column<Row> = Column {
    title: "STATUS",
    cell: |row| Cell::new(row.status()).colour(crate::commands::machines::state_colour(row.moment)),
};
const MEM: Column<Row> = Column {
    title: "MEM",
    cell: |row| Cell::new(row.memory.map(quantity::display).unwrap_or_default()),
};
const PORTS: Column<Row> = Column {
    title: "PORTS",
    cell: |row| {
        let ports: Vec<String> = row.ports.iter().map(ToString::to_string).collect();
        Cell::new(ports.join(", "))
    },
};
const PID: Column<Row> = Column {
    title: "PID",
    cell: |row| Cell::new(row.pid.map_or_else(String::new, |pid| pid.to_string())),
};
const PLAT: Column<Row> = Column {
    title: "PLAT",
    cell: |row| {
        Cell::new(
            row.platform
                .map_or("", kraft_core::platform::Platform::name),
        )
    },
};
const ARCH: Column<Row> = Column {
    title: "ARCH",
    cell: |row| Cell::new(row.arch.map_or("", Arch::name)),
};
const PLAT_ARCH: Column<Row> = Column {
    title: "PLAT",
    cell: |row| match (row.platform, row.arch) {
        (Some(platform), Some(arch)) => Cell::new(format!("{platform}/{arch}")),
        (_, _) => Cell::default(),
    },
};

const SHORT: &[Column<Row>] = &[NAME, KERNEL, ARGS, CREATED, STATUS, MEM, PORTS, PLAT_ARCH];
const LONG: &[Column<Row>] = &[
    ID, NAME, KERNEL, ARGS, CREATED, STATUS, MEM, PORTS, PID, PLAT, ARCH,
];
