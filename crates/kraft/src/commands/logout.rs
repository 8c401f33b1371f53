//! `kraft logout`.

use super::login;
use crate::app::App;
use crate::failure::Failure;
use kraft_core::yaml::edit;

/// Log out of a registry
///
/// Removes the credentials from the configuration file. Those of docker or podman for the same
/// registry are kept, and used.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft logout ghcr.io")]
pub(crate) struct Args {
    /// Registry, as `HOST[:PORT]`
    #[arg(value_name = "HOST")]
    host: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let host = login::host(&args.host)?;
    let mut known = false;
    for host in [host.as_str(), args.host.as_str()] {
        let path = ["auth".into(), host.into()];
        known |= kraft_config::change(&app.config, &path, edit::unset)?;
    }
    app.ui.info(&if known {
        format!("logged out of {host}")
    } else {
        format!("there were no credentials for {host}")
    });
    Ok(())
}
