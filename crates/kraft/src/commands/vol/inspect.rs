//! `kraft vol inspect`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::ls::{Row, State};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, DetailsFormat};
use kraft_engine::machines;

/// Show details of a volume
///
/// Print all details of a volume as JSON, with the machines that mount it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft vol inspect database
  kraft vol inspect database -o table
  ls \"$(kraft vol inspect database | jq -r .spec.source)\"")]
pub(crate) struct Args {
    /// Name or id of the volume
    #[arg(value_name = "VOLUME")]
    name: String,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    output: DetailsFormat,
}

// KraftKit compat: the fields of its object, and more.

/// A volume.
#[derive(Debug, Serialize)]
struct Inspected {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    uid: String,
    #[serde(rename = "creationTimestamp")]
    created_at: Timestamp,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Spec {
    driver: String,
    source: PathBuf,
    managed: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    state: State,
    machines: Vec<Machine>,
}

/// A machine that mounts the volume.
#[derive(Debug, Serialize)]
struct Machine {
    name: String,
    state: &'static str,
    destination: String,
    #[serde(rename = "readOnly")]
    read_only: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let volume = machines.volumes().get(&args.name)?;
    let row = Row::of(&machines, volume)?;
    let mut mounts = Vec::new();
    for machine in machines::readable(app) {
        for volume in &machine.spec.volumes {
            if volume.name.as_ref() == Some(&row.name) {
                mounts.push(Machine {
                    name: machine.name.clone(),
                    state: machine.state.name(),
                    destination: volume.destination.clone(),
                    read_only: volume.read_only,
                });
            }
        }
    }
    let inspected = Inspected {
        metadata: Metadata {
            name: row.name,
            uid: row.id,
            created_at: row.created_at,
            labels: row.labels,
        },
        spec: Spec {
            driver: row.driver,
            source: row.source,
            managed: true,
        },
        status: Status {
            state: row.status,
            machines: mounts,
        },
    };
    let rows = &inspected.status.machines;
    app.ui.details(args.output, &inspected, rows, COLUMNS)
}

const COLUMNS: &[Column<Machine>] = &[
    Column::new("MACHINE", |row| Cell::new(&row.name)),
    Column::new("STATUS", |row| Cell::new(row.state)),
    Column::new("PATH", |row| Cell::new(&row.destination)),
    Column::new("MODE", |row| {
        Cell::new(if row.read_only { "ro" } else { "rw" })
    }),
];
