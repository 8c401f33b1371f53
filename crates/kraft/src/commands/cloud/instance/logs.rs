//! `kraft cloud instance logs`.

use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances;

use super::super::choose::ids;
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::logs::{self, LogOptions};
use kraft_engine::follow::{self, Writer};

/// Print the logs of instances
///
/// With several instances, each line begins with the name of its instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or UUIDs
    #[arg(value_name = "INSTANCE", required = true)]
    instances: Vec<String>,

    #[command(flatten)]
    form: FormArgs,
}

/// What is printed of logs, and how.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct FormArgs {
    /// Follow the logs until the instances have ended
    #[arg(short, long)]
    follow: bool,

    /// Number of lines at the end of the log to print; -1 prints all
    #[arg(
        short = 'n',
        long,
        value_name = "LINES",
        default_value = "-1",
        allow_negative_numbers = true
    )]
    tail: i64,

    /// Prefix of each line
    #[arg(short, long, value_name = "TEXT")]
    prefix: Option<String>,

    /// Do not prefix lines with the names of instances
    #[arg(long, conflicts_with = "prefix")]
    no_prefix: bool,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    cloud.catch_interrupts();
    print(app, cloud, &ids(&args.instances), &args.form)
}

/// Prints the logs of instances.
pub(crate) fn print(app: &App, cloud: &Cloud, ids: &[Id], args: &FormArgs) -> Result<(), Failure> {
    let found = cloud.all(&instances::get(ids))?;
    let names: Vec<&str> = match &args.prefix {
        Some(prefix) => vec![prefix.as_str(); found.len()],
        None => found.iter().map(instances::Instance::title).collect(),
    };
    let plain = args.no_prefix || (found.len() == 1 && args.prefix.is_none());
    let writers: Vec<Writer> = if plain {
        names.iter().map(|_| Writer::default()).collect()
    } else {
        follow::writers(&names, app.ui.colour())
    };
    let options = LogOptions {
        tail: usize::try_from(args.tail).ok(),
        follow: args.follow,
    };
    let logs = found.into_iter().zip(writers).collect();
    Ok(logs::print(
        app,
        &mut app.ui.output(),
        cloud,
        logs,
        options,
    )?)
}
