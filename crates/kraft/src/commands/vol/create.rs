//! `kraft vol create`.

use kraft_machine::Id;

use crate::app::App;
use crate::commands::lifecycle::label;
use crate::failure::Failure;
use kraft_engine::machines;

/// Create a volume
///
/// Create an empty volume and print its name. A volume has no limit of its own: it may grow as large
/// as the disk of the host.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft vol create database
  kraft vol create --label project=shop database")]
pub(crate) struct Args {
    /// Name of the volume (default: random)
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Set a label of the volume
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = label)]
    label: Vec<(String, String)>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        // As unlikely to exist as an id, and not one.
        None => Id::new().to_string().replace('-', ""),
    };
    let labels = args.label.iter().cloned().collect();
    machines::existing(app).volumes().create(&name, &labels)?;
    app.ui.line(&name)
}
