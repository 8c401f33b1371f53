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
use kraft_deploy::Where;

/// Look after what runs on Unikraft Cloud
///
/// The metro is named by `--metro` or `UKC_METRO`; the token is read from `UKC_TOKEN`, or is that of
/// `kraft login index.unikraft.io`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: WhereArgs,

    #[command(subcommand)]
    command: Command,
}

/// Which metro and registry, and whose token.
#[derive(Debug, clap::Args)]
struct WhereArgs {
    /// Speak to this metro: a code such as `fra0`, or a URL
    #[arg(long, global = true, value_name = "METRO")]
    metro: Option<String>,

    /// The registry of the platform, where images are pushed to
    #[arg(long, global = true, value_name = "HOST")]
    registry: Option<String>,

    /// Accepted for the sake of old scripts: a token does not belong where all users can read it
    #[arg(long, global = true, hide = true, value_name = "TOKEN")]
    token: Option<String>,
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
    let at = &Where {
        metro: args.at.metro.clone(),
        registry: args.at.registry.clone(),
        token: args.at.token.clone(),
    };
    match &args.command {
        Command::Deploy(command) => deploy::exec(app, at, command),
        Command::Instance(command) => instance::exec(app, at, command),
        Command::Compose(command) => compose::exec(app, at, command),
        Command::Image(command) => image::exec(app, at, command),
        Command::Service(command) => service::exec(app, at, command),
        Command::Volume(command) => volume::exec(app, at, command),
        Command::Certificate(command) => certificate::exec(app, at, command),
        Command::Scale(command) => scale::exec(app, at, command),
        Command::Quota(command) => quota::exec(app, at, command),
        Command::Tunnel(command) => tunnel::exec(app, at, command),
        Command::Metro(command) => metro::exec(app, at, command),
    }
}
