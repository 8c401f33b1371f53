//! `kraft cloud`: what runs on Unikraft Cloud.

mod certificate;
mod choose;
mod compose;
mod deploy;
mod image;
mod instance;
mod list;
mod metro;
mod output;
mod quota;
mod scale;
mod service;
mod shape;
mod tunnel;
mod volume;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Failure;
use crate::ops::cloud::Where;

/// Look after what runs on Unikraft Cloud
///
/// The metro is named by `--metro` or `UKC_METRO`; the token is read from `UKC_TOKEN`, or is that of
/// `kraft login index.unikraft.io`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_aliases = ["launch", "run"])]
    Deploy(Box<deploy::Args>),
    #[command(visible_aliases = ["inst", "instances", "vm", "vms"])]
    Instance(instance::Args),
    #[command(visible_alias = "comp")]
    Compose(Box<compose::Args>),
    #[command(visible_alias = "img")]
    Image(image::Args),
    #[command(visible_aliases = ["services", "svc"])]
    Service(service::Args),
    #[command(visible_aliases = ["volumes", "vol"])]
    Volume(volume::Args),
    #[command(visible_aliases = ["cert", "certificates", "certs", "crt", "crts"])]
    Certificate(certificate::Args),
    #[command(visible_aliases = ["autoscale", "scl"])]
    Scale(scale::Args),
    #[command(visible_aliases = ["quotas", "q"])]
    Quota(quota::Args),
    Tunnel(tunnel::Args),
    #[command(visible_aliases = ["metros", "m"])]
    Metro(metro::Args),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Deploy(command) => deploy::exec(app, &args.at, command),
        Command::Instance(command) => instance::exec(app, &args.at, command),
        Command::Compose(command) => compose::exec(app, &args.at, command),
        Command::Image(command) => image::exec(app, &args.at, command),
        Command::Service(command) => service::exec(app, &args.at, command),
        Command::Volume(command) => volume::exec(app, &args.at, command),
        Command::Certificate(command) => certificate::exec(app, &args.at, command),
        Command::Scale(command) => scale::exec(app, &args.at, command),
        Command::Quota(command) => quota::exec(app, &args.at, command),
        Command::Tunnel(command) => tunnel::exec(app, &args.at, command),
        Command::Metro(command) => metro::exec(app, &args.at, command),
    }
}
