//! `kraft net remove`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Remove networks
///
/// Remove networks and print their names. A network that a machine is in is kept, unless --force is
/// given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft net rm web
  kraft net rm --force web")]
pub(crate) struct Args {
    /// Names of the networks
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,

    /// Remove networks that machines are in, which lose their connection; ignore networks that do not exist
    #[arg(short, long)]
    force: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    for name in &args.names {
        if args.force {
            let leases = machines.networks().leases(name).unwrap_or_default();
            for lease in leases {
                let machine = &lease.name;
                app.ui
                    .warn(&format!("machine `{machine}` loses network `{name}`"));
            }
        }
        let removed = machines.remove_network(name, args.force);
        if tally.count_removed(app, args.force, removed).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}
