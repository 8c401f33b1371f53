//! `kraft pkg info`.

use super::ls;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::Format;
use kraft_engine::images;

/// Show a summary of images
///
/// Show the rows of `kraft pkg ls` for these images only.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg info unikraft.org/nginx:latest")]
pub(crate) struct Args {
    /// Images, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let mut rows = Vec::new();
    for word in &args.images {
        let found = images::find(app, &*store, word)?;
        let of_image = kraft_oci::listing::rows_of(&*store, &found.named)?;
        rows.extend(of_image.into_iter().filter(|row| {
            found
                .manifest
                .as_ref()
                .is_none_or(|meant| *meant == row.manifest)
        }));
    }
    ls::print(
        app,
        args.output,
        rows.into_iter().map(ls::Row::from).collect(),
        None,
    )
}
