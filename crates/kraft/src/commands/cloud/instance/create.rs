//! `kraft cloud instance create`.

use std::time::Duration;

use kraft_cloud::resources::instances::CreateInstance;

use super::super::output::{self, Form};
use super::super::shape::ShapeArgs;
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use crate::failure::with_created;
use kraft_deploy::Cloud;
use kraft_deploy::created::Created;
use kraft_deploy::launch::{self, Launch};
use kraft_deploy::naming;

/// Create an instance from an image on the platform
#[derive(Debug, clap::Args)]
// Where `deploy` has `--follow`, a feature can be short.
#[command(mut_arg("feature", |arg| arg.short('f')))]
#[command(after_long_help = "\
Examples:
  kraft cloud instance create --start -p 443:8080 nginx
  kraft cloud instance create -M 256 -v data:/data anna/db:v2 -- --verbose")]
pub(crate) struct Args {
    /// Image: `[ACCOUNT/]NAME[:TAG]`
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Arguments of the application
    #[arg(value_name = "ARGS", last = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    shape: ShapeArgs,

    /// Start the instance
    #[arg(short = 'S', long)]
    start: bool,

    /// Wait until the platform lists the image
    #[arg(short, long)]
    wait_for_image: bool,

    /// Timeout until the platform lists the image
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    wait_for_image_timeout: Duration,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    cloud.catch_interrupts();
    let shape = args.shape.wanted(app)?;
    let image = if args.wait_for_image {
        let name = naming::platform_name(cloud.account(), &args.image)?;
        naming::wait(app, cloud, &name, args.wait_for_image_timeout)?
    } else {
        naming::find(cloud, &args.image)?
    };
    let launch = Launch {
        wanted: CreateInstance {
            args: naming::arguments(&image, args.shape.entrypoint.as_deref(), &args.arguments),
            image: image.digest,
            autostart: args.start,
            ..shape
        },
        volumes: args.shape.new_volumes()?,
        rollout: args.shape.rollout(),
        wait: None,
    };
    let mut created = Created::default();
    let launched = launch::launch(app, cloud, &mut created, launch);
    let instances = launched.map_err(|error| with_created(&created, error))?;
    output::rows(app, args.output, &instances)
}
