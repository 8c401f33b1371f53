//! `kraft pkg tree`.

use crate::app::App;
use crate::commands::rootfs;
use crate::failure::{Failure, Kind};
use crate::ui::Format;
use kraft_engine::{images, obtain, unpacked};

/// List the files of an image's root filesystem
///
/// The image must exist locally. Nothing is booted or downloaded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg tree unikraft.org/nginx:latest")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// The arguments that select a manifest of a local image.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Which {
    /// Image, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    filter: super::pull::ManifestArgs,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let archive = archive(app, &args.which)?;
    rootfs::ls::list(app, &archive, args.output)
}

/// Unpacks the root filesystem of an image, and returns its path.
pub(super) fn archive(app: &App, which: &Which) -> Result<std::path::PathBuf, Failure> {
    let store = images::open(app)?;
    let found = images::find(app, &*store, &which.image)?;
    let image = obtain::select(app, &*store, &found, &which.filter.filter()?)?;
    let unpacked = unpacked::unpack(app, &*store, &image)?;
    unpacked.initrd.ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("the image `{}` has no root filesystem layer", image.name),
        )
        .hint("it may be embedded in the kernel")
    })
}
