//! `kraft snapshot export`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::{machines, snapshot_archive};

/// Write a snapshot to a file
///
/// Write a snapshot to one file, which `kraft snapshot import` reads on another host. It contains
/// all that the machine had in its memory, passwords included.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot export ready --output ready.tar.gz")]
pub(crate) struct Args {
    /// Name of the snapshot
    #[arg(value_name = "SNAPSHOT")]
    name: String,

    /// Write to this file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let snapshot = machines.snapshot(&args.name)?;
    let what = format!("writing {}", args.output.display());
    let progress = app.progress();
    progress.run(what, None, |_| {
        snapshot_archive::export(&snapshot, &args.output)
    })?;
    progress.close(&format!("exported {}", args.output.display()));
    Ok(())
}
