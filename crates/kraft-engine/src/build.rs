//! Builds kernels from a project's sources: `kraft build`, and what `menu`, `clean` and `fetch`
//! share with it.
//!
//! ```text
//! project ─ template ─► targets that are meant ─ components ─► root filesystem ─► options ─► Job
//!   ─► kraft-build ─► kernels, or what went wrong in words
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub use kraft_build::pipeline::Configure;
use kraft_build::pipeline::{Built, Job, Orders};
use kraft_build::plan;
use kraft_core::kraftfile::options::{self, Options};
use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_core::reference::Reference;
use kraft_rootfs::Source;
use kraft_sys::parallel;

use super::components::{self, Components, Fetching};
use super::dockerfile::BuildOptions;
use super::lost::Verdicts;
use super::pins;
use super::project::{self, Project, TargetFilter};
use super::rootfs::{self, RootSource};
use super::settings;
use super::workplace::Workplace;
use super::{broken, trace};
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// What a build is told.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// How many things may be done at once.
    pub jobs: Option<NonZeroUsize>,
    /// Whether to do one thing after the other.
    pub slowly: bool,
    /// Whether to configure.
    pub configure: Configure,
    /// Whether to run make even if nothing changed.
    pub force: bool,
    /// Whether values may get lost.
    pub may_lose: bool,
    /// Variables to compile in, over those of the Kraftfile.
    pub env: Vec<(String, String)>,
    /// The root filesystem that was typed.
    pub rootfs: Option<PathBuf>,
    /// Whether to leave the root filesystem alone.
    pub no_rootfs: bool,
    /// How Dockerfiles are built.
    pub dockerfile: BuildOptions,
    /// A file that gets everything make says, too.
    pub log: Option<PathBuf>,
}

/// A project with everything it is built from.
#[derive(Debug)]
pub struct Site {
    /// The project, completed by its template.
    pub project: Project,
    /// The same with nothing left to decide.
    pub resolved: Resolved,
    /// Where its files are.
    pub workplace: Workplace,
    /// Its components.
    pub components: Components,
    /// When its kernels say they were compiled.
    date: String,
}

/// The work on one target.
struct Work {
    job: Job,
    options: Options,
    /// Its root filesystem.
    archive: Option<PathBuf>,
    verdicts: Verdicts,
}

/// What was built for one target.
#[derive(Debug)]
pub struct Made {
    /// The target.
    pub target: ResolvedTarget,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its kernel with debug information.
    pub debug: PathBuf,
    /// The root filesystem that belongs to it.
    pub rootfs: Option<PathBuf>,
    /// Whether nothing had to be done.
    pub fresh: bool,
}

/// Gets everything together that a project is built from.
pub fn site(ctx: &Context, project: Project, fetching: &Fetching) -> Result<Site, Failure> {
    let workplace = Workplace::open(ctx, &project)?;
    let (project, components) = components::obtain(ctx, project, &workplace, fetching)?;
    let resolved = project.resolved();
    Ok(Site {
        project,
        resolved,
        workplace,
        components,
        date: date(ctx)?,
    })
}

/// Removes what was built for a project's targets; with `proper`, everything that make worked with,
/// too. Nothing is fetched for it.
pub fn clean(
    ctx: &Context,
    project: Project,
    wish: &TargetFilter<'_>,
    proper: bool,
) -> Result<(), Failure> {
    if !Workplace::find(ctx, &project)?.components().is_dir() {
        return Ok(());
    }
    let workplace = Workplace::open(ctx, &project)?;
    let (project, components) = components::in_place(ctx, project, &workplace)?;
    let resolved = project.resolved();
    if resolved.targets.is_empty() {
        // They are those of a template that was never here: nothing was built.
        return Ok(());
    }
    // Make's rules for it are those of the components; without them, all of its work goes.
    let proper = proper || components.is_none();
    let site = Site {
        components: components.unwrap_or_default(),
        date: date(ctx)?,
        project,
        resolved,
        workplace,
    };
    for target in project::select_targets(&site.resolved, wish)? {
        with_target(ctx, &site, &target, &Wish::default(), |job, orders| {
            job.clean(proper, orders)
        })?;
    }
    Ok(())
}

