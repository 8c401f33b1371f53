//! `kraft pkg` without a command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_core::arch::Arch;
use kraft_core::kernel;
use kraft_core::platform::Platform as PlatformName;
use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_oci::image::{Platform, RunConfig};
use kraft_oci::layer::Role;
use kraft_oci::store::Store;

use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values::{self, PlatformArg};
use crate::failure::{Failure, Kind};
use crate::ops::dockerfile::Made;
use crate::ops::package::{self, Layer, Package, Part, Strategy};
use crate::ops::project::{self, Project};
use crate::ops::rootfs::{self, RootSource};
use crate::ops::settings::{self, Given};
use crate::ops::workplace::Workplace;
use crate::ops::{components, images, obtain, pins};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The directory of the project
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,

    /// The name of the image: `[HOST[:PORT]/]PATH[:TAG]`
    #[arg(short, long, value_name = "IMAGE")]
    name: Option<String>,

    /// Package this kernel file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kernel: Option<PathBuf>,

    /// Package on top of this image instead of the project's runtime
    #[arg(short, long, value_name = "IMAGE")]
    runtime: Option<String>,

    /// The root filesystem: a directory, a tarball, a CPIO archive, a Dockerfile, or an image with
    /// its registry
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Arguments of the application, split as a shell does; may be repeated
    #[arg(
        short = 'a',
        long = "args",
        value_name = "ARGS",
        allow_hyphen_values = true
    )]
    words: Vec<String>,

    /// Set a variable of the application; without a value, take it from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Put a label on the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,

    /// Package for this architecture only
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Package for this platform only
    #[arg(short, long, value_name = "PLATFORM", value_parser = values::platform())]
    plat: Option<PlatformArg>,

    /// Package this target of the project only: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET", conflicts_with_all = ["arch", "plat"])]
    target: Option<String>,

    /// What to do about an image that has the name already
    #[arg(long, value_name = "STRATEGY", default_value = "overwrite")]
    strategy: Strategy,

    /// Push the image to its registry
    #[arg(short = 'P', long)]
    push: bool,

    /// Do not record with which options the kernel was built
    #[arg(long)]
    no_kconfig: bool,

    /// Leave out what makes container engines take the image
    #[arg(long)]
    no_linux: bool,

    /// Leave out the kernel with debug information, if the runtime has one
    #[arg(long)]
    no_kernel_dbg: bool,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// The directory of the project, for scripts that were written so
    #[arg(short, long, hide = true, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// The format of the package
    #[arg(short = 'M', long = "as", hide = true, default_value = "oci", value_parser = ["oci", "auto"])]
    format: String,

    /// Accepted for the sake of old scripts
    #[arg(long, hide = true)]
    dbg: bool,

    /// Accepted for the sake of old scripts
    #[arg(long, hide = true)]
    force_format: bool,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        return Err(Failure::usage("cannot package without a name")
            .hint("give the image one: `kraft pkg --name [HOST/]PATH[:TAG]`"));
    };
    let name = full_name(name)?;
    let store = images::open(app)?;
    let strategy = package::settle(app, &*store, &name, args.strategy)?;
    let subject = subject(app, args)?;
    let parts = match &subject {
        Subject::Kernel(kernel) => vec![kernel_part(app, args, kernel)?],
        Subject::Runtime(project) => vec![runtime_part(app, &store, args, project.as_deref())?],
        Subject::Built(project) => built_parts(app, args, project)?,
    };
    let package = Package {
        name: name.clone(),
        strategy,
        linux: !args.no_linux,
    };
    let index = package::assemble(app, &*store, &package, parts)?;
    images::tidy(app, &*store);
    app.ui.line(&format!("{name}@{}", index.digest))?;
    if args.push {
        crate::ops::transfer::push(app, &store, &name)?;
    }
    Ok(())
}

/// Understands the name of an image that is to be made.
pub(super) fn full_name(text: &str) -> Result<Reference, Failure> {
    let name = text.parse::<Reference>()?.qualified();
    if name.digest().is_some() {
        return Err(Failure::usage(format!(
            "`{text}`: an image is given a tag, its digest is what it is"
        )));
    }
    Ok(name)
}

/// What is packaged.
enum Subject {
    /// A kernel file.
    Kernel(PathBuf),
    /// A root filesystem on top of an image; the project may be missing.
    Runtime(Option<Box<Project>>),
    /// What was built in a project.
    Built(Box<Project>),
}

