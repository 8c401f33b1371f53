//! `kraft pkg cat`.

use std::path::PathBuf;

use super::tree::{Which, archive};
use crate::app::App;
use crate::commands::rootfs;
use crate::failure::Failure;

/// Print a file of an image's root filesystem
///
/// The image must exist locally. Nothing is booted or downloaded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg cat unikraft.org/nginx:latest /etc/nginx.conf")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// Path of the file; a leading `/` is optional
    path: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let archive = archive(app, &args.which)?;
    rootfs::cat::print_file(&archive, &args.path, "kraft pkg tree")
}
