//! `kraft pkg rm`.

use kraft_core::reference::Reference;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::images;

/// Remove images
///
/// Remove images, and the blobs that no other image needs. Machines that were created from them are
/// kept, and can still be started.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft pkg rm unikraft.org/nginx:latest
  kraft pkg rm --force nginx:1.25 nginx:1.27")]
pub(crate) struct Args {
    /// Images, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE", required_unless_present_any = ["all", "name"])]
    images: Vec<String>,

    /// Remove all images
    #[arg(short, long, conflicts_with_all = ["images", "name"])]
    all: bool,

    /// Ignore images that do not exist
    #[arg(long)]
    force: bool,

    /// Remove this image; accepted for old scripts
    #[arg(short, long, hide = true, value_name = "IMAGE")]
    name: Option<String>,

    /// Set the format of the packages
    #[arg(short, long, hide = true, default_value = "any", value_parser = ["any", "oci"])]
    format: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let mut tally = Tally::default();
    if args.all {
        let names = store.names()?.into_iter().map(|named| named.name);
        let names: Vec<Reference> = names.collect();
        store.untag_many(&names)?;
        for name in &names {
            app.ui.line(&name.to_string())?;
        }
    }
    for word in args.images.iter().chain(&args.name) {
        let removed = images::find(app, &*store, word)
            .map_err(Failure::from)
            .and_then(|found| {
                store.untag(&found.named.name)?;
                Ok(found.named.name)
            });
        if let Some(name) = tally.count_removed(app, args.force, removed) {
            app.ui.line(&name.to_string())?;
        }
    }
    images::collect_garbage(app, &*store);
    tally.outcome()
}