/// Finds out what is to be packaged. What was typed wins over the project.
fn subject(app: &App, args: &Args) -> Result<Subject, Failure> {
    if let Some(kernel) = &args.kernel {
        return Ok(Subject::Kernel(kernel.clone()));
    }
    let dir = args.dir.as_deref().or(args.workdir.as_deref());
    let runtime = args.runtime.as_deref();
    let project = match project::read_or_lone(app, dir, args.kraftfile.as_deref(), runtime) {
        Ok(project) => {
            let project = project::sound(app, project)?;
            let workplace = Workplace::find(app, &project)?;
            Some(components::complete(app, project, &workplace)?)
        }
        Err(failure) if failure.kind == Kind::NotFound && args.kraftfile.is_none() => None,
        Err(failure) => return Err(failure),
    };
    match project {
        None if args.runtime.is_some() => Ok(Subject::Runtime(None)),
        None => Err(Failure::new(Kind::NotFound, "there is nothing to package")
            .hint("go to the directory of a project, or name a kernel (`--kernel FILE`) or an image to build on (`--runtime IMAGE`)")),
        Some(project) => {
            let has_runtime = project.resolved().is_ok_and(|r| r.runtime.is_some());
            if args.runtime.is_some() || has_runtime {
                Ok(Subject::Runtime(Some(Box::new(project))))
            } else {
                Ok(Subject::Built(Box::new(project)))
            }
        }
    }
}

fn kernel_part(app: &App, args: &Args, kernel: &Path) -> Result<Part, Failure> {
    let shown = kernel.display();
    let mut file = File::open(kernel).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Failure::new(kind, format!("cannot read the kernel `{shown}`: {error}"))
    })?;
    let found = kernel::identify(&mut file);
    let arch = match (args.arch, &found) {
        (Some(arch), Ok(image)) if image.arch != arch => {
            return Err(Failure::usage(format!(
                "`--arch {arch}`: the kernel `{shown}` is for {}",
                image.arch
            )));
        }
        (Some(arch), Ok(_)) => arch,
        (Some(arch), Err(error)) => {
            app.ui.warn(&format!(
                "`{shown}` is packaged as it is, but does not look like a kernel: {error}"
            ));
            arch
        }
        (None, Ok(image)) => image.arch,
        (None, Err(error)) => {
            return Err(
                Failure::usage(format!("cannot package `{shown}`: {error}")).hint(
                    "if it is a kernel nevertheless, say for what: `--arch ARCH --plat PLATFORM`",
                ),
            );
        }
    };
    let plat = args
        .plat
        .and_then(|plat| plat.0)
        .unwrap_or(PlatformName::Qemu);
    let root = Root::of(app, args, None, arch.name())?;
    let mut layers = vec![Layer::File(Role::Kernel, kernel.to_owned())];
    layers.extend(root.path.clone().map(Layer::Rootfs));
    Ok(Part {
        platform: Platform {
            architecture: arch.name().to_owned(),
            os: plat.name().to_owned(),
            os_features: features(args, package::implied_features(plat.name(), arch.name())),
            ..Platform::default()
        },
        layers,
        run: run_config(app, args, &root.given())?,
        _made: root.made,
    })
}

fn features(args: &Args, features: Vec<String>) -> Vec<String> {
    if args.no_kconfig {
        Vec::new()
    } else {
        features
    }
}

fn runtime_part(
    app: &App,
    store: &Arc<dyn Store>,
    args: &Args,
    project: Option<&Project>,
) -> Result<Part, Failure> {
    let resolved = project.map(Project::resolved).transpose()?;
    let wanted = match (&args.runtime, &resolved) {
        (Some(name), _) => name.clone(),
        (None, Some(resolved)) => settings::runtime_name(resolved)?,
        (None, None) => return Err(Failure::new(Kind::NotFound, "no runtime is named")),
    };
    let mut wish = match (&resolved, args.runtime.is_some()) {
        (Some(resolved), false) => settings::runtime_wish(resolved),
        _ => Wish::default(),
    };
    if let Some(plat) = args.plat.and_then(|plat| plat.0) {
        wish.os = Some(plat.name().to_owned());
    }
    if let Some(arch) = args.arch {
        wish.arch = Some(arch.name().to_owned());
    }
    let mut typed: Reference = wanted.parse()?;
    if let (Some(project), None) = (project, &args.runtime) {
        typed = pins::pinned(app, &**store, project, &typed)?;
    }
    let image = obtain::obtain(app, store, &typed, &wish, obtain::Pull::Missing)?;
    let root = Root::of(app, args, project, &image.config.platform.architecture)?;
    let replaced = root.path.is_some();
    let mut layers = package::layers_below(&image.manifest, replaced, !args.no_kernel_dbg);
    layers.extend(root.path.clone().map(Layer::Rootfs));
    let below = Given::of_image(&image.config);
    let own = resolved.as_ref().map(|r| Given::of_project(app, r));
    let mut stack = vec![below];
    stack.extend(root.given());
    stack.extend(own);
    let mut platform = image.config.platform.clone();
    platform.os_features = features(args, platform.os_features);
    Ok(Part {
        platform,
        layers,
        run: run_config(app, args, &stack)?,
        _made: root.made,
    })
}

