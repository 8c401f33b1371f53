//! `kraft cloud instance logs`.

use kraft_cloud::resources::Known;
use kraft_cloud::resources::instances;

use super::super::choose::ids;
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::logs::{self, Wish};
use kraft_engine::follow::{self, Writer};

/// Print what instances have written to their consoles
///
/// With several instances, each line begins with the name of its instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or UUIDs
    #[arg(value_name = "INSTANCE", required = true)]
    instances: Vec<String>,

    /// Go on printing until the instances have ended
    #[arg(short, long)]
    follow: bool,

    /// Print only so many lines of the end; -1 prints all
    #[arg(
        short = 'n',
        long,
        value_name = "LINES",
        default_value = "-1",
        allow_negative_numbers = true
    )]
    tail: i64,

    /// Begin each line with this
    #[arg(short, long, value_name = "TEXT")]
    prefix: Option<String>,

    /// Do not begin lines with the names of instances
    #[arg(long, conflicts_with = "prefix")]
    no_prefix: bool,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    cloud.listen();
    let found = cloud.send(&instances::get(&ids(&args.instances)))?.all()?;
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
    let wish = Wish {
        tail: usize::try_from(args.tail).ok(),
        follow: args.follow,
    };
    logs::print(
        app,
        &mut app.ui.output(),
        cloud,
        found.into_iter().zip(writers).collect(),
        wish,
    )
}
