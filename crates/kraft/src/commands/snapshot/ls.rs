//! `kraft snapshot ls`.

use jiff::Timestamp;
use kraft_core::error::chain;
use kraft_core::readable;
use serde::Serialize;

use crate::app::App;
use crate::commands::machines::ago;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;

/// List snapshots
///
/// List snapshots with the machines that they were made of, and their sizes on disk.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot ls
  kraft snapshot ls -o json | jq -r '.[].name'")]
pub(crate) struct Args {
    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// The machine that was saved.
    machine: String,
    /// The origin of its kernel.
    kernel: String,
    created_at: Timestamp,
    /// The memory of the machine in bytes.
    memory: u64,
    /// What it needs on disk, in bytes.
    size: u64,
    /// The version of its VMM.
    vmm: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut rows = Vec::new();
    for snapshot in machines.snapshots()? {
        match snapshot {
            Ok(snapshot) => rows.push(Row {
                name: snapshot.name,
                size: snapshot.saved.size_on_disk(),
                machine: snapshot.saved.machine_name,
                kernel: snapshot.saved.spec.origin,
                created_at: snapshot.saved.created_at,
                memory: snapshot.saved.memory.size,
                vmm: snapshot.saved.conditions.vmm,
            }),
            Err(unreadable) => app.ui.warn(&format!(
                "cannot read the snapshot `{}`: {}",
                unreadable.name,
                chain(&unreadable.error)
            )),
        }
    }
    app.ui.listing(args.output, &rows, COLUMNS)
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("NAME", |row| Cell::new(&row.name)),
    Column::new("MACHINE", |row| Cell::new(&row.machine)),
    Column::new("KERNEL", |row| Cell::new(&row.kernel)),
    Column::new("CREATED", |row| {
        Cell::new(ago(row.created_at, Timestamp::now()))
    }),
    Column::new("MEM", |row| Cell::new(readable::bytes(row.memory))),
    Column::new("SIZE", |row| Cell::new(readable::bytes(row.size))),
];
