//! `kraft pkg update`.

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::components::Fetching;
use kraft_engine::{catalog, network, sources};

/// Update the package index
///
/// Downloads the lists of packages of registries and catalogs, for `kraft pkg ls` and `kraft
/// build`. Unchanged lists are not downloaded again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set the format of the packages
    #[arg(short, long, hide = true, default_value = "all", value_parser = ["all", "oci", "manifest"])]
    manager: String,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if app.settings.offline {
        return Err(
            Failure::new(Kind::Network, "cannot update while kraft is offline")
                .hint("run it without `--offline`"),
        );
    }
    let indexes = sources::places(app);
    if args.manager != "oci" && indexes.is_empty() {
        sources::forget_others(app, &indexes)?;
    }
    if args.manager != "oci" && !indexes.is_empty() {
        let mut door = sources::open(app, &Fetching::default())?;
        let updated = sources::update(app, &mut door);
        let alone = args.manager == "manifest" || network::registries(app).is_empty();
        match updated {
            Err(error) if !alone => app.failure(&error.into()),
            updated => updated?,
        }
        if alone {
            return Ok(());
        }
    }
    Ok(catalog::refresh(app)?)
}
