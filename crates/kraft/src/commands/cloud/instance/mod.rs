//! `kraft cloud instance`.

mod create;
mod exec;
pub(super) mod logs;
mod metrics;
pub(crate) mod view;

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources;
use kraft_cloud::resources::instances::{self, Instance};

use super::choose::{self, Chosen, OutputArgs, ids};
use super::output;
use super::resource::{Queries, Resource};
use super::{edit, saved};
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::{Cloud, CloudOptions, RequestError};

/// How long an instance may take to stop once its connections are finished.
const STOP: Duration = Duration::from_mins(1);

/// Manage instances
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "new")]
    Create(Box<create::Args>),
    #[command(flatten)]
    Queries(Queries<Instance>),
    #[command(visible_alias = "log")]
    Logs(logs::Args),
    #[command(visible_alias = "top")]
    Metrics(metrics::Args),
    /// Start instances
    #[command(visible_alias = "str")]
    Start {
        #[command(flatten)]
        chosen: Chosen,
        /// Time to wait until they run
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Stop instances
    #[command(visible_alias = "st")]
    Stop {
        #[command(flatten)]
        chosen: Chosen,
        /// Kill the instances instead of shutting them down
        #[arg(short, long, conflicts_with = "wait")]
        force: bool,
        /// Time to finish open connections
        #[arg(short, long, value_name = "TIME", value_parser = values::duration,
              visible_alias = "drain-timeout", visible_short_alias = 'd')]
        wait: Option<Duration>,
    },
    /// Stop instances and start them again
    Restart {
        #[command(flatten)]
        chosen: Chosen,
        /// Kill the instances instead of shutting them down
        #[arg(short, long, conflicts_with = "wait")]
        force: bool,
        /// Time to finish open connections
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Suspend instances: they keep their memory, and the next connection resumes them
    Suspend {
        #[command(flatten)]
        chosen: Chosen,
        /// Time to finish open connections
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    Edit(Box<edit::Args>),
    Exec(exec::Args),
    Template(saved::TemplateArgs),
    Checkpoint(saved::CheckpointArgs),
    History(saved::HistoryArgs),
    /// Wait until instances are in a state
    Wait {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required = true)]
        instances: Vec<String>,
        /// State to wait for
        #[arg(short, long, default_value = "running",
              value_parser = ["running", "stopped", "standby", "starting", "stopping", "draining",
                              "template", "checkpoint", "deleted"])]
        state: String,
        /// Timeout (default: none)
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Remove instances; running ones are killed
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required_unless_present_any = ["all", "stopped"],
              conflicts_with_all = ["all", "stopped"])]
        instances: Vec<String>,
        /// Remove all instances
        #[arg(short, long)]
        all: bool,
        /// Remove all stopped instances
        #[arg(short, long)]
        stopped: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl Resource for Instance {
    const VALUE_NAME: &'static str = "INSTANCE";
    const LIST_HELP: &'static str = "List instances";
    const GET_HELP: &'static str = "Show details of instances";

    fn get(ids: &[Id]) -> Request<Self> {
        instances::get(ids)
    }
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::Create(args) => create::exec(app, &mut cloud, args),
        Command::Queries(queries) => queries.exec(app, options, &cloud),
        Command::Logs(args) => logs::exec(app, &mut cloud, args),
        Command::Metrics(args) => metrics::exec(app, &cloud, args),
        Command::Start { chosen, wait } => {
            let wait = wait.unwrap_or_default();
            let ids = chosen.ids::<Instance>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, |ids| {
                instances::start(ids, wait)
            })
        }
        Command::Stop {
            chosen,
            force,
            wait,
        } => {
            let drain = wait.unwrap_or_default();
            let ids = chosen.ids::<Instance>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, |ids| {
                instances::stop(ids, *force, drain)
            })
        }
        Command::Restart {
            chosen,
            force,
            wait,
        } => {
            cloud.catch_interrupts();
            let ids = chosen.ids::<Instance>(&cloud)?;
            if !ids.is_empty() {
                let drain = wait.unwrap_or_default();
                cloud.all(&instances::stop(&ids, *force, drain))?;
                cloud
                    .wait_until(&ids, "stopped", Some(drain + STOP))?
                    .all()
                    .map_err(RequestError::from)?;
            }
            choose::change(app, &cloud, &chosen.output, &ids, |ids| {
                instances::start(ids, Duration::ZERO)
            })
        }
        Command::Suspend { chosen, wait } => {
            let drain = wait.unwrap_or_default();
            let ids = chosen.ids::<Instance>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, |ids| {
                instances::suspend(ids, drain)
            })
        }
        Command::Edit(args) => edit::exec(app, &cloud, args),
        Command::Exec(args) => exec::exec(app, &mut cloud, args),
        Command::Template(args) => saved::template(app, &cloud, args),
        Command::Checkpoint(args) => saved::checkpoint(app, &cloud, args),
        Command::History(args) => saved::history(app, &cloud, args),
        Command::Wait {
            instances,
            state,
            timeout,
        } => {
            cloud.catch_interrupts();
            let answer = cloud.wait_until(&ids(instances), state, *timeout)?;
            output::names(app, answer)
        }
        Command::Remove {
            instances,
            all,
            stopped,
            output,
        } => {
            let ids = if *all || *stopped {
                every(&cloud, |state| *all || state == "stopped")?
            } else {
                ids(instances)
            };
            choose::change(app, &cloud, output, &ids, instances::remove)
        }
    }
}

/// Returns all instances in the wanted states.
fn every(cloud: &Cloud, wanted: impl Fn(&str) -> bool) -> Result<Vec<Id>, Failure> {
    let all = cloud.all(&instances::get(&[]))?;
    Ok(resources::ids(all.iter().filter(|one| wanted(&one.state))))
}