/// Returns when kernels say they were compiled: `SOURCE_DATE_EPOCH` (reproducible-builds.org), else
/// 1970, so that the same sources give the same kernel.
fn date(ctx: &Context) -> Result<String, Failure> {
    let seconds = crate::epoch::read(&ctx.env)?.unwrap_or(0);
    let date = jiff::Timestamp::from_second(i64::from(seconds))
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    Ok(date.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// Returns the targets that are meant; asks on a terminal which of several, unless `all` are.
pub fn targets(
    ctx: &Context,
    resolved: &Resolved,
    wish: &TargetFilter<'_>,
    all: bool,
) -> Result<Vec<ResolvedTarget>, Failure> {
    if resolved.targets.is_empty() {
        return Err(Failure::new(Kind::Usage, "the project has no targets")
            .hint("add what to build for to the Kraftfile: `targets: [qemu/x86_64]`"));
    }
    let meant = project::select_targets(resolved, wish)?;
    if all {
        return Ok(meant);
    }
    Ok(project::ask_one_or_all(ctx, "Which target?", meant)?)
}

/// Builds targets, several at a time where the jobs allow.
pub fn build(
    ctx: &Context,
    site: &Site,
    targets: &[ResolvedTarget],
    wish: &Wish,
) -> Result<Vec<Made>, Failure> {
    let interrupt = ctx.interrupt.listen();
    let rootfs = rootfs_of(ctx, site, targets, wish)?;
    let mut jobs = Vec::new();
    for target in targets {
        let archive = rootfs.get(&target.architecture).cloned();
        let options = options(ctx, site, target, wish, archive.as_deref())?;
        jobs.push(Work {
            job: job(site, target, &options, archive.as_deref()),
            options,
            archive,
            verdicts: Verdicts::new(wish.may_lose),
        });
    }
    let budget = budget(ctx, wish);
    let side_by_side = budget
        .map_or(jobs.len(), |jobs_allowed| jobs.len().min(jobs_allowed))
        .max(1);
    let each = budget.map(|budget| (budget / side_by_side).max(1));
    let progress = ctx.progress();
    let stop = || interrupt.is_cancelled();
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
            stop: &stop,
            reporter: &progress,
            task: at as u64 + 1,
        })
    });
    drop(progress);
    keep_log(wish, &jobs)?;
    let mut made = Vec::new();
    for ((work, result), target) in jobs.iter().zip(results).zip(targets) {
        let Work { job, options, .. } = work;
        let built =
            result.map_err(|error| broken::failure(ctx, site, target, options, job, error))?;
        work.verdicts.tell(ctx, site, target, options);
        tell_edits(ctx, target, &built);
        made.push(Made {
            target: target.clone(),
            kernel: job.places.kernel.clone(),
            debug: job.places.debug.clone(),
            rootfs: work.archive.clone(),
            fresh: built.fresh,
        });
    }
    Ok(made)
}

/// Gets the image that a project runs on, and builds its root filesystem; returns both.
pub fn of_runtime(
    ctx: &Context,
    project: &Project,
    target: &TargetFilter<'_>,
    fetching: &Fetching,
    wish: &Wish,
) -> Result<(Reference, Option<PathBuf>), Failure> {
    let resolved = project.resolved();
    let name: Reference = settings::runtime_name(&resolved)?.parse()?;
    let mut asked = settings::runtime_wish(&resolved);
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
        .unwrap_or_else(|| super::images::host_preference().arch.clone());
    let image = pins::obtain(ctx, project, &name, &asked, fetching.locked)?;
    let Some(source) = rootfs_source(project, wish)? else {
        return Ok((image, None));
    };
    let archive = Workplace::open(ctx, project)?.rootfs(&architecture);
    build_rootfs(ctx, &source, &archive, &architecture, &wish.dockerfile)?;
    Ok((image, Some(archive)))
}

