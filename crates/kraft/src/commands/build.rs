//! `kraft build`.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use kraft_build::pipeline::Configure;
use kraft_core::arch::Arch;
use serde::Serialize;

use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values::{self, PlatformArg};
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_core::readable::decimal as size;
use kraft_engine::build::{self, BuildOptions, BuildOutput, Inputs};
use kraft_engine::components::Fetching;
use kraft_engine::project::{self, Project, TargetFilter};

/// Build a project's kernels from source
///
/// Downloads the core, the libraries and the template that the Kraftfile names, configures each
/// target and builds it with make. Targets that have not changed are not built again.
///
/// It is an error, with the reason, if KConfig drops or changes a value that the Kraftfile sets.
/// Prints the paths of the kernels.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft build --all
  kraft build --locked -t qemu/x86_64")]
pub(crate) struct Args {
    /// Build all selected targets without prompting
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    project: ProjectArgs,

    /// Set the number of parallel jobs
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Build sequentially, unless `--jobs` is set
    #[arg(long)]
    no_fast: bool,

    /// Reconfigure from the Kraftfile, discarding manual edits of the configuration
    #[arg(long, conflicts_with = "no_configure")]
    configure: bool,

    /// Build with the existing configuration
    #[arg(long)]
    no_configure: bool,

    /// Build even if nothing has changed
    #[arg(short, long)]
    force: bool,

    /// Only warn about values that KConfig drops or changes
    #[arg(long)]
    allow_lost: bool,

    /// Compile an environment variable into the kernel; without a value, use that of the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Use this root filesystem instead of the project's
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Do not build the root filesystem
    #[arg(long, conflicts_with = "rootfs")]
    no_rootfs: bool,

    /// Print the paths of the kernels with debug information
    #[arg(long)]
    dbg: bool,

    /// Write the output of make to this file, too
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    build_log: Option<PathBuf>,

    /// Print the number of source lines compiled into each kernel
    #[arg(long)]
    print_stats: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", value_parser = OutputParser)]
    output: Option<Output>,

    /// Do nothing: accepted for old scripts
    #[arg(short = 'c', long, hide = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

/// The value of `--output`.
#[derive(Clone, Debug)]
enum Output {
    /// A format.
    Format(Format),
    /// A directory: the meaning of the flag in KraftKit.
    Dir(OsString),
}

/// Parses the value of `--output`.
#[derive(Clone)]
struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = Output;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Output, clap::Error> {
        let formats = EnumValueParser::<Format>::new();
        if let Ok(format) = formats.parse_ref(command, arg, value) {
            return Ok(Output::Format(format));
        }
        let text = value.to_string_lossy();
        // In the CLI of Unikraft Cloud, it is the name of an image.
        if text.contains(':') {
            let why = format!(
                "`{text}` is not a format: `kraft pkg --name {text} --push` packages and pushes an image\n"
            );
            return Err(clap::Error::raw(ErrorKind::ValueValidation, why).with_cmd(command));
        }
        Ok(Output::Dir(value.to_owned()))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = Format::value_variants().iter();
        Some(Box::new(values.filter_map(ValueEnum::to_possible_value)))
    }
}

/// Selects targets of a project, and its Kraftfile.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Which {
    /// Select only targets for this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    pub(crate) arch: Option<Arch>,

    /// Select only targets for this platform
    #[arg(short, long, value_name = "PLATFORM", value_parser = values::platform())]
    pub(crate) plat: Option<PlatformArg>,

    /// Select only this target: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET")]
    pub(crate) target: Option<String>,

    /// Use this Kraftfile; `-` is stdin
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) kraftfile: Option<PathBuf>,
}

impl Which {
    /// Returns the selected targets.
    pub(crate) fn filter(&self) -> TargetFilter<'_> {
        TargetFilter {
            name: self.target.as_deref(),
            platform: self.plat.and_then(|plat| plat.0),
            arch: self.arch,
        }
    }

    /// Reads and validates the project in a directory, or that of the given Kraftfile.
    pub(crate) fn project(&self, app: &App, dir: Option<&Path>) -> Result<Project, Failure> {
        Ok(project::open(app, dir, self.kraftfile.as_deref())?)
    }
}

/// Selects a project, its targets and how its components are fetched.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ProjectArgs {
    /// Project directory (default: the current directory)
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) which: Which,

    #[command(flatten)]
    pub(crate) fetching: FetchArgs,
}

impl ProjectArgs {
    /// Resolves and fetches everything that the project is built from.
    pub(crate) fn site(&self, app: &App) -> Result<Inputs, Failure> {
        let project = self.read(app)?;
        Ok(build::prepare(app, project, &self.fetching.fetching(app))?)
    }

    /// Reads the project.
    pub(crate) fn read(&self, app: &App) -> Result<Project, Failure> {
        self.which.project(app, self.dir.as_deref())
    }
}

/// Options for fetching components.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct FetchArgs {
    /// Use exactly the versions in kraft.lock, or fail
    #[arg(long)]
    locked: bool,

    /// Fetch components again even if they exist locally
    #[arg(long)]
    force_pull: bool,

    /// Ignore cached indexes
    #[arg(short = 'F', long)]
    no_cache: bool,

    /// Do not update indexes
    #[arg(long)]
    no_update: bool,

    /// Prefer Git over archives
    #[arg(short, long)]
    git: bool,

    /// Limit the fetched Git history to this number of commits
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    git_depth: Option<i64>,

    /// Do nothing: accepted for old scripts
    #[arg(long, hide = true)]
    no_fetch: bool,
}

