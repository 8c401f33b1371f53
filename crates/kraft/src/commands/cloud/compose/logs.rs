//! `kraft cloud compose logs`.

use kraft_cloud::resources::instances::Instance;
use kraft_core::compose::Service;

use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::compose::Stack;
use kraft_deploy::logs::{self, Wish};
use kraft_engine::follow;

/// Print what services have written to their consoles, each line behind the name of its service
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Services; all if there are none
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Go on printing until they have ended
    #[arg(short, long)]
    follow: bool,

    /// Print only so many lines of the end of each; -1 prints all
    #[arg(
        short,
        long,
        value_name = "LINES",
        default_value = "-1",
        allow_negative_numbers = true
    )]
    tail: i64,
}

pub(super) fn exec(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    args: &Args,
) -> Result<(), Failure> {
    cloud.listen();
    let services = stack.only(&args.services)?;
    let wish = Wish {
        tail: usize::try_from(args.tail).ok(),
        follow: args.follow,
    };
    print(
        app,
        cloud,
        stack,
        (&services, !args.services.is_empty()),
        wish,
    )
}

/// Prints the logs of services that are there. One that says so is passed over, unless it was named.
pub(super) fn print(
    app: &App,
    cloud: &Cloud,
    stack: &Stack,
    (services, chosen): (&[&Service], bool),
    wish: Wish,
) -> Result<(), Failure> {
    let mut there: Vec<(&Service, Instance)> = Vec::new();
    for (service, found) in stack.found(cloud, services)? {
        match found {
            Some(one) if service.attach || chosen => there.push((service, one)),
            Some(_) => {}
            None => app.ui.info(&format!("`{}` is not deployed", service.name)),
        }
    }
    let names: Vec<&str> = there
        .iter()
        .map(|(service, _)| service.name.as_str())
        .collect();
    let writers = follow::writers(&names, app.ui.colour());
    let instances = there.into_iter().map(|(_, one)| one);
    logs::print(
        app,
        &mut app.ui.output(),
        cloud,
        instances.zip(writers).collect(),
        wish,
    )
}
