//! `kraft cloud deploy`.

mod card;
mod dry;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use kraft_build::pipeline::Configure;
use kraft_cloud::resources::instances::CreateInstance;

use super::output::{self, Form};
use super::shape::ShapeArgs;
use crate::app::App;
use crate::commands::choices;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values;
use crate::failure::Failure;
use kraft_deploy::deploy::subject::{self, As, Look};
use kraft_deploy::deploy::{self, Deployed, Deployment, Package};
use kraft_deploy::logs::{self, Wish};
use kraft_deploy::trail::Trail;
use kraft_deploy::{Cloud, Where};
use kraft_engine::components::Fetching;
use kraft_engine::follow::Writer;
use kraft_engine::pack::Order;
use kraft_engine::package::Strategy;

/// Deploy a project, a Dockerfile or an image
///
/// Builds what is missing, packages it, pushes it to the platform's registry, creates an instance
/// of it with its service and its volumes, and waits until it runs, and answers if it takes HTTP.
/// If it does not, the end of its log is shown.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Arguments that begin with a dash come after `--`; they follow those of the image.

Examples:
  kraft cloud deploy -p 443:8080
  kraft cloud deploy -p 443:8080 -M 256 ./shop
  kraft cloud deploy -p 443:80 nginx:latest
  kraft cloud deploy -g shop --rollout remove ./shop
  kraft cloud deploy --dry-run -p 443:8080 ./shop")]
pub(crate) struct Args {
    /// The directory of a project (the current one if left out), or an image of the platform
    #[arg(value_name = "WHAT", value_hint = clap::ValueHint::AnyPath)]
    words: Vec<String>,

    /// The arguments of its application, behind those of the image
    #[arg(value_name = "ARGS", last = true)]
    more: Vec<String>,

    #[command(flatten)]
    shape: ShapeArgs,

    /// Do not start the instance
    #[arg(short = 'S', long)]
    no_start: bool,

    /// Do not wait until the instance runs and answers
    #[arg(long)]
    no_wait: bool,

    /// How long each thing may take that is waited for
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    timeout: Duration,

    /// Print what the instance prints, until it ends
    #[arg(short, long, conflicts_with = "output")]
    follow: bool,

    /// Print the requests that would be sent, and send none
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,

    /// Print the instances in this form
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,

    /// Name the image: `[ACCOUNT/]NAME[:TAG]`
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,

    /// What to do about an image that has the name already
    #[arg(long, value_name = "STRATEGY", default_value = "overwrite", value_parser = choices::STRATEGY)]
    strategy: Strategy,

    /// What WHAT is, if it could be several things
    #[arg(short = 'D', long = "as", value_name = "KIND", value_parser = choices::TAKEN_AS)]
    taken_as: Option<As>,

    /// Take this target of the project, or this platform of its runtime: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    /// Run on this image instead of the project's runtime
    #[arg(long, value_name = "IMAGE")]
    runtime: Option<String>,

    /// The root filesystem: a directory, a tarball, a CPIO archive, a Dockerfile, or an image with
    /// its registry
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// The directory of the project
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Build so many things at once
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Build with the configuration as it is
    #[arg(long)]
    no_configure: bool,

    /// Fetch components again even if they are here
    #[arg(long)]
    force_pull: bool,

    /// Do not look at what is cached
    #[arg(short = 'F', long)]
    no_cache: bool,

    /// Do not look for newer indexes
    #[arg(long)]
    no_update: bool,

    /// Leave out the kernel with debug information
    #[arg(long)]
    no_kernel_dbg: bool,

    /// Deploy the kernel with debug information of what was built
    #[arg(long)]
    dbg: bool,

    /// Has no effect: accepted for old scripts
    #[arg(short = 'z', long, hide = true)]
    compress: bool,

    /// Build sequentially (same as `--jobs 1`)
    #[arg(long)]
    no_fast: bool,

    /// Has no effect: accepted for old scripts
    #[arg(long, hide = true)]
    no_fetch: bool,

    /// Also write the output of the build to this file
    #[arg(long, value_name = "FILE")]
    build_log: Option<PathBuf>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

impl Args {
    /// Warns about the flags of old scripts that change nothing.
    fn warn_of_ignored(&self, app: &App) {
        app.ui
            .ignored("--compress", self.compress, "layers are sent as they are");
        app.ui.ignored(
            "--no-fetch",
            self.no_fetch,
            "sources are fetched when they are missing; `--offline` forbids it",
        );
    }
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    args.warn_of_ignored(app);
    let mut cloud = Cloud::open(app, at)?;
    let deployment = deployment(app, args)?;
    let look = Look {
        words: &args.words,
        more: &args.more,
        workdir: args.workdir.as_deref(),
        kraftfile: args.kraftfile.as_deref(),
        runtime: args.runtime.as_deref(),
        rootfs: args.rootfs.as_deref(),
        taken_as: args.taken_as,
        dry: args.dry_run,
    };
    if args.dry_run {
        let subject = subject::find(app, &cloud, look)?;
        return dry::print(
            app,
            &cloud,
            &subject,
            deployment,
            args.output == Some(Form::Json),
        );
    }
    cloud.listen();
    let subject = subject::find(app, &cloud, look)?;
    let mut trail = Trail::default();
    let deployed = deploy::deploy(app, &cloud, subject, deployment, &mut trail)
        .map_err(|failure| trail.explain(failure))?;
    show(app, &cloud, args, deployed)
}

fn deployment(app: &App, args: &Args) -> Result<Deployment, Failure> {
    let order = Order {
        runtime: args.runtime.clone(),
        target: args.target.clone(),
        rootfs: args.rootfs.clone(),
        building: args.dockerfile.options(),
        no_kernel_dbg: args.no_kernel_dbg,
        symbolic: args.dbg,
        ..Order::default()
    };
    Ok(Deployment {
        wanted: CreateInstance {
            autostart: !args.no_start,
            ..args.shape.wanted(app)?
        },
        entrypoint: args.shape.entrypoint.clone(),
        volumes: args.shape.new_volumes()?,
        rollout: args.shape.rollout(),
        package: Package {
            name: args.image.clone().or_else(|| args.shape.name.clone()),
            order,
            strategy: args.strategy,
            jobs: args.jobs,
            slowly: args.no_fast,
            log: args.build_log.clone(),
            configure: if args.no_configure {
                Configure::Never
            } else {
                Configure::IfNeeded
            },
            fetching: Fetching {
                again: args.force_pull,
                fresh_catalog: args.force_pull || args.no_cache,
                old_catalog: args.no_update,
                ..Fetching::default()
            },
        },
        limit: args.timeout,
        no_wait: args.no_wait,
    })
}

/// Shows what was deployed.
fn show(app: &App, cloud: &Cloud, args: &Args, deployed: Deployed) -> Result<(), Failure> {
    if args.follow {
        let wish = Wish {
            tail: None,
            follow: true,
        };
        let readers = deployed.instances.into_iter().take(1);
        let readers = readers.map(|one| (one, Writer::default())).collect();
        return logs::print(app, &mut app.ui.output(), cloud, readers, wish);
    }
    match (args.output, deployed.instances.as_slice()) {
        (Some(form), instances) => output::rows(app, form, instances),
        (None, [one]) => card::print(app, cloud, one, &deployed.services),
        (None, instances) => output::rows(app, Form::Table, instances),
    }
}
