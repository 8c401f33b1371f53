//! `kraft vol remove`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Remove volumes
///
/// Remove volumes and their data, and print their names. A volume that a machine mounts is kept, also
/// if the machine does not run, unless --force is given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft vol rm database
  kraft vol rm --force database")]
pub(crate) struct Args {
    /// Names or ids of the volumes
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,

    /// Remove volumes that machines mount, which cannot be started again without them; ignore volumes that
    /// do not exist
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let mut tally = Tally::default();
    for name in &args.names {
        if args.force {
            let users = machines.volume_users()?.remove(name).unwrap_or_default();
            for machine in users {
                app.ui
                    .warn(&format!("machine `{machine}` loses volume `{name}`"));
            }
        }
        let removed = machines.remove_volume(name, args.force);
        if tally.count_removed(app, args.force, removed).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}
