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
use super::choose::{self, Told};
use super::output::{self, Form};
use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::compose::images::Making;
use kraft_deploy::compose::{Stack, up as ops};
use kraft_deploy::{Cloud, Where};

/// Look after several services that belong together, by a Compose file
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,

    #[command(subcommand)]
    command: Command,
}

/// Which file.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// Use this Compose file
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Call the project so instead of by its file or its directory
    #[arg(long, global = true, value_name = "NAME")]
    project_name: Option<String>,

    /// Mean the services of this profile, too
    #[arg(long, global = true, value_name = "PROFILE")]
    profile: Vec<String>,
}

impl FileArgs {
    fn open(&self, app: &App) -> Result<Stack, Failure> {
        Stack::open(
            app,
            self.file.as_deref(),
            self.project_name.as_deref(),
            &self.profile,
        )
    }
}

/// Which services.
#[derive(Debug, clap::Args)]
struct Services {
    /// Services; all if there are none
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
        /// Remove their volumes, too
        #[arg(short, long)]
        volumes: bool,
    },
    #[command(visible_alias = "cr")]
    Create(up::CreateArgs),
    /// Start the instances of services, needed ones first
    #[command(visible_alias = "str")]
    Start {
        #[command(flatten)]
        services: Services,
        /// Wait so long until they run
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Stop the instances of services
    #[command(visible_alias = "s")]
    Stop {
        #[command(flatten)]
        services: Services,
        /// Kill them instead of asking them
        #[arg(short, long, conflicts_with = "wait")]
        force: bool,
        /// Let them finish with their connections for so long
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
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Tell about the project of this directory
    #[command(visible_alias = "l")]
    Ls {
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    #[command(name = "logs", visible_aliases = ["log", "lg"])]
    Logs(logs::Args),
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let stack = args.file.open(app)?;
    let mut cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Up(args) => up::up(app, &mut cloud, &stack, args),
        Command::Create(args) => up::create(app, &mut cloud, &stack, args),
        Command::Build(args) => up::build(app, &mut cloud, &stack, args),
        Command::Push {
            services,
            dockerfile,
        } => {
            let making = Making {
                building: dockerfile.options(),
                ..Making::default()
            };
            up::package(app, &mut cloud, &stack, (&services.services, &making), true)
        }
        Command::Down { services, volumes } => {
            cloud.listen();
            let services = stack.ever(&services.services)?;
            for name in ops::down(&cloud, &stack, &services, *volumes)? {
                app.ui.line(&name)?;
            }
            Ok(())
        }
        Command::Start { services, wait } => {
            cloud.listen();
            let services = stack.services(&services.services)?;
            for one in ops::start(app, &cloud, &stack, &services, *wait)? {
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
            let told = Told::default();
            choose::each(app, &cloud, &told, &ids, |ids| {
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

/// Returns the instances of services that are there.
fn ids(cloud: &Cloud, stack: &Stack, names: &[String]) -> Result<Vec<Id>, Failure> {
    let found = stack.found(cloud, &stack.ever(names)?)?;
    let mut ids = resources::ids(found.iter().filter_map(|(_, found)| found.as_ref()));
    // Those that need others end before them.
    ids.reverse();
    Ok(ids)
}

/// Returns a row for each service that is meant, whether its instance is there or not, and for each
/// other one whose instance is.
fn rows(cloud: &Cloud, stack: &Stack, names: &[String]) -> Result<Vec<Row>, Failure> {
    let meant = stack.only(names)?;
    let is_meant = |service: &Service| meant.iter().any(|one| one.name == service.name);
    let found = stack.found(cloud, &stack.ever(names)?)?;
    Ok(found
        .into_iter()
        .filter(|(service, found)| found.is_some() || is_meant(service))
        .map(|(service, found)| Row::of(stack, service, found))
        .collect())
}

/// Returns rows of instances that were made or started, in the order of their services.
fn rows_of(stack: &Stack, services: &[&Service], made: &[Instance]) -> Vec<Row> {
    let row = |service: &&Service| {
        let name = stack.instance(service);
        let found = made.iter().find(|one| one.name == name).cloned();
        Row::of(stack, service, found)
    };
    services.iter().map(row).collect()
}
