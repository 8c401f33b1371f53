//! `kraft cloud compose up`, `create` and `build`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::output::{self, Form};
use super::{Services, logs, rows_of};
use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use crate::failure::with_created;
use kraft_core::compose::Service;
use kraft_deploy::Cloud;
use kraft_deploy::compose::images::ImageOptions;
use kraft_deploy::compose::{self, Stack, up as flow};
use kraft_deploy::created::Created;
use kraft_deploy::deploy;
use kraft_deploy::logs::{self as deployed_logs, LogOptions};

/// Options for the images of services.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct CreateImageArgs {
    /// Build nothing: use existing images
    #[arg(long)]
    no_build: bool,

    #[command(flatten)]
    images: ImageArgs,

    /// Timeout until the platform lists a pushed image
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    timeout: Duration,
}

/// How images are built.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct ImageArgs {
    /// Image to run on, for all services or for one
    #[arg(long, value_name = "[SERVICE=]IMAGE")]
    runtime: Vec<String>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

impl ImageArgs {
    fn options(&self) -> ImageOptions {
        let mut runtimes = BTreeMap::new();
        for text in &self.runtime {
            let (service, image) = text.split_once('=').unwrap_or(("", text));
            runtimes.insert(service.to_owned(), image.to_owned());
        }
        ImageOptions {
            runtimes,
            building: self.dockerfile.options(),
            ..ImageOptions::default()
        }
    }
}

impl CreateImageArgs {
    fn options(&self) -> ImageOptions {
        ImageOptions {
            no_build: self.no_build,
            limit: self.timeout,
            ..self.images.options()
        }
    }
}

/// Create and start services, dependencies first, and follow their logs
///
/// Up-to-date instances are kept, changed ones are replaced. Ctrl-C ends the command, and not the
/// services.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    services: Services,

    /// Do not follow the logs
    #[arg(short, long)]
    detach: bool,

    /// Time to wait until all of them run
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    wait: Option<Duration>,

    #[command(flatten)]
    images: CreateImageArgs,

    /// Output format of the services
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Create services without starting them
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    services: Services,

    #[command(flatten)]
    images: CreateImageArgs,

    /// Output format of the services
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Build the images of services
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    services: Services,

    /// Push the images to the platform's registry
    #[arg(long)]
    push: bool,

    #[command(flatten)]
    images: ImageArgs,
}

pub(super) fn up(app: &App, cloud: &mut Cloud, stack: &Stack, args: &Args) -> Result<(), Failure> {
    cloud.catch_interrupts();
    let services = stack.services(&args.services.services)?;
    let options = args.images.options();
    let mut created = Created::default();
    let started = flow::create(app, cloud, stack, &services, &options, &mut created)
        .and_then(|_| flow::start(app, cloud, stack, &services, args.wait))
        .map_err(|error| incomplete(stack, created, error))?;
    if args.detach {
        return output::rows(app, args.output, &rows_of(stack, &services, &started));
    }
    let follow = LogOptions {
        tail: None,
        follow: true,
    };
    let logs = logs::deployed(app, cloud, stack, &services, false)?;
    match deployed_logs::print(app, &mut app.ui.output(), cloud, logs, follow) {
        Ok(()) => Ok(()),
        Err(error) if error.is_interrupt() => Err(Failure::from(error)
            .hint("the services keep running: `kraft cloud compose down` removes them")),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn create(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    args: &CreateArgs,
) -> Result<(), Failure> {
    cloud.catch_interrupts();
    let services = stack.services(&args.services.services)?;
    let options = args.images.options();
    let mut created = Created::default();
    let instances = flow::create(app, cloud, stack, &services, &options, &mut created)
        .map_err(|error| incomplete(stack, created, error))?;
    output::rows(app, args.output, &rows_of(stack, &services, &instances))
}

/// Adds to an error what exists now, and how to continue.
fn incomplete(stack: &Stack, mut created: Created, error: compose::Error) -> Failure {
    let next = format!("kraft cloud compose --file {} up", stack.file().display());
    created.next = Some(next);
    with_created(&created, error)
}

pub(super) fn build(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    args: &BuildArgs,
) -> Result<(), Failure> {
    let options = args.images.options();
    let services = stack.only(&args.services.services)?;
    package(app, cloud, stack, &services, &options, args.push)
}

/// Builds the images of services, and pushes them with `push`.
pub(super) fn package(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    services: &[&Service],
    options: &ImageOptions,
    push: bool,
) -> Result<(), Failure> {
    for service in services.iter().filter(|one| one.build.is_some()) {
        let packaged = stack.build(app, cloud, service, options)?;
        if push {
            cloud.catch_interrupts();
            deploy::push(app, cloud, &packaged)?;
        }
        app.ui.line(&packaged.tagged())?;
    }
    Ok(())
}
