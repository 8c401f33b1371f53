//! `kraft vol prune`.

use kraft_machine::{Error, VolumeError};

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Remove all volumes that no machine mounts
///
/// Remove all volumes that no machine mounts and their data, and print their names. Without --force,
/// ask first; without a terminal, this is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft vol prune --force")]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let users = machines.volume_users()?;
    let volumes = machines.volumes().list()?.into_iter();
    let unused: Vec<String> = volumes
        .map(|volume| volume.name)
        .filter(|name| !users.contains_key(name))
        .collect();
    if unused.is_empty() || !(args.force || confirmed(app, &unused)?) {
        return Ok(());
    }
    let mut tally = Tally::default();
    for name in &unused {
        let removed = match machines.remove_volume(name, false) {
            Err(Error::Volume(VolumeError::InUse { .. } | VolumeError::NotFound { .. })) => {
                continue;
            }
            other => other,
        };
        if tally.count(app, removed).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}

/// Asks whether to remove volumes.
fn confirmed(app: &App, names: &[String]) -> Result<bool, Failure> {
    let question = format!("Remove {} and all their data?", names.join(", "));
    let answers = ["No", "Yes"].map(str::to_owned);
    match app.select(&question, &answers)? {
        Some(answer) => Ok(answer == 1),
        None => Err(
            Failure::usage("removing volumes and their data needs a confirmation")
                .hint("`kraft vol prune --force` does not ask"),
        ),
    }
}
