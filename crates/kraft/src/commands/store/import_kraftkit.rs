//! `kraft store import-kraftkit`.

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::kraftkit;

/// Import the images of KraftKit
///
/// Import every image that KraftKit has in the same runtime directory and that is not here, with the
/// time since which it is there. The names are printed. Nothing of KraftKit is changed, and the
/// command can be repeated; kraft runs it by itself when it first meets images of KraftKit. Exit code
/// 1 if images were left behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace images of the same name that are different here
    #[arg(long)]
    replace: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let imported = kraftkit::import(app, args.replace)?;
    for name in &imported.images {
        app.ui.line(&name.to_string())?;
    }
    if imported.left.is_empty() {
        return Ok(());
    }
    Err(Failure::told(Kind::Failed))
}