/// A root filesystem that is packaged.
#[derive(Debug, Default)]
struct Root {
    /// What is packed.
    path: Option<PathBuf>,
    /// What it is, if it was made from a Dockerfile or an image.
    made: Option<Arc<Made>>,
}

impl Root {
    /// The one that was typed, else that of the project.
    fn of(app: &App, args: &Args, project: Option<&Project>, arch: &str) -> Result<Self, Failure> {
        let source = match (&args.rootfs, project) {
            (Some(word), project) => Some(RootSource::typed(word, "--rootfs", project)?),
            (None, Some(project)) => RootSource::of_project(project)?,
            (None, None) => None,
        };
        let Some(source) = source else {
            return Ok(Self::default());
        };
        let made = rootfs::prepare(app, &source, arch, &args.dockerfile.wish())?;
        let path = match (&made, source) {
            (Some(made), _) => Some(made.archive.clone()),
            (None, RootSource::Files(path)) => Some(path),
            (None, RootSource::Dockerfile { .. } | RootSource::Image(_)) => None,
        };
        Ok(Self {
            path,
            made: made.map(Arc::new),
        })
    }

    /// How its image wants to be run.
    fn given(&self) -> Vec<Given> {
        let made = self.made.iter();
        made.map(|made| Given::of_rootfs(&made.settings)).collect()
    }
}

/// Merges what runs the application: typed over project over image.
fn run_config(app: &App, args: &Args, below: &[Given]) -> Result<RunConfig, Failure> {
    let mut merged = Given::default();
    for given in below {
        merged = merged.under(given);
    }
    let mut words = Vec::new();
    for line in &args.words {
        words.extend(kraft_core::words::split(line).map_err(|quote| {
            Failure::usage(format!(
                "`--args {line}`: the quote {quote} is never closed"
            ))
        })?);
    }
    let typed = Given {
        cmd: (!words.is_empty()).then_some(words),
        env: crate::commands::run::env(&args.env, &app.config.env)?,
        labels: labels(&args.label)?,
    };
    let merged = merged.under(&typed);
    Ok(RunConfig {
        cmd: merged.cmd.unwrap_or_default(),
        env: merged
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        labels: merged.labels,
        ..RunConfig::default()
    })
}

fn labels(typed: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    typed
        .iter()
        .map(|label| match label.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(format!(
                "`--label {label}`: expected NAME=VALUE"
            ))),
        })
        .collect()
}

fn built_parts(app: &App, args: &Args, project: &Project) -> Result<Vec<Part>, Failure> {
    let resolved = project.resolved()?;
    let workplace = Workplace::find(app, project)?;
    let chosen = project::built_targets(
        app,
        &workplace,
        &resolved,
        &project::TargetWish {
            name: args.target.as_deref(),
            platform: args.plat.and_then(|plat| plat.0),
            arch: args.arch,
        },
    )?;
    let mut parts = Vec::new();
    for target in chosen {
        let config = project::built_config(&workplace, &target)?;
        let mut layers = vec![Layer::File(Role::Kernel, workplace.kernel(&target))];
        let embedded = config.value("CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD") == Some("y");
        let root = if embedded {
            Root::default()
        } else {
            Root::of(app, args, Some(project), &target.architecture)?
        };
        layers.extend(root.path.clone().map(Layer::Rootfs));
        let mut given = Given::of_project(app, &resolved);
        if given.cmd.is_none() {
            given.cmd.clone_from(&target.cmd);
        }
        parts.push(Part {
            platform: Platform {
                architecture: target.architecture.clone(),
                os: target.platform.clone(),
                os_version: config
                    .value("CONFIG_UK_FULLVERSION")
                    .unwrap_or_default()
                    .to_owned(),
                os_features: features(args, config.features()),
                variant: String::new(),
            },
            layers,
            run: run_config(app, args, &[root.given(), vec![given]].concat())?,
            _made: root.made,
        });
    }
    Ok(parts)
}
