//! `kraft cloud metro`.

use clap::Subcommand;
use kraft_cloud::endpoint::METROS;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};

/// Look at the places where the platform runs
#[derive(Debug, clap::Args)]
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
    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
struct Row {
    code: &'static str,
    location: &'static str,
    proxy: String,
}

const COLUMNS: &[Column<Row>] = &[
    Column {
        title: "CODE",
        cell: |row| Cell::new(row.code),
    },
    Column {
        title: "LOCATION",
        cell: |row| Cell::new(row.location),
    },
    Column {
        title: "PROXY",
        cell: |row| Cell::new(&row.proxy),
    },
];

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let Command::List(args) = &args.command;
    let rows: Vec<Row> = METROS
        .iter()
        .map(|metro| Row {
            code: metro.code,
            location: metro.location,
            proxy: metro.host(),
        })
        .collect();
    app.ui.listing(args.output, &rows, COLUMNS)
}
