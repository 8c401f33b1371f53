//! `kraft cloud compose`.

mod logs;
mod up;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance};
use kraft_cloud::resources::{self, Known};
use kraft_core::compose::Service;

use self::view::{Row, StackRow};
use super::choose::{self, OutputArgs};
use super::output::{self, Form};
use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::compose::images::ImageOptions;
use kraft_deploy::compose::{Stack, up as flow};
use kraft_deploy::{Cloud, CloudOptions};
use kraft_engine::compose::definition::OpenOptions;

/// Manage the services of a Compose file
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,

    #[command(subcommand)]
    command: Command,
}

/// The Compose file.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// Compose file
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Name of the project (default: that of the file or its directory)
    #[arg(long, global = true, value_name = "NAME")]
    project_name: Option<String>,

    /// Enable a profile
    #[arg(long, global = true, value_name = "PROFILE")]
    profile: Vec<String>,

    /// Read variables from this file instead of .env
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    env_file: Vec<PathBuf>,
}

impl FileArgs {
    fn open(&self, app: &App) -> Result<Stack, Failure> {
        let options = OpenOptions {
            files: self.file.iter().cloned().collect(),
            project: self.project_name.clone(),
            profiles: self.profile.clone(),
            env_files: self.env_file.clone(),
            ..OpenOptions::default()
        };
        Ok(Stack::open(app, options)?)
    }
}

/// The services of a command.
#[derive(Debug, clap::Args)]
struct Services {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "u")]
    Up(up::Args),
    /// Remove the instances of services
    #[command(visible_alias = "d")]
    Down {
        #[command(flatten)]
        services: Services,
        /// Remove their volumes as well
        #[arg(short, long)]
        volumes: bool,
    },
    #[command(visible_alias = "cr")]
    Create(up::CreateArgs),
    /// Start the instances of services, dependencies first
    #[command(visible_alias = "str")]
    Start {
        #[command(flatten)]
        services: Services,
        /// Time to wait until they run
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Stop the instances of services
    #[command(visible_alias = "s")]
    Stop {
        #[command(flatten)]
        services: Services,
        /// Kill the instances instead of shutting them down
        #[arg(short, long, conflicts_with = "wait")]
        force: bool,
        /// Time to finish open connections
        #[arg(short, long, value_name = "TIME", value_parser = values::duration,
              visible_alias = "drain-timeout", visible_short_alias = 'd')]
        wait: Option<Duration>,
    },
    #[command(visible_alias = "b")]
    Build(up::BuildArgs),
    /// Build the images of services, and push them to the platform's registry
    #[command(visible_alias = "p")]
    Push {
        #[command(flatten)]
        services: Services,
        #[command(flatten)]
        dockerfile: DockerfileArgs,
    },
    /// List the services and their instances
    Ps {
        #[command(flatten)]
        services: Services,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Show the project of this directory
    #[command(visible_alias = "l")]
    Ls {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    #[command(name = "logs", visible_aliases = ["log", "lg"])]
    Logs(logs::Args),
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let stack = args.file.open(app)?;
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::Up(args) => up::up(app, &mut cloud, &stack, args),
        Command::Create(args) => up::create(app, &mut cloud, &stack, args),
        Command::Build(args) => up::build(app, &mut cloud, &stack, args),
        Command::Push {
            services,
            dockerfile,
        } => {
            let options = ImageOptions {
                building: dockerfile.options(),
                ..ImageOptions::default()
            };
            let services = stack.only(&services.services)?;
            up::package(app, &mut cloud, &stack, &services, &options, true)
        }
        Command::Down { services, volumes } => {
            cloud.catch_interrupts();
            let services = stack.deployable(&services.services)?;
            for name in flow::down(&cloud, &stack, &services, *volumes)? {
                app.ui.line(&name)?;
            }
            Ok(())
        }
        Command::Start { services, wait } => {
            cloud.catch_interrupts();
            let services = stack.services(&services.services)?;
            for one in flow::start(app, &cloud, &stack, &services, *wait)? {
                app.ui.line(one.title())?;
            }
            Ok(())
        }
        Command::Stop {
            services,
            force,
            wait,
        } => {
            let ids = ids(&cloud, &stack, &services.services)?;
            let drain = wait.unwrap_or_default();
            choose::change(app, &cloud, &OutputArgs::default(), &ids, |ids| {
                instances::stop(ids, *force, drain)
            })
        }
        Command::Ps { services, output } => {
            let rows = rows(&cloud, &stack, &services.services)?;
            output::rows(app, *output, &rows)
        }
        Command::Ls { output } => {
            let rows = rows(&cloud, &stack, &[])?;
            output::rows(app, *output, &[StackRow::of(&stack, &rows)])
        }
        Command::Logs(args) => logs::exec(app, &mut cloud, &stack, args),
    }
}

/// Returns the ids of the existing instances of services.
fn ids(cloud: &Cloud, stack: &Stack, names: &[String]) -> Result<Vec<Id>, Failure> {
    let found = stack.found(cloud, &stack.deployable(names)?)?;
    let mut ids = resources::ids(found.iter().filter_map(|(_, found)| found.as_ref()));
    // Dependents stop before their dependencies.
    ids.reverse();
    Ok(ids)
}

/// Returns a row for each selected service, deployed or not, and for each other deployed one.
fn rows(cloud: &Cloud, stack: &Stack, names: &[String]) -> Result<Vec<Row>, Failure> {
    let selected = stack.only(names)?;
    let is_selected = |service: &Service| selected.iter().any(|one| one.name == service.name);
    let found = stack.found(cloud, &stack.deployable(names)?)?;
    Ok(found
        .into_iter()
        .filter(|(service, found)| found.is_some() || is_selected(service))
        .map(|(service, found)| Row::of(stack, service, found))
        .collect())
}

/// Returns rows of instances that were created or started, in the order of their services.
fn rows_of(stack: &Stack, services: &[&Service], instances: &[Instance]) -> Vec<Row> {
    let row = |service: &&Service| {
        let name = stack.instance(service);
        let found = instances.iter().find(|one| one.name == name).cloned();
        Row::of(stack, service, found)
    };
    services.iter().map(row).collect()
}
