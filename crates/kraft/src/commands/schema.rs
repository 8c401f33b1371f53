//! `kraft schema`.

use kraft_core::kraftfile;

use crate::app::App;
use crate::failure::Failure;

/// Print the JSON Schema of Kraftfiles
///
/// Editors with a YAML language server complete and validate Kraftfiles with the schema. Save it,
/// and refer to it in the first line of a Kraftfile: `# yaml-language-server:
/// $schema=kraftfile.schema.json`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn exec(app: &App, _args: &Args) -> Result<(), Failure> {
    app.ui.json(&kraftfile::schema())
}
