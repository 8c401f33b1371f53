//! `kraft cloud`: manage resources on Unikraft Cloud.

mod account;
mod audit;
mod builds;
mod certificate;
mod choose;
mod compose;
mod deploy;
mod edit;
mod features;
mod image;
mod instance;
mod list;
mod metro;
mod output;
mod quota;
mod resource;
mod saved;
mod scale;
mod service;
mod shape;
mod tunnel;
mod volume;

use clap::Subcommand;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;
use kraft_deploy::{Cloud, CloudOptions};

/// Manage instances, images and other resources on Unikraft Cloud
///
/// The metro is selected by `--metro` or `UKC_METRO`; listings accept `--metro all`. The token is
/// that of `kraft cloud login`, or of `UKC_TOKEN`, or of `kraft login index.unikraft.io`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Use this saved login
    // Not global: `compose` has profiles of its own.
    #[arg(id = "login", long = "profile", value_name = "NAME")]
    profile: Option<String>,

    #[command(flatten)]
    options: OptionArgs,

    #[command(subcommand)]
    command: Nested<Command>,
}

/// The metro, the registry and the token.
#[derive(Debug, clap::Args)]
struct OptionArgs {
    /// Metro to use: a code such as `fra0`, or a URL
    #[arg(long, global = true, value_name = "METRO")]
    metro: Option<String>,

    /// Host of the registry that images are pushed to
    #[arg(long, global = true, value_name = "HOST")]
    registry: Option<String>,

    /// Token; every user of the host can read it here: prefer `UKC_TOKEN`
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
    #[command(visible_alias = "builds")]
    Build(builds::Args),
    Audit(audit::Args),
    Health(account::HealthArgs),
    Login(account::LoginArgs),
    /// Remove a saved login
    Logout {
        /// Name of the login (default: that of `profile use`)
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
    },
    Whoami(account::WhoamiArgs),
    Profile(account::ProfileArgs),
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let options = &CloudOptions {
        metro: args.options.metro.clone(),
        registry: args.options.registry.clone(),
        token: args.options.token.clone(),
        profile: args.profile.clone(),
    };
    match &args.command.0 {
        Command::Deploy(command) => deploy::exec(app, options, command),
        Command::Instance(command) => instance::exec(app, options, command),
        Command::Compose(command) => compose::exec(app, options, command),
        Command::Image(command) => image::exec(app, options, command),
        Command::Service(command) => service::exec(app, options, command),
        Command::Volume(command) => volume::exec(app, options, command),
        Command::Certificate(command) => certificate::exec(app, options, command),
        Command::Scale(command) => scale::exec(app, options, command),
        Command::Quota(command) => quota::exec(app, options, command),
        Command::Tunnel(command) => tunnel::exec(app, options, command),
        Command::Metro(command) => metro::exec(app, options, command),
        Command::Build(command) => builds::exec(app, options, command),
        Command::Audit(command) => audit::exec(app, options, command),
        Command::Health(command) => account::health(app, &Cloud::open(app, options)?, command),
        Command::Login(command) => account::login(app, options, command),
        Command::Logout { profile } => account::logout(app, options, profile.as_deref()),
        Command::Whoami(command) => account::whoami(app, options, command),
        Command::Profile(command) => account::profile(app, command),
    }
}
