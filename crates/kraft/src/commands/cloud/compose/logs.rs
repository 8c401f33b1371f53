//! `kraft cloud compose logs`.

use kraft_cloud::resources::instances::Instance;
use kraft_core::compose::Service;

use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::compose::Stack;
use kraft_deploy::logs::{self, LogOptions};
use kraft_engine::follow::{self, Writer};

/// Print the logs of services, each line with the name of its service
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Follow the logs until the services have ended
    #[arg(short, long)]
    follow: bool,

    /// Number of lines at the end of each log to print; -1 prints all
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
    cloud.catch_interrupts();
    let services = stack.only(&args.services)?;
    let options = LogOptions {
        tail: usize::try_from(args.tail).ok(),
        follow: args.follow,
    };
    let chosen = !args.services.is_empty();
    let logs = deployed(app, cloud, stack, &services, chosen)?;
    Ok(logs::print(
        app,
        &mut app.ui.output(),
        cloud,
        logs,
        options,
    )?)
}

/// Returns the instances of services whose logs are printed. Those with `attach: false` are left out,
/// unless they were `chosen` by name.
pub(super) fn deployed(
    app: &App,
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    chosen: bool,
) -> Result<Vec<(Instance, Writer)>, Failure> {
    let mut running: Vec<(&Service, Instance)> = Vec::new();
    for (service, found) in stack.found(cloud, services)? {
        match found {
            Some(one) if service.attach || chosen => running.push((service, one)),
            Some(_) => {}
            None => app.ui.info(&format!("`{}` is not deployed", service.name)),
        }
    }
    let names: Vec<&str> = running
        .iter()
        .map(|(service, _)| service.name.as_str())
        .collect();
    let writers = follow::writers(&names, app.ui.colour());
    let instances = running.into_iter().map(|(_, one)| one);
    Ok(instances.zip(writers).collect())
}
