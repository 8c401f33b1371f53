//! `kraft net up` and `kraft net down`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::machines;

/// Bring networks online
///
/// Allow machines to be started in networks, which is the case unless they were brought offline, and
/// print their names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft net up web")]
pub(crate) struct UpArgs {
    /// Names of the networks
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

/// Bring networks offline
///
/// Prevent machines from being started in networks, and print their names. No machine may run in
/// them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft net down web")]
pub(crate) struct DownArgs {
    /// Names of the networks
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

pub(super) fn up(app: &App, args: &UpArgs) -> Result<(), Failure> {
    set(app, &args.names, true)
}

pub(super) fn down(app: &App, args: &DownArgs) -> Result<(), Failure> {
    set(app, &args.names, false)
}

fn set(app: &App, names: &[String], up: bool) -> Result<(), Failure> {
    let networks = machines::existing(app).networks();
    let mut tally = Tally::default();
    for name in names {
        if tally.count(app, networks.set_up(name, up)).is_some() {
            app.ui.line(name)?;
        }
    }
    tally.outcome()
}
