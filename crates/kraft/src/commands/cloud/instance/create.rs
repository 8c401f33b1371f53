//! `kraft cloud instance create`.

use std::time::Duration;

use kraft_cloud::resources::instances::CreateInstance;

use super::super::features::OriginArgs;
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
// Where `deploy` has `--config`, a certificate can be `-c`, as in KraftKit.
#[command(mut_arg("certificate", |arg| arg.short_alias('c')))]
#[command(after_long_help = "\
Examples:
  kraft cloud instance create --start -p 443:8080 nginx
  kraft cloud instance create -M 256 -v data:/data anna/db:v2 -- --verbose")]
pub(crate) struct Args {
    /// Image: `[ACCOUNT/]NAME[:TAG]`
    #[arg(value_name = "IMAGE",
          required_unless_present_any = ["template", "checkpoint", "branch_from"],
          conflicts_with_all = ["template", "checkpoint", "branch_from"])]
    image: Option<String>,

    /// Arguments of the application
    #[arg(value_name = "ARGS", last = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    origin: OriginArgs,

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
    let image = match &args.image {
        None => None,
        Some(image) if args.wait_for_image => {
            let name = naming::platform_name(cloud.account(), image)?;
            let limit = args.wait_for_image_timeout;
            Some(naming::wait(app, cloud, &name, limit)?)
        }
        Some(image) => Some(naming::find(cloud, image)?),
    };
    let entrypoint = args.shape.entrypoint.as_deref();
    let mut wanted = match (&image, args.origin.field()) {
        (Some(image), _) => CreateInstance {
            args: naming::arguments(image, entrypoint, &args.arguments),
            image: image.reference().to_owned(),
            ..shape
        },
        (None, Some((_, origin))) => CreateInstance {
            args: args.arguments.clone(),
            name: shape.name.clone().or_else(|| launch::copy_of(origin)),
            ..shape
        },
        (None, None) => shape,
    };
    wanted.autostart = args.start;
    wanted.more.extend(args.origin.fields());
    let launch = Launch {
        wanted,
        volumes: args.shape.new_volumes()?,
        rollout: args.shape.rollout(),
        wait: None,
    };
    let mut created = Created::default();
    let launched = launch::launch(app, cloud, &mut created, launch);
    let instances = launched.map_err(|error| with_created(&created, error))?;
    output::rows(app, args.output, &instances)
}
