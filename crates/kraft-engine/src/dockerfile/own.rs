//! Builds by kraft itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_core::dockerfile::{Dockerfile, Instruction};
use kraft_rootfs::dockerfile::{
    self, ExecuteError, Layers, Network, Progress, Recipe, Runner, Settings,
};
use kraft_rootfs::sandbox::Sandbox;
use kraft_rootfs::{IdMap, Options, build_layers};
use kraft_sys::process::own_program;

use super::attempt::Attempt;
use super::bases::{Base, StoreImages};
use super::error::Error;
use super::progress::BuildProgress;
use super::request::BuildRequest;
use super::{Image, cache, diagnostics};
use crate::context::Context;
use crate::rootfs::Scratch;

/// Directories, secrets and the sandbox of a build.
struct Resources {
    runner: Option<Sandbox>,
    secrets: BTreeMap<String, Vec<u8>>,
    scratch: PathBuf,
    caches: PathBuf,
    layers: Option<Layers>,
}

/// Returns what the executor needs to know.
fn recipe<'a>(
    dockerfile: &'a Dockerfile,
    request: &'a BuildRequest<'_>,
    images: &'a StoreImages<'_>,
    resources: &'a Resources,
) -> Recipe<'a> {
    let runner = resources.runner.as_ref();
    Recipe {
        dockerfile,
        context: &request.context,
        ignore: &request.ignore,
        target: request.options.target.as_deref(),
        arguments: &request.arguments,
        architecture: request.arch,
        host: host_arch(),
        images,
        runner: runner.map(|runner| runner as &dyn Runner),
        secrets: &resources.secrets,
        scratch: &resources.scratch,
        caches: &resources.caches,
        layers: resources.layers.as_ref(),
        reuse: !request.options.no_cache,
    }
}

/// Returns the Dockerfile, or its errors: here kraft's own parser decides.
fn parsed<'a>(request: &'a BuildRequest<'_>) -> Result<&'a Dockerfile, Error> {
    let parsed = request.parsed.as_ref();
    parsed.map_err(|problems| diagnostics::of_dockerfile(request, problems))
}

/// Returns the sandbox for the commands of the build, if there is one; or why kraft cannot build it.
pub(super) fn prepare(
    ctx: &Context,
    request: &BuildRequest<'_>,
) -> Result<Result<Option<Sandbox>, String>, Error> {
    prepare_with(ctx, request, find_sandbox(network(request)))
}

/// As [`prepare`], with a sandbox or the reason why there is none.
pub(super) fn prepare_with(
    ctx: &Context,
    request: &BuildRequest<'_>,
    sandbox: Result<Sandbox, String>,
) -> Result<Result<Option<Sandbox>, String>, Error> {
    let (runner, reason) = match sandbox {
        Ok(sandbox) => (Some(sandbox), String::new()),
        Err(reason) => (None, reason),
    };
    let resources = Resources {
        runner,
        secrets: BTreeMap::new(),
        scratch: PathBuf::new(),
        caches: PathBuf::new(),
        layers: None,
    };
    let images = StoreImages { ctx };
    let recipe = recipe(parsed(request)?, request, &images, &resources);
    Ok(match dockerfile::obstacle(&recipe) {
        None => Ok(resources.runner),
        Some(problem) if problem.message.contains("`RUN`") && !reason.is_empty() => {
            Err(format!("{}: {reason}", problem.message))
        }
        Some(problem) => Err(problem.message),
    })
}

/// Builds, and writes the archive at `out`.
pub(super) fn build(
    ctx: &Context,
    request: &BuildRequest<'_>,
    out: &Path,
    runner: Option<Sandbox>,
) -> Result<Attempt, Error> {
    let scratch = Scratch::new(ctx)?;
    let runner = runner.map(|runner| runner.for_build(scratch.path(), request.deadline));
    let caches = cache::dir(ctx).join(mounts_of(runner.as_ref()));
    kraft_sys::fs::create_dir_all(&caches, 0o700)?;
    if let Some(reason) = runner.as_ref().and_then(Sandbox::no_way_out)
        && runs_commands(request)
    {
        ctx.info(&format!(
            "steps share the network of this host, because {reason}"
        ));
    }
    let secrets = request.secrets(ctx)?.into_iter();
    let resources = Resources {
        runner,
        secrets: secrets.map(|secret| (secret.id, secret.bytes)).collect(),
        scratch: scratch.path().to_owned(),
        caches,
        layers: Some(Layers::open(&cache::layers_dir(ctx))?),
    };
    let images = StoreImages { ctx };
    let recipe = recipe(parsed(request)?, request, &images, &resources);
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let progress = BuildProgress::begin(ctx, &format!("building {}", request.shown()));
    let executed = dockerfile::execute(&recipe, out, &options, &mut |told| match told {
        Progress::Step(step) => progress.step(step),
        Progress::Line(line) => progress.line(line),
        Progress::Written(done) => progress.written(done),
        Progress::Warning(text) => progress.warn(text),
    });
    progress.end(executed.is_ok());
    drop(resources);
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
        Err(ExecuteError::Host(problem)) => Ok(Attempt::BuilderFailed {
            reason: problem.message.clone(),
            error: diagnostics::of_step(request, *problem, Vec::new()),
        }),
        Err(ExecuteError::Text(problem)) => {
            Err(diagnostics::of_step(request, *problem, Vec::new()))
        }
        Err(ExecuteError::Command { problem, lines }) => {
            Err(diagnostics::of_step(request, *problem, lines))
        }
        Err(ExecuteError::Outside(error)) => Err(error.into()),
    }
}

/// Merges the layers of an image into the archive at `out`.
pub(super) fn flatten(ctx: &Context, base: &Base, out: &Path) -> Result<Settings, Error> {
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners: false,
    };
    let progress = BuildProgress::begin(ctx, "unpacking the image");
    let mut numbers = 0..;
    let built = build_layers(
        &mut || base.layer(numbers.next()?),
        out,
        &options,
        &mut |done| progress.written(done),
    );
    progress.end(built.is_ok());
    for warning in &built?.warnings {
        ctx.warn(warning);
    }
    Settings::of_image(&base.config).map_err(|source| Error::ImageConfig {
        name: base.name().clone(),
        source: kraft_oci::image::BadDocument::Json(source),
    })
}

/// Returns the sandbox that runs commands, or why there is none.
pub(super) fn find_sandbox(network: Network) -> Result<Sandbox, String> {
    Sandbox::find(&own_program(), network)
}

/// Returns the name of the directory of cache mounts. The owners of their files depend on the user
/// namespace of the sandbox.
fn mounts_of(runner: Option<&Sandbox>) -> String {
    match runner.and_then(Runner::ids).map(IdMap::root) {
        None | Some(0) => "mounts".to_owned(),
        Some(root) => format!("mounts-{root}"),
    }
}

/// Returns whether the Dockerfile has a `RUN`.
fn runs_commands(request: &BuildRequest<'_>) -> bool {
    let stages = request
        .parsed
        .iter()
        .flat_map(|dockerfile| &dockerfile.stages);
    let mut steps = stages.flat_map(|stage| &stage.steps);
    steps.any(|step| matches!(step.instruction, Instruction::Run(_)))
}

/// Returns the network of commands.
fn network(request: &BuildRequest<'_>) -> Network {
    match request.options.network.as_deref() {
        Some("none") => Network::None,
        Some("host") => Network::Host,
        _ => Network::Own,
    }
}

/// Returns the architecture of this host, as OCI names it.
fn host_arch() -> &'static str {
    match kraft_core::arch::HOST {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
