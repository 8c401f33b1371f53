//! `kraft store import-kraftkit`.

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::kraftkit;

/// Import the images of KraftKit
///
/// Import all images of KraftKit in the same runtime directory that do not exist in the store, with
/// their timestamps, and print their names. KraftKit's files are not changed, and the command can
/// be repeated. kraft runs it automatically when it first finds images of KraftKit. The exit code
/// is 1 if images were not imported.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace different images with the same name
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
    Err(Failure::reported(Kind::Failed))
}
