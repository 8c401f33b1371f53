//! `kraft images`.

use kraft_core::component::Kind;
use kraft_core::reference::Digest;

use super::pkg::ls::COLUMNS;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::Format;
use kraft_engine::listing::{self, Query};

/// List the local images
///
/// One row per platform of an image. `kraft pkg ls` also lists what registries and catalogs have.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft images
  kraft images -o json | jq -r '.[].name'")]
pub(crate) struct Args {
    /// List all images (default)
    #[arg(short, long, hide = true)]
    all: bool,

    /// Print only the digests of the images
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let rows = listing::list(
        app,
        &Query {
            kinds: vec![Kind::App],
            platform: None,
            arch: None,
            versions: false,
            update: false,
            local: true,
        },
    )?;
    if !args.quiet {
        return app.ui.listing(args.output, &rows, COLUMNS);
    }
    let mut digests: Vec<&Digest> = rows.iter().filter_map(|row| row.index.as_ref()).collect();
    digests.sort_unstable();
    digests.dedup();
    digests
        .into_iter()
        .try_for_each(|digest| app.ui.line(&digest.to_string()))
}