impl FetchArgs {
    /// Warns about flags that are accepted for old scripts and have no effect.
    pub(crate) fn warn_of_ignored(&self, app: &App) {
        app.ui.ignored(
            "--no-fetch",
            self.no_fetch,
            "sources are fetched when they are missing; `--offline` forbids it",
        );
    }

    /// Returns the options of the engine.
    pub(crate) fn fetching(&self, app: &App) -> Fetching {
        self.warn_of_ignored(app);
        Fetching {
            locked: self.locked,
            again: self.force_pull,
            fresh_catalog: self.force_pull || self.no_cache,
            old_catalog: self.no_update,
            git: self.git,
            depth: self.git_depth.and_then(|depth| u32::try_from(depth).ok()),
        }
    }
}

/// A built kernel, as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    platform: String,
    architecture: String,
    kernel: String,
    kernel_debug: String,
    size: u64,
    rootfs: Option<String>,
    fresh: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    app.ui.ignored(
        "--config",
        args.config.is_some(),
        "set options in the Kraftfile, with `kraft set` or with `kraft menu`",
    );
    if let Some(Output::Dir(dir)) = &args.output {
        app.ui.ignored(
            &format!("--output {}", dir.display()),
            true,
            "`outdir` in the Kraftfile sets the directory of kernels, and `kraft pkg --name IMAGE` packages an image",
        );
    }
    let project = args.project.read(app)?;
    let (options, targets) = (options(app, args)?, args.project.which.filter());
    let fetching = args.project.fetching.fetching(app);
    if project.has_runtime() && !project.has_sources() {
        let (image, rootfs) = build::of_runtime(app, &project, &targets, &fetching, &options)?;
        app.ui.info(&format!("the project runs on {image}"));
        if let Some(rootfs) = rootfs {
            app.ui.line(&rootfs.display().to_string())?;
        }
        return Ok(());
    }
    let site = build::prepare(app, project, &fetching)?;
    let targets = build::targets(app, &site.resolved, &targets, args.all)?;
    let made = build::build(app, &site, &targets, &options)?;
    show(app, args, &made)?;
    if args.print_stats {
        for made in &made {
            let lines = build::lines_of_code(&made.debug, &made.target)?;
            app.ui.info(&format!(
                "{}: {lines} lines of code",
                project::label(&made.target)
            ));
        }
    }
    Ok(())
}

/// Returns the options of the build.
fn options(app: &App, args: &Args) -> Result<BuildOptions, Failure> {
    Ok(BuildOptions {
        jobs: args.jobs,
        slowly: args.no_fast,
        configure: match (args.configure, args.no_configure) {
            (true, _) => Configure::Afresh,
            (_, true) => Configure::Never,
            (false, false) => Configure::IfNeeded,
        },
        force: args.force,
        allow_lost: args.allow_lost,
        env: env(app, &args.env)?,
        rootfs: args.rootfs.clone(),
        no_rootfs: args.no_rootfs,
        dockerfile: args.dockerfile.options(),
        log: args.build_log.clone(),
    })
}

fn show(app: &App, args: &Args, made: &[BuildOutput]) -> Result<(), Failure> {
    let rows: Vec<Row> = made.iter().map(row).collect();
    match &args.output {
        Some(Output::Format(format)) => app.ui.listing(*format, &rows, COLUMNS)?,
        Some(Output::Dir(_)) | None => {
            for row in &rows {
                app.ui.line(if args.dbg {
                    &row.kernel_debug
                } else {
                    &row.kernel
                })?;
            }
        }
    }
    if made.iter().all(|made| made.fresh) {
        app.ui.info("nothing has changed since the last build");
    } else {
        app.ui.info("build completed successfully");
    }
    Ok(())
}

const COLUMNS: &[Column<Row>] = &[
    Column {
        title: "NAME",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "PLAT",
        cell: |row| Cell::new(format!("{}/{}", row.platform, row.architecture)),
    },
    Column {
        title: "SIZE",
        cell: |row| Cell::new(size(row.size)),
    },
    Column {
        title: "KERNEL",
        cell: |row| Cell::new(&row.kernel),
    },
];

fn row(made: &BuildOutput) -> Row {
    Row {
        name: made.target.name.clone(),
        platform: made.target.platform.clone(),
        architecture: made.target.architecture.clone(),
        kernel: made.kernel.display().to_string(),
        kernel_debug: made.debug.display().to_string(),
        size: std::fs::metadata(&made.kernel).map_or(0, |found| found.len()),
        rootfs: made.rootfs.as_ref().map(|path| path.display().to_string()),
        fresh: made.fresh,
    }
}

/// Parses `--env`.
fn env(app: &App, given: &[OsString]) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for text in given {
        let Some(text) = text.to_str() else {
            return Err(Failure::usage("invalid `--env`: not UTF-8"));
        };
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                all.push((name.to_owned(), value.to_owned()));
            }
            None if !text.is_empty() => {
                let value = app.env.text(text).ok_or_else(|| {
                    Failure::new(
                        Kind::Usage,
                        format!("`--env {text}`: the variable is not set in the environment"),
                    )
                    .hint("set a value: `--env NAME=VALUE`")
                })?;
                all.push((text.to_owned(), value));
            }
            _ => {
                return Err(Failure::usage(format!(
                    "`--env {text}`: expected NAME or NAME=VALUE"
                )));
            }
        }
    }
    Ok(all)
}
