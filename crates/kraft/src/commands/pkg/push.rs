//! `kraft pkg push`.

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::{images, transfer};

/// Push an image to its registry
///
/// The registry is the one that the image is named after; `kraft pkg tag` gives an image another
/// name. What the registry has already is not sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg push registry.example.com/me/hello:v1")]
pub(crate) struct Args {
    /// The image: its name, its digest or the first digits of it
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The format of the package
    #[arg(short = 'M', long = "as", hide = true, default_value = "auto", value_parser = ["oci", "auto"])]
    format: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let found = images::find(app, &*store, &args.image)?;
    transfer::push(app, &store, &found.named.name)
}
