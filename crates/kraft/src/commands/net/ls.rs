//! `kraft net ls`.

use jiff::Timestamp;
use kraft_net::{Network, Networks};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;

/// List networks
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft net ls
  kraft net ls --long
  kraft net ls -o json | jq -r '.[].name'")]
pub(crate) struct Args {
    /// Show more columns
    #[arg(short, long)]
    long: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    name: String,
    /// The address of the gateway, and the mask.
    network: String,
    driver: String,
    status: &'static str,
    created_at: Timestamp,
    internal: bool,
    /// The names of the machines in it.
    machines: Vec<String>,
}

impl Row {
    fn of(networks: &Networks, network: Network) -> Result<Self, Failure> {
        let leases = networks.leases(&network.name)?;
        Ok(Self {
            machines: leases.into_iter().map(|lease| lease.name).collect(),
            id: network.id.to_string(),
            network: network.gateway.to_string(),
            driver: network.driver,
            status: state(network.up),
            created_at: network.created_at,
            internal: network.internal,
            name: network.name,
        })
    }
}

/// Returns KraftKit's name of a state.
pub(super) fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let networks = machines::existing(app).networks();
    let rows = networks.list()?.into_iter();
    let rows = rows.map(|network| Row::of(&networks, network));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    let columns = if args.long { LONG } else { SHORT };
    app.ui.listing(args.output, &rows, columns)
}

const ID: Column<Row> = Column::new("NETWORK ID", |row| Cell::new(&row.id));
const NAME: Column<Row> = Column::new("NAME", |row| Cell::new(&row.name));
const NETWORK: Column<Row> = Column::new("NETWORK", |row| Cell::new(&row.network));
const DRIVER: Column<Row> = Column::new("DRIVER", |row| Cell::new(&row.driver));
const STATUS: Column<Row> = Column::new("STATUS", |row| Cell::new(row.status));
const MACHINES: Column<Row> = Column::new("MACHINES", |row| Cell::new(row.machines.join(", ")));

const SHORT: &[Column<Row>] = &[NAME, NETWORK, DRIVER, STATUS];
const LONG: &[Column<Row>] = &[ID, NAME, NETWORK, DRIVER, STATUS, MACHINES];
