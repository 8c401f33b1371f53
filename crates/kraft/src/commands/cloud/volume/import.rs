//! `kraft cloud volume import`.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_core::readable::bytes as size;
use kraft_deploy::Cloud;
use kraft_deploy::import::{self, Wish};

/// Copy files of this computer into a volume
///
/// An instance of the platform helps, for as long as the command runs; the volume must be free.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory, a tarball, a CPIO archive, a Dockerfile, or an image with its registry
    #[arg(short, long, value_name = "PATH", default_value = ".", value_hint = clap::ValueHint::AnyPath)]
    source: PathBuf,

    /// The volume: its name or UUID
    #[arg(short, long)]
    volume: String,

    /// Try even if it does not fit
    #[arg(short, long)]
    force: bool,

    /// How long the helper may say nothing
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    timeout: Duration,

    /// The helper's image
    #[arg(long, value_name = "IMAGE", default_value = kraft_cloud::import::IMAGE)]
    image: String,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    let wish = Wish {
        source: args.source.clone(),
        volume: args.volume.clone(),
        force: args.force,
        timeout: args.timeout,
        image: args.image.clone(),
        building: args.dockerfile.options(),
    };
    cloud.listen();
    let room = import::import(app, cloud, &wish)?;
    app.ui.info(&format!(
        "`{}` has {} of {} left",
        args.volume,
        size(room.free),
        size(room.total)
    ));
    app.ui.line(&args.volume)
}
