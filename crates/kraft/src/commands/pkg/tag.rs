//! `kraft pkg tag`.

use kraft_oci::store::Expect;

use super::pack::full_name;
use crate::app::App;
use crate::failure::Failure;
use kraft_engine::images;

/// Add a name to an image
///
/// The image keeps its existing names. If the new name belongs to another image, it is moved to
/// this one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg tag hello:latest registry.example.com/me/hello:v1")]
pub(crate) struct Args {
    /// Image, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE")]
    image: String,

    /// New name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let name = full_name(&args.name)?;
    let store = images::open(app)?;
    let found = images::find(app, &*store, &args.image)?;
    store.tag(&name, &found.named.target, &Expect::Anything)?;
    Ok(())
}
