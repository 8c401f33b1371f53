//! `kraft pkg info`.

use super::ls;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::Format;
use kraft_engine::images;

/// Show the rows of some images
///
/// Show what `kraft pkg ls` shows, for these images only.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg info unikraft.org/nginx:latest")]
pub(crate) struct Args {
    /// Images, by name, by digest or by the first digits of it
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Print in this form
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
