//! `kraft snapshot import`.

use std::path::PathBuf;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::{machines, snapshot_archive};

/// Read a snapshot from a file
///
/// Make a snapshot from a file that `kraft snapshot export` wrote, and print its name. Its sums are
/// checked. It can be restored where VMM, processor and board are the same; it cannot be booted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft snapshot import --input ready.tar.gz ready")]
pub(crate) struct Args {
    /// Name of the snapshot
    #[arg(value_name = "NAME")]
    name: String,

    /// Read this file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    input: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::open(app)?;
    let what = format!("reading {}", args.input.display());
    let progress = app.progress();
    let snapshot = progress.run(what, None, |_| {
        snapshot_archive::import(&machines, &args.input, &args.name)
    })?;
    progress.close(&format!("imported {}", args.input.display()));
    app.ui.line(&snapshot.name)
}
