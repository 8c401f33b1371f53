//! `kraft rootfs build`.

use std::path::PathBuf;
use std::time::Instant;

use kraft_core::arch::Arch;
use kraft_rootfs::Source;

use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_engine::images;
use kraft_engine::rootfs::{self, RootSource};

/// Build a root filesystem
///
/// The source is a directory, a tarball (`.tar`, also gzip or zstd), an existing newc archive, a
/// Dockerfile or an image. The result is a newc CPIO archive that unikernels and Linux unpack.
/// Archives are reproducible: owners are root, timestamps are `SOURCE_DATE_EPOCH` or 1970.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kraft rootfs build ./rootfs -o initramfs.cpio
  kraft rootfs build ./Dockerfile -o initramfs.cpio
  kraft rootfs build oci://docker.io/library/nginx:alpine -o initramfs.cpio")]
pub(crate) struct Args {
    /// Directory, tarball, newc archive, Dockerfile, or image with its registry
    source: PathBuf,

    /// Write the archive to this file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Keep the owners of a directory or tarball instead of setting them to root
    #[arg(long)]
    keep_owners: bool,

    /// Use this build context instead of the Dockerfile's directory
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    context: Option<PathBuf>,

    /// Build a Dockerfile or use an image for this architecture (default: that of the host)
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let began = Instant::now();
    let wrote = format!("wrote {}", args.output.display());
    let mut source = RootSource::from_argument(&args.source, "SOURCE", None)?;
    if let (RootSource::Dockerfile { context, .. }, Some(given)) = (&mut source, &args.context) {
        context.clone_from(given);
    }
    let own = images::host_preference().arch;
    let arch = args.arch.map_or(own, |arch| arch.name().to_owned());
    let made = rootfs::prepare(app, &source, &arch, &args.dockerfile.options())?;
    if let Some(made) = made {
        let size = rootfs::copy(&made.archive, &args.output)?;
        app.close(&wrote, size, began);
        return Ok(());
    }
    let source = Source::detect(&args.source)?;
    let built = rootfs::build(app, &source, &args.output, args.keep_owners)?;
    app.close(&wrote, built.size, began);
    Ok(())
}
