//! `kraft rootfs build`.

use std::path::PathBuf;

use kraft_rootfs::Source;

use crate::app::App;
use crate::failure::Failure;
use crate::ops::rootfs;

/// Build a root filesystem
///
/// The source is a directory, a tarball (`.tar`, also gzip or zstd) or an existing newc archive,
/// whatever its name. The result is a newc archive that unikernels and Linux unpack. The same
/// content gives the same bytes: owners are root, times are `SOURCE_DATE_EPOCH` or 1970.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft rootfs build ./rootfs -o initramfs.cpio")]
pub(crate) struct Args {
    /// A directory, a tarball or a newc archive
    source: PathBuf,

    /// Write the archive to this file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Keep the owners of the source instead of giving all to root
    #[arg(long)]
    keep_owners: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let source = Source::detect(&args.source)?;
    let built = rootfs::build(app, &source, &args.output, args.keep_owners)?;
    app.ui.info(&format!(
        "wrote {} with {} entries, {} bytes",
        args.output.display(),
        built.entries,
        built.size
    ));
    Ok(())
}
