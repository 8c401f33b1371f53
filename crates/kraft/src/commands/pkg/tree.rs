//! `kraft pkg tree`.

use crate::app::App;
use crate::commands::rootfs;
use crate::failure::{Failure, Kind};
use crate::ui::Format;
use kraft_engine::{images, obtain, unpacked};

/// List what is in the root filesystem of an image
///
/// Nothing is booted, and nothing is fetched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg tree unikraft.org/nginx:latest")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One manifest of an image that is here.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Which {
    /// The image: its name, its digest or the first digits of it
    #[arg(value_name = "IMAGE")]
    image: String,

    #[command(flatten)]
    wish: super::pull::Wished,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let archive = archive(app, &args.which)?;
    rootfs::ls::list(app, &archive, args.output)
}

/// Unpacks the root filesystem of an image, and returns its path.
pub(super) fn archive(app: &App, which: &Which) -> Result<std::path::PathBuf, Failure> {
    let store = images::open(app)?;
    let found = images::find(app, &*store, &which.image)?;
    let image = obtain::take(app, &*store, &found, &which.wish.wish()?)?;
    let unpacked = unpacked::unpack(app, &*store, &image)?;
    unpacked.initrd.ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!(
                "the image `{}` has no root filesystem of its own",
                image.name
            ),
        )
        .hint("it may be a part of its kernel")
    })
}
