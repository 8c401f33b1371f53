//! `kraft cloud metro`.

use clap::Subcommand;

use super::output::{self, Form};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::CloudOptions;
use kraft_deploy::metros::{self, Row};

/// List the metros of the platform
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
    /// Probe each metro, and print whether it is online and its latency
    #[arg(short, long)]
    status: bool,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

const CODE: Column<Row> = Column::new("CODE", |row| Cell::new(&row.code));
const IPV4: Column<Row> = Column::new("IPV4", |row| {
    Cell::new(row.ipv4.map(|one| one.to_string()).unwrap_or_default())
});
const LOCATION: Column<Row> = Column::new("LOCATION", |row| Cell::new(&row.location));
const PROXY: Column<Row> = Column::new("PROXY", |row| Cell::new(&row.proxy));
const STATUS: Column<Row> = Column::new("STATUS", |row| {
    Cell::new(if row.delay_ms.is_some() {
        "online"
    } else {
        "offline"
    })
});
const PING: Column<Row> = Column::new("PING", |row| {
    let ping = row.delay_ms.map(|ms| format!("{ms} ms"));
    Cell::new(ping.unwrap_or_default())
});

/// The columns without and with a probe.
const KNOWN: &[Column<Row>] = &[CODE, IPV4, LOCATION, PROXY];
const PROBED: &[Column<Row>] = &[CODE, IPV4, LOCATION, PROXY, STATUS, PING];

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let Command::List(args) = &args.command;
    let rows = metros::list(app, options, args.status)?;
    let columns = if args.status { PROBED } else { KNOWN };
    output::columns(app, args.output, &rows, columns)
}
