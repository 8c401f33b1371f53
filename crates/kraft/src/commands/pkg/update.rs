//! `kraft pkg update`.

use crate::app::App;
use crate::failure::Failure;
use crate::ops::catalog;

/// Ask the registries what they have
///
/// The answer is kept, and `kraft pkg ls` shows it. What did not change since the last time is not
/// sent again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The format of the packages
    #[arg(short, long, hide = true, default_value = "all", value_parser = ["all", "oci", "manifest"])]
    manager: String,
}

pub(super) fn exec(app: &App, _args: &Args) -> Result<(), Failure> {
    catalog::refresh(app)
}
