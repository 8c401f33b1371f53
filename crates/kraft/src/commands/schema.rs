//! `kraft schema`.

use kraft_core::kraftfile;

use crate::app::App;
use crate::failure::Failure;

/// Print the JSON Schema of Kraftfiles
///
/// Editors with a YAML language server complete and check a Kraftfile with it: save it, and name
/// it in the file's first line, `# yaml-language-server: $schema=kraftfile.schema.json`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn exec(app: &App, _args: &Args) -> Result<(), Failure> {
    app.ui.json(&kraftfile::schema())
}
