//! `kraft cloud compose up`, `create` and `build`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::output::{self, Form};
use super::{Services, logs, rows_of};
use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::{Failure, Kind};
use kraft_deploy::Cloud;
use kraft_deploy::compose::images::Making;
use kraft_deploy::compose::{Stack, up as ops};
use kraft_deploy::deploy;
use kraft_deploy::logs::Wish;
use kraft_deploy::trail::Trail;

/// How images are made.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct MakingArgs {
    /// Build nothing: take what the platform has
    #[arg(long)]
    no_build: bool,

    #[command(flatten)]
    images: ImageArgs,

    /// How long the platform may take to know an image
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    timeout: Duration,
}

/// What images are made with.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct ImageArgs {
    /// Run on this image; with a service before it, only that one does
    #[arg(long, value_name = "[SERVICE=]IMAGE")]
    runtime: Vec<String>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

impl ImageArgs {
    fn making(&self) -> Making {
        let mut runtimes = BTreeMap::new();
        for text in &self.runtime {
            let (service, image) = text.split_once('=').unwrap_or(("", text));
            runtimes.insert(service.to_owned(), image.to_owned());
        }
        Making {
            runtimes,
            building: self.dockerfile.options(),
            ..Making::default()
        }
    }
}

impl MakingArgs {
    fn making(&self) -> Making {
        Making {
            no_build: self.no_build,
            limit: self.timeout,
            ..self.images.making()
        }
    }
}

/// Make and start services, needed ones first, and follow what they print
///
/// What is there already and as the file says is left alone; what has changed is replaced. Ctrl-C
/// ends the following, and not the services.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    services: Services,

    /// Do not follow what they print
    #[arg(short, long)]
    detach: bool,

    /// Wait so long until all of them run
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    wait: Option<Duration>,

    #[command(flatten)]
    making: MakingArgs,

    /// Print the services in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Make services, and do not start them
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    services: Services,

    #[command(flatten)]
    making: MakingArgs,

    /// Print the services in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Build the images of services
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    services: Services,

    /// Push them to the platform's registry
    #[arg(long)]
    push: bool,

    #[command(flatten)]
    images: ImageArgs,
}

pub(super) fn up(app: &App, cloud: &mut Cloud, stack: &Stack, args: &Args) -> Result<(), Failure> {
    cloud.listen();
    let services = stack.services(&args.services.services)?;
    let making = args.making.making();
    let mut trail = Trail::default();
    let started = ops::create(app, cloud, stack, &services, (&making, &mut trail))
        .and_then(|_| ops::start(app, cloud, stack, &services, args.wait))
        .map_err(|failure| explain(stack, trail, failure))?;
    if args.detach {
        return output::rows(app, args.output, &rows_of(stack, &services, &started));
    }
    let wish = Wish {
        tail: None,
        follow: true,
    };
    let followed = logs::print(app, cloud, stack, (&services, false), wish);
    match followed {
        Err(failure) if failure.kind == Kind::Interrupted => {
            Err(failure.hint("the services run on: `kraft cloud compose down` removes them"))
        }
        followed => followed,
    }
}

pub(super) fn create(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    args: &CreateArgs,
) -> Result<(), Failure> {
    cloud.listen();
    let services = stack.services(&args.services.services)?;
    let making = args.making.making();
    let mut trail = Trail::default();
    let made = ops::create(app, cloud, stack, &services, (&making, &mut trail))
        .map_err(|failure| explain(stack, trail, failure))?;
    output::rows(app, args.output, &rows_of(stack, &services, &made))
}

/// Says what there is now, and how it goes on.
fn explain(stack: &Stack, mut trail: Trail, failure: Failure) -> Failure {
    let next = format!("kraft cloud compose --file {} up", stack.file.display());
    trail.next = Some(next);
    trail.explain(failure)
}

pub(super) fn build(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    args: &BuildArgs,
) -> Result<(), Failure> {
    let making = args.images.making();
    package(
        app,
        cloud,
        stack,
        (&args.services.services, &making),
        args.push,
    )
}

/// Builds the images of services, and pushes them if that is wanted.
pub(super) fn package(
    app: &App,
    cloud: &mut Cloud,
    stack: &Stack,
    (names, making): (&[String], &Making),
    push: bool,
) -> Result<(), Failure> {
    let services = stack.only(names)?;
    for service in services.into_iter().filter(|one| one.build.is_some()) {
        let packaged = stack.build(app, cloud, service, (making, &Trail::default()))?;
        if push {
            cloud.listen();
            deploy::push(app, cloud, &packaged)?;
        }
        app.ui.line(&packaged.shown())?;
    }
    Ok(())
}
