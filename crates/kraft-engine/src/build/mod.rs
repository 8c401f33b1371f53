//! Builds kernels from the sources of a project: `kraft build`, and what `menu`, `clean` and `fetch`
//! share with it.
//!
//! ```text
//! Project ─ template, components ─► Inputs ─ targets, root filesystem, options ─► Job
//!   ─► kraft-build ─► BuildOutput, or an error that shows the place
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::arch::Arch;
//! use kraft_engine::project::{self, TargetFilter};
//! use kraft_engine::build::{self, BuildOptions};
//! use kraft_engine::sources::Fetching;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.offline = true;
//! # context.settings.sources_dir = dir.path().join("sources");
//! # context.settings.manifests_dir = dir.path().join("manifests");
//! # context.dirs.data = dir.path().join("data");
//! let text = "spec: v0.6\nname: web\nunikraft: stable\ntargets: [qemu/x86_64, qemu/arm64]\n";
//! std::fs::write(dir.path().join("Kraftfile"), text)?;
//! let project = project::open(&context, Some(dir.path()), None)?;
//!
//! let arm = TargetFilter { arch: Some(Arch::Arm64), ..TargetFilter::default() };
//! let targets = build::targets(&context, &project.resolved(), &arm, false)?;
//! assert_eq!(targets.len(), 1);
//!
//! match build::prepare(&context, project, &Fetching::default()) {
//!     Ok(inputs) => {
//!         let built = build::build(&context, &inputs, &targets, &BuildOptions::default())?;
//!         println!("{}", built[0].kernel.display());
//!     }
//!     // This context is offline, and the sources were never fetched.
//!     Err(error) => assert!(context.settings.offline, "{error}"),
//! }
//! # Ok(())
//! # }
//! ```

mod diagnosis;
mod dropped;
mod error;
mod fingerprint;
pub(crate) mod options;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use self::dropped::Verdicts;
pub use self::error::{Error, OptionsError, TargetError};
pub use kraft_build::pipeline::Configure;
use kraft_build::pipeline::{Built, Job, Orders};
use kraft_build::plan;
use kraft_core::kraftfile::options::{self as asked, Options};
use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_core::reference::Reference;
use kraft_rootfs::Source;
use kraft_sys::parallel;

use crate::components::{self, Components, Fetching};
use crate::context::Context;
use crate::dockerfile::BuildOptions as DockerfileOptions;
use crate::epoch;
use crate::pins;
use crate::project::{self, Project, TargetFilter};
use crate::rootfs::{self, RootSource};
use crate::settings;
use crate::workplace::Workplace;

/// How targets are built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The number of jobs that run at once.
    pub jobs: Option<NonZeroUsize>,
    /// Whether to run one job at a time unless `jobs` says otherwise.
    pub slowly: bool,
    /// Whether to configure.
    pub configure: Configure,
    /// Whether to run make even if nothing changed.
    pub force: bool,
    /// Whether values that KConfig drops or changes are warnings, and not errors.
    pub allow_lost: bool,
    /// Environment variables to compile in; they override those of the Kraftfile.
    pub env: Vec<(String, String)>,
    /// The root filesystem, instead of the project's.
    pub rootfs: Option<PathBuf>,
    /// Whether to build without a root filesystem.
    pub no_rootfs: bool,
    /// How Dockerfiles are built.
    pub dockerfile: DockerfileOptions,
    /// A file that the output of make is copied to.
    pub log: Option<PathBuf>,
}

/// A project with everything it is built from.
#[derive(Debug)]
pub struct Inputs {
    /// The project, completed by its template.
    pub project: Project,
    /// The project with every default filled in.
    pub resolved: Resolved,
    /// The directories of the project.
    pub workplace: Workplace,
    /// The directories of its components.
    pub components: Components,
    /// The time of compiling that kernels report.
    date: String,
}

/// The work on one target.
struct Work {
    job: Job,
    options: Options,
    /// The root filesystem.
    archive: Option<PathBuf>,
    verdicts: Verdicts,
}

