//! `kraft snapshot inspect`.

use std::path::PathBuf;

use kraft_machine::{SavedMachine, Snapshot};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::machines;

/// Show details of snapshots
///
/// Print as JSON what was saved, and what a host has to have to restore it: the same version of the
/// VMM, processor, board, devices and kernel.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot inspect ready
  kraft snapshot inspect ready | jq -r '.[].conditions.vmm'")]
pub(crate) struct Args {
    /// Names of the snapshots
    #[arg(value_name = "SNAPSHOT", required = true)]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Inspected {
    name: String,
    /// The directory of its files.
    dir: PathBuf,
    /// What it needs on disk, in bytes.
    size: u64,
    #[serde(flatten)]
    saved: SavedMachine,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let inspect = |name: &String| -> Result<Inspected, Failure> {
        let Snapshot { name, dir, saved } = machines.snapshot(name)?;
        Ok(Inspected {
            name,
            dir,
            size: saved.size_on_disk(),
            saved,
        })
    };
    let all: Vec<Inspected> = args.names.iter().map(inspect).collect::<Result<_, _>>()?;
    app.ui.json(&all)
}
