//! `kraft net prune`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Remove all networks that no machine is in
///
/// Remove all networks that no machine is in, and print their names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn exec(app: &App, _: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    for network in machines.networks().list()? {
        let name = &network.name;
        let removed = match machines.remove_network(name, false) {
            Err(kraft_machine::Error::Network(
                kraft_net::Error::InUse { .. } | kraft_net::Error::NotFound { .. },
            )) => continue,
            other => other,
        };
        if tally.count(app, removed).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}
