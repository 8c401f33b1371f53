//! `kraft cloud deploy`.

mod card;
mod dry;
mod plan;

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
use crate::failure::with_created;
use kraft_deploy::created::Created;
use kraft_deploy::deploy::target::{self, TargetKind, TargetOptions};
use kraft_deploy::deploy::{self, Deployed, Deployment, PackageOptions};
use kraft_deploy::logs::{self, LogOptions};
use kraft_deploy::{Cloud, CloudOptions};
use kraft_engine::components::Fetching;
use kraft_engine::follow::Writer;
use kraft_engine::pack::Order;
use kraft_engine::package::Strategy;

/// Deploy a project, a Dockerfile or an image
///
/// Builds what is missing, packages it, pushes it to the platform's registry, creates an instance
/// with its service and its volumes, and waits until it runs, and until it answers if it serves
/// HTTP. If it fails, the end of its log is printed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Arguments that begin with a dash come after `--`; they follow those of the image.

Examples:
  kraft cloud deploy -p 443:8080
  kraft cloud deploy -p 443:8080 -M 256 ./shop
  kraft cloud deploy -p 443:80 nginx:latest
  kraft cloud deploy -g shop --rollout remove ./shop
  kraft cloud deploy --plan -g shop --rollout remove ./shop
  kraft cloud deploy --dry-run -p 443:8080 ./shop")]
pub(crate) struct Args {
    /// Directory of a project (default: the current one), or an image of the platform
    #[arg(value_name = "TARGET", value_hint = clap::ValueHint::AnyPath)]
    positional: Vec<String>,

    /// Arguments of the application, after those of the image
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

    /// Timeout for each step
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    timeout: Duration,

    /// Follow the log of the instance until it ends
    #[arg(short, long, conflicts_with = "output")]
    follow: bool,

    /// Print the requests instead of sending them
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,

    /// Print what exists on the platform and what would change, and change nothing
    #[arg(long, conflicts_with_all = ["follow", "dry_run"])]
    plan: bool,

    /// Output format of the instances
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,

    /// Name of the image: `[ACCOUNT/]NAME[:TAG]`
    #[arg(short, long, value_name = "IMAGE")]
    image: Option<String>,

    /// What happens to an existing image of that name
    #[arg(long, value_name = "STRATEGY", default_value = "overwrite", value_parser = choices::STRATEGY)]
    strategy: Strategy,

    /// Kind of the target, if several are possible
    #[arg(short = 'D', long = "as", value_name = "KIND", value_parser = choices::TARGET_KIND)]
    kind: Option<TargetKind>,

    /// Target of the project, or platform of its runtime: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,

    /// Run on this image instead of the project's runtime
    #[arg(long, value_name = "IMAGE")]
    runtime: Option<String>,

    /// Root filesystem: a directory, a tarball, a CPIO archive, a Dockerfile, or an image with
    /// its registry
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Directory of the project
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Number of parallel build jobs
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Build with the existing configuration
    #[arg(long)]
    no_configure: bool,

    /// Fetch components even if they exist locally
    #[arg(long)]
    force_pull: bool,

    /// Ignore cached indexes of components
    #[arg(short = 'F', long)]
    no_cache: bool,

    /// Do not update the indexes of components
    #[arg(long)]
    no_update: bool,

    /// Leave the kernel with debug information out of the image
    #[arg(long)]
    no_kernel_dbg: bool,

    /// Deploy the kernel with debug information
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
    /// Warns about flags that have no effect.
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

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    args.warn_of_ignored(app);
    let mut cloud = Cloud::open(app, options)?;
    let deployment = deployment(app, args)?;
    let selection = TargetOptions {
        positional: &args.positional,
        more: &args.more,
        workdir: args.workdir.as_deref(),
        kraftfile: args.kraftfile.as_deref(),
        runtime: args.runtime.as_deref(),
        rootfs: args.rootfs.as_deref(),
        kind: args.kind,
        dry_run: args.dry_run || args.plan,
    };
    if args.dry_run {
        let target = target::resolve(app, &cloud, selection)?;
        return dry::print(
            app,
            &cloud,
            &target,
            deployment,
            args.output == Some(Form::Json),
        );
    }
    if args.plan {
        let target = target::resolve(app, &cloud, selection)?;
        let form = args.output.unwrap_or(Form::Table);
        return plan::print(app, &cloud, &target, deployment, form);
    }
    cloud.catch_interrupts();
    let target = target::resolve(app, &cloud, selection)?;
    let mut created = Created::default();
    let deployed = deploy::deploy(app, &cloud, target, deployment, &mut created)
        .map_err(|error| with_created(&created, error))?;
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
        package: PackageOptions {
            name: args.image.clone().or_else(|| args.shape.name.clone()),
            order,
            strategy: args.strategy,
            jobs: args.jobs,
            sequential: args.no_fast,
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

/// Prints what was deployed.
fn show(app: &App, cloud: &Cloud, args: &Args, deployed: Deployed) -> Result<(), Failure> {
    if args.follow {
        let options = LogOptions {
            tail: None,
            follow: true,
        };
        let readers = deployed.instances.into_iter().take(1);
        let readers = readers.map(|one| (one, Writer::default())).collect();
        return Ok(logs::print(
            app,
            &mut app.ui.output(),
            cloud,
            readers,
            options,
        )?);
    }
    match (args.output, deployed.instances.as_slice()) {
        (Some(form), instances) => output::rows(app, form, instances),
        (None, [one]) => card::print(app, cloud, one, &deployed.services),
        (None, instances) => output::rows(app, Form::Table, instances),
    }
}
