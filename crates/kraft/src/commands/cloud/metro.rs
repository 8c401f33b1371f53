//! `kraft cloud metro`.

use clap::Subcommand;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use crate::ops::cloud::Where;
use crate::ops::cloud::metros::{self, Row};
use crate::ui::{Cell, Column};

/// Look at the places where the platform runs
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

/// List the metros
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Ask each whether it is there, and how far away
    #[arg(short, long)]
    status: bool,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// A row that also tells what a probe found.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Probed(Row);

const CODE: Column<Row> = Column::new("CODE", |row| Cell::new(&row.code));
const IPV4: Column<Row> = Column::new("IPV4", |row| {
    Cell::new(row.ipv4.map(|one| one.to_string()).unwrap_or_default())
});
const LOCATION: Column<Row> = Column::new("LOCATION", |row| Cell::new(&row.location));
const PROXY: Column<Row> = Column::new("PROXY", |row| Cell::new(&row.proxy));

impl Shown for Row {
    const TABLE: &'static [Column<Self>] = &[CODE, IPV4, LOCATION, PROXY];
    const LIST: &'static [Column<Self>] = Self::TABLE;
}

impl Shown for Probed {
    const TABLE: &'static [Column<Self>] = &[
        Column::new("CODE", |row| (CODE.cell)(&row.0)),
        Column::new("IPV4", |row| (IPV4.cell)(&row.0)),
        Column::new("LOCATION", |row| (LOCATION.cell)(&row.0)),
        Column::new("PROXY", |row| (PROXY.cell)(&row.0)),
        Column::new("STATUS", |row| {
            Cell::new(if row.0.delay_ms.is_some() {
                "online"
            } else {
                "offline"
            })
        }),
        Column::new("PING", |row| {
            Cell::new(
                row.0
                    .delay_ms
                    .map(|ms| format!("{ms} ms"))
                    .unwrap_or_default(),
            )
        }),
    ];
    const LIST: &'static [Column<Self>] = Self::TABLE;
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let Command::List(args) = &args.command;
    let rows = metros::look(app, at, args.status)?;
    if args.status {
        let rows: Vec<Probed> = rows.into_iter().map(Probed).collect();
        return output::rows(app, args.output, &rows);
    }
    output::rows(app, args.output, &rows)
}