/// What was built for one target.
#[derive(Debug)]
pub struct BuildOutput {
    /// The target.
    pub target: ResolvedTarget,
    /// The kernel.
    pub kernel: PathBuf,
    /// The kernel with debug information.
    pub debug: PathBuf,
    /// The root filesystem.
    pub rootfs: Option<PathBuf>,
    /// Whether it was up to date already.
    pub fresh: bool,
}

/// Fetches everything that a project is built from.
///
/// # Errors
///
/// If the project is not built from source, or a component cannot be fetched.
pub fn prepare(ctx: &Context, project: Project, fetching: &Fetching) -> Result<Inputs, Error> {
    let workplace = Workplace::open(ctx, &project)?;
    let (project, components) = components::obtain(ctx, project, &workplace, fetching)?;
    let resolved = project.resolved();
    Ok(Inputs {
        project,
        resolved,
        workplace,
        components,
        date: date(ctx)?,
    })
}

/// Removes what was built for targets of a project; with `proper`, their build directories, too.
/// Fetches nothing.
///
/// # Errors
///
/// If no target fits, or something cannot be removed.
pub fn clean(
    ctx: &Context,
    project: Project,
    wish: &TargetFilter<'_>,
    proper: bool,
) -> Result<(), Error> {
    if !Workplace::find(ctx, &project)?.components().is_dir() {
        return Ok(());
    }
    let workplace = Workplace::open(ctx, &project)?;
    let (project, components) = components::in_place(ctx, project, &workplace)?;
    let resolved = project.resolved();
    if resolved.targets.is_empty() {
        // The template lists them and was never fetched: nothing was built.
        return Ok(());
    }
    // The rules for cleaning are in the components: without them, the whole directory is removed.
    let proper = proper || components.is_none();
    let inputs = Inputs {
        components: components.unwrap_or_default(),
        date: date(ctx)?,
        project,
        resolved,
        workplace,
    };
    for target in project::select_targets(&inputs.resolved, wish)? {
        with_target(
            ctx,
            &inputs,
            &target,
            &BuildOptions::default(),
            |job, orders| job.clean(proper, orders),
        )?;
    }
    Ok(())
}

