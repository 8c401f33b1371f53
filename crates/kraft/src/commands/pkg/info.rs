//! `kraft pkg info`.

use super::ls::COLUMNS;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::Format;
use kraft_engine::listing;

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
    let rows = listing::images(app, &args.images)?;
    app.ui.listing(args.output, &rows, COLUMNS)
}
