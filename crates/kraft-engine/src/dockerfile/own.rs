//! A build by ourselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_core::dockerfile::{Dockerfile, Instruction};
use kraft_rootfs::dockerfile::{self, Fault, Layers, Network, Recipe, Runner, Settings, Told};
use kraft_rootfs::sandbox::Sandbox;
use kraft_rootfs::{IdMap, Options, build_layers};
use kraft_sys::process::OWN_PROGRAM;

use super::bases::{Base, Shelf};
use super::job::Job;
use super::told::Screen;
use super::trouble::Attempt;
use super::{Image, cache, fault};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::rootfs::Scratch;

/// What a build of ours works with.
struct Means {
    runner: Option<Sandbox>,
    secrets: BTreeMap<String, Vec<u8>>,
    scratch: PathBuf,
    caches: PathBuf,
    layers: Option<Layers>,
}

fn recipe<'a>(
    dockerfile: &'a Dockerfile,
    job: &'a Job<'_>,
    shelf: &'a Shelf<'_>,
    means: &'a Means,
) -> Recipe<'a> {
    let runner = means.runner.as_ref();
    Recipe {
        dockerfile,
        context: &job.context,
        ignore: &job.ignore,
        target: job.wish.target.as_deref(),
        arguments: &job.arguments,
        architecture: job.arch,
        host: host_arch(),
        images: shelf,
        runner: runner.map(|runner| runner as &dyn Runner),
        secrets: &means.secrets,
        scratch: &means.scratch,
        caches: &means.caches,
        layers: means.layers.as_ref(),
        reuse: !job.wish.no_cache,
    }
}

/// Returns the Dockerfile, or what is wrong with it: where we build, it is our word that counts.
fn read<'a>(job: &'a Job<'_>) -> Result<&'a Dockerfile, Failure> {
    let read = job.read.as_ref();
    read.map_err(|problems| fault::of_reading(job, problems))
}

/// Returns what runs the commands of this build, if that can be had; or why we cannot build this.
pub(super) fn ready(
    ctx: &Context,
    job: &Job<'_>,
) -> Result<Result<Option<Sandbox>, String>, Failure> {
    let (runner, why) = match find_runner(network(job)) {
        Ok(runner) => (Some(runner), String::new()),
        Err(why) => (None, why),
    };
    let means = Means {
        runner,
        secrets: BTreeMap::new(),
        scratch: PathBuf::new(),
        caches: PathBuf::new(),
        layers: None,
    };
    let shelf = Shelf { ctx };
    let recipe = recipe(read(job)?, job, &shelf, &means);
    Ok(match dockerfile::obstacle(&recipe) {
        None => Ok(means.runner),
        Some(problem) if problem.message.contains("`RUN`") && !why.is_empty() => {
            Err(format!("{}: {why}", problem.message))
        }
        Some(problem) => Err(problem.message),
    })
}

/// Builds, and makes the archive at `out`.
pub(super) fn build(
    ctx: &Context,
    job: &Job<'_>,
    out: &Path,
    runner: Option<Sandbox>,
) -> Result<Attempt, Failure> {
    let scratch = Scratch::new(ctx)?;
    let runner = runner.map(|runner| runner.for_build(scratch.path(), job.deadline));
    let caches = cache::dir(ctx).join(mounts_of(runner.as_ref()));
    kraft_sys::fs::create_dir_all(&caches, 0o700)?;
    if let Some(why) = runner.as_ref().and_then(Sandbox::no_way_out)
        && runs_commands(job)
    {
        ctx.info(&format!(
            "steps share the network of this host, because {why}"
        ));
    }
    let secrets = job.secrets(ctx)?.into_iter();
    let means = Means {
        runner,
        secrets: secrets.map(|secret| (secret.id, secret.bytes)).collect(),
        scratch: scratch.path().to_owned(),
        caches,
        layers: Some(Layers::open(&cache::layers_dir(ctx))?),
    };
    let shelf = Shelf { ctx };
    let recipe = recipe(read(job)?, job, &shelf, &means);
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let screen = Screen::begin(ctx, &format!("building {}", job.shown_text().name));
    let executed = dockerfile::execute(&recipe, out, &options, &mut |told| match told {
        Told::Step(step) => screen.step(step),
        Told::Line(line) => screen.line(line),
        Told::Written(done) => screen.written(done),
        Told::Warning(text) => screen.warn(text),
    });
    screen.end(executed.is_ok());
    drop(means);
    cache::prune_layers(ctx);
    match executed {
        Ok(executed) => {
            for warning in &executed.built.warnings {
                ctx.warn(warning);
            }
            Ok(Attempt::Built(Image {
                settings: executed.settings,
                taken: Some(executed.taken),
            }))
        }
        Err(Fault::Host(problem)) => Ok(Attempt::Trouble {
            why: problem.message.clone(),
            failure: fault::in_text(job, *problem, &[]),
        }),
        Err(Fault::Text(problem)) => Err(fault::in_text(job, *problem, &[])),
        Err(Fault::Command { problem, lines }) => Err(fault::in_text(job, *problem, &lines)),
        Err(Fault::Room(error)) => Err(error.into()),
    }
}

/// Lays the layers of an image over each other.
pub(super) fn flatten(ctx: &Context, base: &Base, out: &Path) -> Result<Settings, Failure> {
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let screen = Screen::begin(ctx, "unpacking the image");
    let mut numbers = 0..;
    let built = build_layers(
        &mut || base.layer(numbers.next()?),
        out,
        &options,
        &mut |done| screen.written(done),
    );
    screen.end(built.is_ok());
    for warning in &built?.warnings {
        ctx.warn(warning);
    }
    Settings::of_image(&base.config).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the configuration of the image cannot be read: {error}"),
        )
    })
}

/// Returns what runs commands, or why there is none.
pub(super) fn find_runner(network: Network) -> Result<Sandbox, String> {
    Sandbox::find(Path::new(OWN_PROGRAM), network)
}

/// Returns the name of the directory of cache mounts. Their files belong to users that the runner
/// numbers in its own way.
fn mounts_of(runner: Option<&Sandbox>) -> String {
    match runner.and_then(Runner::ids).map(IdMap::root) {
        None | Some(0) => "mounts".to_owned(),
        Some(root) => format!("mounts-{root}"),
    }
}

fn runs_commands(job: &Job<'_>) -> bool {
    let stages = job.read.iter().flat_map(|dockerfile| &dockerfile.stages);
    let mut steps = stages.flat_map(|stage| &stage.steps);
    steps.any(|step| matches!(step.instruction, Instruction::Run(_)))
}

/// Returns what steps may see of the network.
fn network(job: &Job<'_>) -> Network {
    match job.wish.network.as_deref() {
        Some("none") => Network::None,
        Some("host") => Network::Host,
        _ => Network::Own,
    }
}

fn host_arch() -> &'static str {
    match kraft_core::arch::HOST {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