/// Returns the time of compiling that kernels report: a fixed one, so that the same sources give the
/// same kernel.
fn date(ctx: &Context) -> Result<String, Error> {
    let seconds = epoch::read(&ctx.env)?.unwrap_or(0);
    // Every time of 32 bits is one.
    let date = jiff::Timestamp::from_second(i64::from(seconds)).unwrap_or_default();
    Ok(date.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// Returns the targets that fit a filter. Of several, asks which one, unless `all` are built.
///
/// # Errors
///
/// If the project has no targets, none fits, or the answer cannot be read.
pub fn targets(
    ctx: &Context,
    resolved: &Resolved,
    wish: &TargetFilter<'_>,
    all: bool,
) -> Result<Vec<ResolvedTarget>, Error> {
    if resolved.targets.is_empty() {
        return Err(Error::NoTargets);
    }
    let meant = project::select_targets(resolved, wish)?;
    if all {
        return Ok(meant);
    }
    Ok(project::ask_one_or_all(ctx, "Which target?", meant)?)
}

/// Builds targets, several at once if there are enough jobs.
///
/// # Errors
///
/// If a target cannot be built; the others are built nevertheless.
pub fn build(
    ctx: &Context,
    inputs: &Inputs,
    targets: &[ResolvedTarget],
    wish: &BuildOptions,
) -> Result<Vec<BuildOutput>, Error> {
    let interrupt = ctx.interrupt.listen();
    let rootfs = rootfs_of(ctx, inputs, targets, wish)?;
    let mut jobs = Vec::new();
    for target in targets {
        let archive = rootfs.get(&target.architecture).cloned();
        let options = options(ctx, inputs, target, wish, archive.as_deref())?;
        jobs.push(Work {
            job: job(inputs, target, &options, archive.as_deref()),
            options,
            archive,
            verdicts: Verdicts::new(wish.allow_lost),
        });
    }
    let budget = budget(ctx, wish);
    let side_by_side = budget
        .map_or(jobs.len(), |jobs_allowed| jobs.len().min(jobs_allowed))
        .max(1);
    let each = budget.map(|budget| (budget / side_by_side).max(1));
    let progress = ctx.progress();
    let results = parallel::in_order(&jobs, side_by_side, |at, work| {
        let Work {
            job,
            options,
            verdicts,
            ..
        } = work;
        job.build(&Orders {
            jobs: each,
            configure: wish.configure,
            force: wish.force,
            offline: ctx.settings.offline,
            refused: &|plan, lost| verdicts.refused(options, job, plan, lost),
            stop: interrupt.stop(),
            reporter: &progress,
            task: at as u64 + 1,
        })
    });
    drop(progress);
    keep_log(wish, &jobs)?;
    let mut made = Vec::new();
    for ((work, result), target) in jobs.iter().zip(results).zip(targets) {
        let Work { job, options, .. } = work;
        let built = result.map_err(|error| failed(ctx, inputs, options, job, error))?;
        work.verdicts.warn(ctx, inputs, target, options);
        report_edits(ctx, target, &built);
        made.push(BuildOutput {
            target: target.clone(),
            kernel: job.places.kernel.clone(),
            debug: job.places.debug.clone(),
            rootfs: work.archive.clone(),
            fresh: built.fresh,
        });
    }
    Ok(made)
}

/// Pulls the image that a project runs on, and builds its root filesystem; returns both.
///
/// # Errors
///
/// If the runtime is not an image, or one of the two fails.
pub fn of_runtime(
    ctx: &Context,
    project: &Project,
    target: &TargetFilter<'_>,
    fetching: &Fetching,
    wish: &BuildOptions,
) -> Result<(Reference, Option<PathBuf>), Error> {
    let resolved = project.resolved();
    let name = crate::builtin::reference(&settings::runtime_name(&resolved)?)?;
    if project.implied_runtime {
        crate::runtime::report_default(ctx, &name);
    }
    let mut asked = settings::runtime_filter(&resolved);
    asked.os = target
        .platform
        .map(|plat| plat.name().to_owned())
        .or(asked.os);
    asked.arch = target
        .arch
        .map(|arch| arch.name().to_owned())
        .or(asked.arch);
    let architecture = asked
        .arch
        .clone()
        .unwrap_or_else(|| crate::images::host_preference().arch.clone());
    let image = pins::obtain(ctx, project, &name, &asked, fetching.locked)?;
    let Some(source) = rootfs_source(project, wish)? else {
        return Ok((image, None));
    };
    let archive = Workplace::open(ctx, project)?.rootfs(&architecture);
    build_rootfs(ctx, &source, &archive, &architecture, &wish.dockerfile)?;
    Ok((image, Some(archive)))
}

/// Runs other work of make on a target: configuring, cleaning, fetching.
///
/// # Errors
///
/// If it fails.
pub fn with_target<T>(
    ctx: &Context,
    inputs: &Inputs,
    target: &ResolvedTarget,
    wish: &BuildOptions,
    work: impl FnOnce(&Job, &Orders<'_>) -> Result<T, kraft_build::pipeline::Error>,
) -> Result<T, Error> {
    let interrupt = ctx.interrupt.listen();
    let archive = inputs.workplace.rootfs(&target.architecture);
    let options = options(ctx, inputs, target, wish, Some(&archive))?;
    let job = job(inputs, target, &options, None);
    let verdicts = Verdicts::new(wish.allow_lost);
    let progress = ctx.progress();
    let done = {
        let orders = Orders {
            jobs: budget(ctx, wish),
            configure: wish.configure,
            force: wish.force,
            offline: ctx.settings.offline,
            refused: &|plan, lost| verdicts.refused(&options, &job, plan, lost),
            stop: interrupt.stop(),
            reporter: &progress,
            task: 1,
        };
        work(&job, &orders)
    };
    drop(progress);
    done.map_err(|error| failed(ctx, inputs, &options, &job, error))
}

/// Finds out why the work on a target failed.
fn failed(
    ctx: &Context,
    inputs: &Inputs,
    options: &Options,
    job: &Job,
    error: kraft_build::pipeline::Error,
) -> Error {
    Error::Target {
        target: job.label.clone(),
        source: Box::new(diagnosis::explain(ctx, inputs, options, job, error)),
    }
}

/// Returns the number of jobs that run at once; `None` if the jobserver of a parent make decides.
fn budget(ctx: &Context, wish: &BuildOptions) -> Option<usize> {
    if let Some(jobs) = wish.jobs {
        return Some(jobs.get());
    }
    if wish.slowly || ctx.settings.no_parallel {
        return Some(1);
    }
    let above = ctx.env.text("MAKEFLAGS").unwrap_or_default();
    if above.contains("--jobserver-auth=") || above.contains("--jobserver-fds=") {
        return None;
    }
    Some(std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// Returns the prefix of the programs that compile for a target, if they are not the host's own.
fn cross_prefix(target: &ResolvedTarget) -> Option<&'static str> {
    let arch = target.architecture.parse().ok()?;
    plan::cross_prefix(arch, kraft_core::arch::Arch::host())
}

fn job(inputs: &Inputs, target: &ResolvedTarget, options: &Options, archive: Option<&Path>) -> Job {
    let embedded = asked::embeds_rootfs(options);
    Job {
        label: project::label(target),
        name: target.name.clone(),
        core: inputs.components.core.clone(),
        app: inputs.components.app.clone(),
        libraries: inputs.components.libraries.clone(),
        options: options
            .iter()
            .map(|(name, asked)| (name.clone(), asked.value.clone()))
            .collect(),
        cross: cross_prefix(target).map(ToOwned::to_owned),
        date: inputs.date.clone(),
        files: archive
            .filter(|_| embedded)
            .map(Path::to_owned)
            .into_iter()
            .collect(),
        places: inputs.workplace.places(&inputs.resolved, target),
    }
}

/// Returns the options that a target is configured with.
fn options(
    ctx: &Context,
    inputs: &Inputs,
    target: &ResolvedTarget,
    wish: &BuildOptions,
    archive: Option<&Path>,
) -> Result<Options, Error> {
    let kraftfile = &inputs.project.kraftfile;
    let at = inputs.resolved.targets.iter().position(|t| t == target);
    let Some(written) = at.and_then(|at| kraftfile.targets.get(at)) else {
        let targets = inputs.resolved.targets.iter().map(project::label);
        return Err(Error::Project(project::Error::NoSuchTarget {
            targets: targets.collect(),
        }));
    };
    let mut options = kraftfile.options(written, &inputs.project.dir_name);
    let mut env: BTreeMap<String, String> =
        settings::AppConfig::of_project(&ctx.env, &inputs.resolved).env;
    env.extend(wish.env.iter().cloned());
    let left = asked::add_environment(
        &mut options,
        env.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    for name in left {
        ctx.warn(&format!(
            "a kernel has at most 15 environment variables: `{name}` is not compiled in"
        ));
    }
    if let Some(archive) = archive.filter(|_| asked::embeds_rootfs(&options)) {
        asked::embed_rootfs(&mut options, &archive.to_string_lossy());
    }
    Ok(options)
}

/// Returns the source of the root filesystem: that of the options, else that of the project.
fn rootfs_source(project: &Project, wish: &BuildOptions) -> Result<Option<RootSource>, Error> {
    match &wish.rootfs {
        _ if wish.no_rootfs => Ok(None),
        Some(path) => Ok(Some(RootSource::from_argument(
            path,
            "--rootfs",
            Some(project),
        )?)),
        None => Ok(RootSource::from_project(project)?),
    }
}

/// Builds the root filesystem for every architecture of the targets, unless it is up to date.
fn rootfs_of(
    ctx: &Context,
    inputs: &Inputs,
    targets: &[ResolvedTarget],
    wish: &BuildOptions,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut built = BTreeMap::new();
    let Some(source) = rootfs_source(&inputs.project, wish)? else {
        return Ok(built);
    };
    for target in targets {
        if built.contains_key(&target.architecture) {
            continue;
        }
        let archive = inputs.workplace.rootfs(&target.architecture);
        build_rootfs(
            ctx,
            &source,
            &archive,
            &target.architecture,
            &wish.dockerfile,
        )?;
        built.insert(target.architecture.clone(), archive);
    }
    Ok(built)
}

/// Builds a root filesystem, unless it is up to date.
fn build_rootfs(
    ctx: &Context,
    source: &RootSource,
    archive: &Path,
    arch: &str,
    dockerfile: &DockerfileOptions,
) -> Result<(), Error> {
    if let Some(dir) = archive.parent() {
        kraft_sys::fs::create_dir_all(dir, 0o755)?;
    }
    let made = rootfs::prepare(ctx, source, arch, dockerfile)?;
    let path = match (&made, source) {
        (Some(made), _) => &made.archive,
        (None, RootSource::Files(path)) => path,
        (None, RootSource::Dockerfile { .. } | RootSource::Image(_)) => return Ok(()),
    };
    let print = fingerprint::of_source(path, epoch::read(&ctx.env)?)?;
    if !fingerprint::is_current(archive, &print) {
        let source = Source::detect(path).map_err(rootfs::Error::from)?;
        rootfs::build(ctx, &source, archive, false)?;
        fingerprint::write(archive, &print)?;
    }
    Ok(())
}

/// Reports the options that keep the values they were given by hand.
fn report_edits(ctx: &Context, target: &ResolvedTarget, built: &Built) {
    if !built.edits.is_empty() {
        let names: Vec<&str> = built.edits.keys().map(String::as_str).take(5).collect();
        ctx.info(&format!(
            "{}: {} in `{}` {} edited by hand and {} ({}{}); `--configure` resets them",
            project::label(target),
            match built.edits.len() {
                1 => "one option".to_owned(),
                n => format!("{n} options"),
            },
            target.config,
            if built.edits.len() == 1 {
                "was"
            } else {
                "were"
            },
            if built.edits.len() == 1 {
                "stays"
            } else {
                "stay"
            },
            names.join(", "),
            if built.edits.len() > names.len() {
                ", …"
            } else {
                ""
            },
        ));
    }
}

/// Counts the lines of source code in a kernel, by its debug information.
///
/// # Errors
///
/// If `objdump` cannot be run.
pub fn lines_of_code(debug: &Path, target: &ResolvedTarget) -> Result<usize, Error> {
    let program = format!("{}objdump", cross_prefix(target).unwrap_or_default());
    let mut command = kraft_sys::tool::command(&program);
    command.args(["-d", "-l", "--no-show-raw-insn"]).arg(debug);
    let mut lines = std::collections::HashSet::new();
    let heard = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        // `/path/file.c:12`, sometimes with ` (discriminator 3)` behind it.
        let place = text.split(" (").next().unwrap_or_default();
        if place.starts_with('/')
            && place
                .rsplit_once(':')
                .is_some_and(|(_, number)| number.parse::<u32>().is_ok())
        {
            lines.insert(place.to_owned());
        }
    };
    kraft_sys::stream::lines(command, heard, kraft_sys::stream::Stop::default())
        .map_err(|source| Error::Objdump { program, source })?;
    Ok(lines.len())
}

/// Copies the output of make to the file of the options.
fn keep_log(wish: &BuildOptions, jobs: &[Work]) -> Result<(), Error> {
    let Some(path) = &wish.log else { return Ok(()) };
    let mut all = Vec::new();
    for Work { job, .. } in jobs {
        if let Ok(text) = kraft_sys::fs::read_file(&job.places.log, 256 << 20) {
            all.extend(text);
        }
    }
    Ok(kraft_sys::fs::replace_file(path, &all)?)
}
