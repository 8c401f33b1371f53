//! `kraft cloud instance create`.

use std::time::Duration;

use kraft_cloud::resources::instances::CreateInstance;

use super::super::output::{self, Form};
use super::super::shape::ShapeArgs;
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::launch::{self, Launch};
use kraft_deploy::naming;
use kraft_deploy::trail::Trail;

/// Create an instance of an image of the platform
#[derive(Debug, clap::Args)]
// Where `deploy` has `--follow`, a feature can be short.
#[command(mut_arg("feature", |arg| arg.short('f')))]
#[command(after_long_help = "\
Examples:
  kraft cloud instance create --start -p 443:8080 nginx
  kraft cloud instance create -M 256 -v data:/data anna/db:v2 -- --verbose")]
pub(crate) struct Args {
    /// The image: `[ACCOUNT/]NAME[:TAG]`
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The arguments of its application, behind the program
    #[arg(value_name = "ARGS", last = true)]
    words: Vec<String>,

    #[command(flatten)]
    shape: ShapeArgs,

    /// Start it at once
    #[arg(short = 'S', long)]
    start: bool,

    /// Wait until the platform knows the image
    #[arg(short, long)]
    wait_for_image: bool,

    /// How long the platform may take to know the image
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    wait_for_image_timeout: Duration,

    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    cloud.listen();
    let shape = args.shape.wanted(app)?;
    let image = if args.wait_for_image {
        let name = naming::of_platform(cloud, &args.image)?;
        naming::wait(app, cloud, &name, args.wait_for_image_timeout)?
    } else {
        naming::find(cloud, &args.image)?
    };
    let launch = Launch {
        wanted: CreateInstance {
            args: naming::arguments(&image, args.shape.entrypoint.as_deref(), &args.words),
            image: image.digest,
            autostart: args.start,
            ..shape
        },
        volumes: args.shape.new_volumes()?,
        rollout: args.shape.rollout(),
        patience: None,
    };
    let mut trail = Trail::default();
    let made = launch::launch(app, cloud, &mut trail, launch);
    let made = made.map_err(|failure| trail.explain(failure))?;
    output::rows(app, args.output, &made)
}
