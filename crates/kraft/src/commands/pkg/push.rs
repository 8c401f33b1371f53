//! `kraft pkg push`.

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::{images, transfer};

/// Push an image to its registry
///
/// The name of the image contains its registry; `kraft pkg tag` adds a name to an image. Blobs that
/// exist in the registry are not uploaded again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg push registry.example.com/me/hello:v1")]
pub(crate) struct Args {
    /// Image, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Set the format of the package
    #[arg(short = 'M', long = "as", hide = true, default_value = "auto", value_parser = ["oci", "auto"])]
    format: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let found = images::find(app, &*store, &args.image)?;
    Ok(transfer::push(app, &store, &found.named.name)?)
}
