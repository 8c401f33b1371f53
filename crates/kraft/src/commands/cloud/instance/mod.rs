//! `kraft cloud instance`.

mod create;
mod logs;
mod metrics;
pub(crate) mod view;

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources::{self, instances};

use super::choose::{self, Chosen, Told, ids};
use super::list::{self, ListArgs};
use super::output::{self, Form};
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::{Cloud, Where};

/// Look after instances
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
    /// List instances
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Tell everything about instances
    #[command(visible_aliases = ["status", "info"])]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required = true)]
        instances: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    #[command(visible_alias = "log")]
    Logs(logs::Args),
    #[command(visible_alias = "top")]
    Metrics(metrics::Args),
    /// Start instances
    #[command(visible_alias = "str")]
    Start {
        #[command(flatten)]
        chosen: Chosen,
        /// Let the platform wait so long until they run
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        wait: Option<Duration>,
    },
    /// Stop instances
    #[command(visible_alias = "st")]
    Stop {
        #[command(flatten)]
        chosen: Chosen,
        /// Kill them instead of asking them
        #[arg(short, long, conflicts_with = "wait")]
        force: bool,
        /// Let them finish with their connections for so long
        #[arg(short, long, value_name = "TIME", value_parser = values::duration,
              visible_alias = "drain-timeout", visible_short_alias = 'd')]
        wait: Option<Duration>,
    },
    /// Wait until instances are in a state
    Wait {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required = true)]
        instances: Vec<String>,
        /// The state that is waited for
        #[arg(short, long, default_value = "running",
              value_parser = ["running", "stopped", "standby", "starting", "stopping", "draining"])]
        state: String,
        /// Wait for so long at most
        #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Remove instances; those that run are killed
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required_unless_present_any = ["all", "stopped"],
              conflicts_with_all = ["all", "stopped"])]
        instances: Vec<String>,
        /// Every instance
        #[arg(short, long)]
        all: bool,
        /// Every instance that does not run
        #[arg(short, long)]
        stopped: bool,
        #[command(flatten)]
        told: Told,
    },
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Create(args) => create::exec(app, &mut cloud, args),
        Command::List(args) => list::exec(app, &cloud, args, &instances::get(&[])),
        Command::Get { instances, output } => {
            let answer = cloud.send(&instances::get(&ids(instances)))?;
            output::print(app, *output, answer)
        }
        Command::Logs(args) => logs::exec(app, &mut cloud, args),
        Command::Metrics(args) => metrics::exec(app, &cloud, args),
        Command::Start { chosen, wait } => {
            let wait = wait.unwrap_or_default();
            let ids = chosen.ids(&cloud, &instances::get(&[]))?;
            choose::each(app, &cloud, &chosen.told, &ids, |ids| {
                instances::start(ids, wait)
            })
        }
        Command::Stop {
            chosen,
            force,
            wait,
        } => {
            let drain = wait.unwrap_or_default();
            let ids = chosen.ids(&cloud, &instances::get(&[]))?;
            choose::each(app, &cloud, &chosen.told, &ids, |ids| {
                instances::stop(ids, *force, drain)
            })
        }
        Command::Wait {
            instances,
            state,
            timeout,
        } => {
            cloud.listen();
            let answer = cloud.wait_until(&ids(instances), state, *timeout)?;
            output::names(app, answer)
        }
        Command::Remove {
            instances,
            all,
            stopped,
            told,
        } => {
            let ids = if *all || *stopped {
                every(&cloud, |state| *all || state == "stopped")?
            } else {
                ids(instances)
            };
            choose::each(app, &cloud, told, &ids, instances::remove)
        }
    }
}

/// Returns all instances in certain states.
fn every(cloud: &Cloud, wanted: impl Fn(&str) -> bool) -> Result<Vec<Id>, Failure> {
    let all = cloud.send(&instances::get(&[]))?.all()?;
    Ok(resources::ids(all.iter().filter(|one| wanted(&one.state))))
}
