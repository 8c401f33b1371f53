//! `kraft store gc`.

use std::time::Duration;

use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use kraft_core::readable::decimal as size;
use kraft_engine::{dockerfile, images, machines, rootfs, warm};

/// How long a snapshot of a warm start is kept that is not used.
const UNUSED: Duration = Duration::from_hours(24);

/// Remove unused data
///
/// Remove unreferenced blobs, downloads that were not resumed for a day, unpacked copies of removed
/// images, files of killed builds and machines, and cached steps of Dockerfiles and snapshots of `kraft
/// run --warm` that were not used for a day.
/// Data that a running kraft uses is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A human-readable line, to stderr
    #[value(alias = "table")]
    Text,
    /// A JSON object
    Json,
    /// The same as YAML
    Yaml,
}

/// The removed data; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Removed {
    /// Digests of the blobs.
    blobs: Vec<String>,
    /// The removed size, in bytes.
    bytes: u64,
    dry_run: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let swept = store.sweep(args.dry_run)?;
    let unpacked = kraft_oci::unpack::sweep(&*store, &images::unpacked_dir(app), args.dry_run)?;
    let machines = machines::existing(app);
    if !args.dry_run {
        rootfs::remove_leftovers(app);
        machines.remove_leftovers();
    }
    let warm = warm::remove_unused(&machines, UNUSED, args.dry_run)?;
    let removed = Removed {
        blobs: swept
            .blobs
            .iter()
            .map(|(digest, _)| digest.to_string())
            .collect(),
        bytes: swept.bytes() + unpacked + warm + dockerfile::remove_unused(app, args.dry_run)?,
        dry_run: args.dry_run,
    };
    match args.output {
        Output::Json => app.ui.json(&removed),
        Output::Yaml => app.ui.yaml(&removed),
        Output::Text => {
            let verb = if args.dry_run {
                "would remove"
            } else {
                "removed"
            };
            app.ui.info(&format!(
                "{verb} {} blobs, {} in total",
                removed.blobs.len(),
                size(removed.bytes)
            ));
            Ok(())
        }
    }
}
