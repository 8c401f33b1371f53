//! `kraft pkg tag`.

use kraft_oci::store::Expect;

use super::pack::full_name;
use crate::app::App;
use crate::failure::Failure;
use kraft_engine::images;

/// Give an image another name
///
/// The image keeps its first name. A name that was another image's leads to this one from now on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg tag hello:latest registry.example.com/me/hello:v1")]
pub(crate) struct Args {
    /// The image: its name, its digest or the first digits of it
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let name = full_name(&args.name)?;
    let store = images::open(app)?;
    let found = images::find(app, &*store, &args.image)?;
    store.tag(&name, &found.named.target, &Expect::Anything)?;
    Ok(())
}
