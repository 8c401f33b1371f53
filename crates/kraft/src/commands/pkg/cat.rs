//! `kraft pkg cat`.

use std::path::PathBuf;

use super::tree::{Which, archive};
use crate::app::App;
use crate::commands::rootfs;
use crate::failure::Failure;

/// Print a file of the root filesystem of an image
///
/// Nothing is booted, and nothing is fetched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg cat unikraft.org/nginx:latest /etc/nginx.conf")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,

    /// The file; a leading `/` may be left out
    path: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let archive = archive(app, &args.which)?;
    rootfs::cat::print_file(&archive, &args.path, "kraft pkg tree")
}
