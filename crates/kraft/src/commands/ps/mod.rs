//! `kraft ps`.

pub(crate) mod filter;
pub(crate) mod template;

use kraft_core::arch::Arch;
use kraft_core::machine::MachineState;
use kraft_core::platform::Platform;
use kraft_core::quantity;
use kraft_machine::Listed;
use serde::Serialize;

use self::filter::Filter;
use self::template::Template;
use super::values::{self, PlatformArg};
use crate::app::App;
use crate::commands::machines::{Row, ago};
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
    let columns = if args.long { LONG } else { SHORT };
    match &args.format {
        Some(template) => print(app, template, &rows, |row| row, columns),
        None => app.ui.listing(args.output, &rows, columns),
    }
}

/// Prints machines by a template.
pub(crate) fn print<T: Serialize>(
    app: &App,
    template: &Template,
    rows: &[T],
    machine: impl Fn(&T) -> &Row,
    columns: &[Column<T>],
) -> Result<(), Failure> {
    let mut machines = rows.iter().map(machine);
    match template {
        Template::Whole => app.ui.listing(Format::Table, rows, columns),
        Template::Json => rows.iter().try_for_each(|row| {
            let line = serde_json::to_string(row).map_err(|e| Failure::new(Kind::Failed, e))?;
            app.ui.line(&line)
        }),
        Template::Lines(line) => machines.try_for_each(|row| app.ui.line(&line.render(row))),
        Template::Table(line) => app.ui.text(&line.table(machines)),
    }
}

/// A machine of unknown state may be running: it is always listed.
fn wanted(args: &Args, row: &Row) -> bool {
    let runs = matches!(
        row.moment,
        MachineState::Running | MachineState::Asleep | MachineState::Unknown
    );
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

// What columns and placeholders of templates show.

fn name(row: &Row) -> &str {
    row.name.as_deref().unwrap_or(&row.id)
}

fn args(row: &Row) -> String {
    row.args.join(" ")
}

fn created(row: &Row) -> String {
    let now = jiff::Timestamp::now();
    row.created_at.map(|at| ago(at, now)).unwrap_or_default()
}

fn memory(row: &Row) -> String {
    row.memory.map(quantity::display).unwrap_or_default()
}

fn ports(row: &Row) -> String {
    let ports: Vec<String> = row.ports.iter().map(ToString::to_string).collect();
    ports.join(", ")
}

fn pid(row: &Row) -> String {
    row.pid.map(|pid| pid.to_string()).unwrap_or_default()
}

fn platform(row: &Row) -> &'static str {
    row.platform.map_or("", Platform::name)
}

fn arch(row: &Row) -> &'static str {
    row.arch.map_or("", Arch::name)
}

const ID: Column<Row> = Column {
    title: "MACHINE ID",
    cell: |row| Cell::new(&row.id),
};
const NAME: Column<Row> = Column {
    title: "NAME",
    cell: |row| Cell::new(name(row)),
};
const KERNEL: Column<Row> = Column {
    title: "KERNEL",
    cell: |row| Cell::new(row.kernel.as_deref().unwrap_or_default()),
};
const ARGS: Column<Row> = Column {
    title: "ARGS",
    cell: |row| Cell::new(args(row)),
};
const CREATED: Column<Row> = Column {
    title: "CREATED",
    cell: |row| Cell::new(created(row)),
};
const STATUS: Column<Row> = Column {
    title: "STATUS",
    cell: |row| Cell::new(row.status()).colour(crate::commands::machines::state_colour(row.moment)),
};
const MEM: Column<Row> = Column {
    title: "MEM",
    cell: |row| Cell::new(memory(row)),
};
const PORTS: Column<Row> = Column {
    title: "PORTS",
    cell: |row| Cell::new(ports(row)),
};
const PID: Column<Row> = Column {
    title: "PID",
    cell: |row| Cell::new(pid(row)),
};
const PLAT: Column<Row> = Column {
    title: "PLAT",
    cell: |row| Cell::new(platform(row)),
};
const ARCH: Column<Row> = Column {
    title: "ARCH",
    cell: |row| Cell::new(arch(row)),
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