/// Does something else with a target than building it.
pub fn with_target<T>(
    ctx: &Context,
    site: &Site,
    target: &ResolvedTarget,
    wish: &Wish,
    work: impl FnOnce(&Job, &Orders<'_>) -> Result<T, kraft_build::pipeline::Error>,
) -> Result<T, Failure> {
    let interrupt = ctx.interrupt.listen();
    let archive = site.workplace.rootfs(&target.architecture);
    let options = options(ctx, site, target, wish, Some(&archive))?;
    let job = job(site, target, &options, None);
    let verdicts = Verdicts::new(wish.may_lose);
    let progress = ctx.progress();
    let done = {
        let orders = Orders {
            jobs: budget(ctx, wish),
            configure: wish.configure,
            force: wish.force,
            offline: ctx.settings.offline,
            refused: &|plan, lost| verdicts.refused(&options, &job, plan, lost),
            stop: &|| interrupt.is_cancelled(),
            reporter: &progress,
            task: 1,
        };
        work(&job, &orders)
    };
    drop(progress);
    done.map_err(|error| broken::failure(ctx, site, target, &options, &job, error))
}

/// Returns how many things may be done at once; `None` where a jobserver above us decides.
fn budget(ctx: &Context, wish: &Wish) -> Option<usize> {
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

fn job(site: &Site, target: &ResolvedTarget, options: &Options, archive: Option<&Path>) -> Job {
    let embedded = options::embeds_rootfs(options);
    Job {
        label: project::label(target),
        name: target.name.clone(),
        core: site.components.core.clone(),
        app: site.components.app.clone(),
        libraries: site.components.libraries.clone(),
        options: options
            .iter()
            .map(|(name, asked)| (name.clone(), asked.value.clone()))
            .collect(),
        cross: cross_prefix(target).map(ToOwned::to_owned),
        date: site.date.clone(),
        files: archive
            .filter(|_| embedded)
            .map(Path::to_owned)
            .into_iter()
            .collect(),
        places: site.workplace.places(&site.resolved, target),
    }
}

/// Returns what a target is configured with.
fn options(
    ctx: &Context,
    site: &Site,
    target: &ResolvedTarget,
    wish: &Wish,
    archive: Option<&Path>,
) -> Result<Options, Failure> {
    let kraftfile = &site.project.kraftfile;
    let at = site.resolved.targets.iter().position(|t| t == target);
    let Some(written) = at.and_then(|at| kraftfile.targets.get(at)) else {
        return Err(Failure::new(
            Kind::NotFound,
            "the project has no such target",
        ));
    };
    let mut options = kraftfile.options(written, &site.project.dir_name);
    let mut env: BTreeMap<String, String> =
        settings::AppConfig::of_project(&ctx.env, &site.resolved).env;
    env.extend(wish.env.iter().cloned());
    let left = options::add_environment(
        &mut options,
        env.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    for name in left {
        ctx.warn(&format!(
            "a kernel takes 15 variables: `{name}` is not compiled in"
        ));
    }
    if let Some(archive) = archive.filter(|_| options::embeds_rootfs(&options)) {
        options::embed_rootfs(&mut options, &archive.to_string_lossy());
    }
    Ok(options)
}

/// Returns what the root filesystem is built from: what was typed, else what the project names.
fn rootfs_source(project: &Project, wish: &Wish) -> Result<Option<RootSource>, rootfs::Error> {
    match &wish.rootfs {
        _ if wish.no_rootfs => Ok(None),
        Some(word) => RootSource::from_argument(word, "--rootfs", Some(project)).map(Some),
        None => RootSource::from_project(project),
    }
}

/// Builds the root filesystem for every architecture that is built for, unless it is as it was.
fn rootfs_of(
    ctx: &Context,
    site: &Site,
    targets: &[ResolvedTarget],
    wish: &Wish,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut built = BTreeMap::new();
    let Some(source) = rootfs_source(&site.project, wish)? else {
        return Ok(built);
    };
    for target in targets {
        if built.contains_key(&target.architecture) {
            continue;
        }
        let archive = site.workplace.rootfs(&target.architecture);
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

/// Builds a root filesystem unless it is there, made from the same.
fn build_rootfs(
    ctx: &Context,
    source: &RootSource,
    archive: &Path,
    arch: &str,
    dockerfile: &BuildOptions,
) -> Result<(), Failure> {
    if let Some(dir) = archive.parent() {
        kraft_sys::fs::create_dir_all(dir, 0o755)?;
    }
    let made = rootfs::prepare(ctx, source, arch, dockerfile)?;
    let path = match (&made, source) {
        (Some(made), _) => &made.archive,
        (None, RootSource::Files(path)) => path,
        (None, RootSource::Dockerfile { .. } | RootSource::Image(_)) => return Ok(()),
    };
    let print = trace::of_rootfs(ctx, path)?;
    if !trace::is_current(archive, &print) {
        rootfs::build(ctx, &Source::detect(path)?, archive, false)?;
        trace::keep(archive, &print)?;
    }
    Ok(())
}

/// Tells which options stay as they were edited by hand.
fn tell_edits(ctx: &Context, target: &ResolvedTarget, built: &Built) {
    if !built.edits.is_empty() {
        let names: Vec<&str> = built.edits.keys().map(String::as_str).take(5).collect();
        ctx.info(&format!(
            "{}: {} in `{}` {} edited by hand and {} ({}{}); `--configure` starts afresh",
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

/// Counts the lines of source code that became part of a kernel, by its debug information.
pub fn lines_of_code(debug: &Path, target: &ResolvedTarget) -> Result<usize, Failure> {
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
    kraft_sys::stream::lines(command, heard, || false).map_err(|error| {
        Failure::new(Kind::Host, format!("cannot run `{program}`: {error}"))
            .hint("install it: `apt install binutils`")
    })?;
    Ok(lines.len())
}

/// Copies what make said to where the user wants it, too.
fn keep_log(wish: &Wish, jobs: &[Work]) -> Result<(), Failure> {
    let Some(path) = &wish.log else { return Ok(()) };
    let mut all = Vec::new();
    for Work { job, .. } in jobs {
        if let Ok(text) = kraft_sys::fs::read_file(&job.places.log, 256 << 20) {
            all.extend(text);
        }
    }
    Ok(kraft_sys::fs::replace_file(path, &all)?)
}
