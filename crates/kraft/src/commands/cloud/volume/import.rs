//! `kraft cloud volume import`.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_core::readable::bytes as size;
use kraft_deploy::Cloud;
use kraft_deploy::import::{self, ImportOptions};

/// Copy local files into a volume
///
/// A helper instance on the platform receives them; the volume must not be attached to another
/// instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files to copy: a directory, a tarball, a CPIO archive, a Dockerfile, or an image with its
    /// registry
    #[arg(short, long, value_name = "PATH", default_value = ".", value_hint = clap::ValueHint::AnyPath)]
    source: PathBuf,

    /// Directory that the path is relative to (default: the current one)
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Name or UUID of the volume
    #[arg(short, long)]
    volume: String,

    /// Try even if the files do not fit
    #[arg(short, long)]
    force: bool,

    /// Timeout for the helper to respond
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    timeout: Duration,

    /// Image of the helper
    #[arg(long, value_name = "IMAGE", default_value = kraft_cloud::import::IMAGE)]
    image: String,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    // An image is not in the directory.
    let in_dir = args.workdir.as_ref().map(|dir| dir.join(&args.source));
    let source = in_dir.filter(|path| path.exists());
    let options = ImportOptions {
        source: source.unwrap_or_else(|| args.source.clone()),
        volume: args.volume.clone(),
        force: args.force,
        timeout: args.timeout,
        image: args.image.clone(),
        building: args.dockerfile.options(),
    };
    cloud.catch_interrupts();
    let space = import::import(app, cloud, &options)?;
    app.ui.info(&format!(
        "`{}` has {} of {} left",
        args.volume,
        size(space.free),
        size(space.total)
    ));
    app.ui.line(&args.volume)
}
