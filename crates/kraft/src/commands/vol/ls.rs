//! `kraft vol ls`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anstyle::AnsiColor;
use jiff::Timestamp;
use kraft_machine::{Machines, VolumeRecord};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;

/// List volumes
///
/// List volumes with the machines that mount them, those that do not run included. A volume is
/// Pending if no machine mounts it, Bound if one does, and Lost if its directory is missing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft vol ls
  kraft vol ls --long
  kraft vol ls -o json | jq -r '.[].source'")]
pub(crate) struct Args {
    /// Show more columns
    #[arg(short, long)]
    long: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// The state of a volume, named as in KraftKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum State {
    /// No machine mounts it.
    Pending,
    /// A machine mounts it.
    Bound,
    /// Its directory is missing.
    Lost,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Bound => "Bound",
            Self::Lost => "Lost",
        }
    }

    const fn colour(self) -> AnsiColor {
        match self {
            Self::Pending => AnsiColor::Blue,
            Self::Bound => AnsiColor::Green,
            Self::Lost => AnsiColor::Red,
        }
    }
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) status: State,
    /// The directory on the host.
    pub(super) source: PathBuf,
    pub(super) created_at: Timestamp,
    pub(super) labels: BTreeMap<String, String>,
    /// The names of the machines that mount it.
    pub(super) machines: Vec<String>,
}

impl Row {
    pub(super) fn of(machines: &Machines, volume: VolumeRecord) -> Result<Self, Failure> {
        let mut users = machines.volume_users()?;
        Self::with_users(machines, volume, &mut users)
    }

    fn with_users(
        machines: &Machines,
        volume: VolumeRecord,
        users: &mut BTreeMap<String, Vec<String>>,
    ) -> Result<Self, Failure> {
        let source = machines.volumes().path(&volume.name)?;
        let users = users.remove(&volume.name).unwrap_or_default();
        let status = match () {
            () if !source.is_dir() => State::Lost,
            () if users.is_empty() => State::Pending,
            () => State::Bound,
        };
        Ok(Self {
            id: volume.id.to_string(),
            name: volume.name,
            driver: volume.driver,
            status,
            source,
            created_at: volume.created_at,
            labels: volume.labels,
            machines: users,
        })
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let volumes = machines.volumes().list().map_err(Failure::from)?;
    let columns = if args.long { LONG } else { SHORT };
    show(app, &machines, volumes, args.output, columns)
}

/// Prints volumes.
pub(crate) fn show(
    app: &App,
    machines: &Machines,
    volumes: Vec<VolumeRecord>,
    format: Format,
    columns: &[Column<Row>],
) -> Result<(), Failure> {
    let mut users = machines.volume_users()?;
    let rows: Vec<Row> = volumes
        .into_iter()
        .map(|volume| Row::with_users(machines, volume, &mut users))
        .collect::<Result<_, _>>()?;
    app.ui.listing(format, &rows, columns)
}

const DRIVER: Column<Row> = Column::new("DRIVER", |row| Cell::new(&row.driver));
const NAME: Column<Row> = Column::new("VOLUME NAME", |row| Cell::new(&row.name));
const ID: Column<Row> = Column::new("VOLUME ID", |row| Cell::new(&row.id));
const STATUS: Column<Row> = Column::new("STATUS", |row| {
    Cell::new(row.status.name()).colour(row.status.colour())
});
const MACHINES: Column<Row> = Column::new("MACHINES", |row| Cell::new(row.machines.join(", ")));
const SOURCE: Column<Row> = Column::new("SOURCE", |row| Cell::new(row.source.to_string_lossy()));

pub(crate) const SHORT: &[Column<Row>] = &[DRIVER, NAME, STATUS, MACHINES, SOURCE];
const LONG: &[Column<Row>] = &[DRIVER, NAME, ID, STATUS, MACHINES, SOURCE];
