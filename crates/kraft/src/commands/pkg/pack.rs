//! `kraft pkg` without a command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use kraft_core::arch::Arch;
use kraft_core::platform::Platform;
use kraft_core::reference::Reference;
use kraft_oci::store::Store;

use crate::app::App;
use crate::commands::choices;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values::{self, PackagedPlatform};
use crate::failure::{Failure, Kind};
use kraft_deploy::account::INDEX;
use kraft_deploy::deploy::runtime;
use kraft_engine::pack::{self, Order};
use kraft_engine::package::{self, Package, Part, Strategy};
use kraft_engine::project::{self, Project};
use kraft_engine::workplace::Workplace;
use kraft_engine::{components, images, settings};
use kraft_oci::linux;

/// The platform of Unikraft Cloud.
const CLOUD: &str = "kraftcloud";

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Project directory (default: the current directory)
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,

    /// Set the name of the image: `[HOST[:PORT]/]PATH[:TAG]`
    #[arg(short, long, value_name = "IMAGE")]
    name: Option<String>,

    /// Package this kernel file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kernel: Option<PathBuf>,

    /// Use this image as the runtime instead of the project's
    #[arg(short, long, value_name = "IMAGE")]
    runtime: Option<String>,

    /// Use this root filesystem: a directory, a tarball, a CPIO archive, a Dockerfile, or an image
    /// with its registry
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    rootfs: Option<PathBuf>,

    /// Use this root filesystem: the old name of --rootfs
    #[arg(long, hide = true, value_name = "PATH", conflicts_with = "rootfs")]
    initrd: Option<PathBuf>,

    /// Set the arguments of the application, split as a shell does; can be repeated
    #[arg(
        short = 'a',
        long = "args",
        value_name = "ARGS",
        allow_hyphen_values = true
    )]
    words: Vec<String>,

    /// Set an environment variable of the application; without a value, use that of the host
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Add a label to the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,

    /// Package only for this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Package only for this platform
    #[arg(short, long, value_name = "PLATFORM", value_parser = values::packaged_platform())]
    plat: Option<PackagedPlatform>,

    /// Package only this target of the project: its name, or PLATFORM/ARCH
    #[arg(short, long, value_name = "TARGET", conflicts_with_all = ["arch", "plat"])]
    target: Option<String>,

    /// Set what to do if the image already exists
    #[arg(long, value_name = "STRATEGY", default_value = "overwrite", value_parser = choices::STRATEGY)]
    strategy: Strategy,

    /// Push the image to its registry
    #[arg(short = 'P', long)]
    push: bool,

    /// Do not record the KConfig options of the kernel
    #[arg(long)]
    no_kconfig: bool,

    /// Omit the manifests for container engines
    #[arg(long)]
    no_linux: bool,

    /// Prepare the image also for this engine, separated by commas
    #[arg(long = "for", value_name = "ENGINE", value_delimiter = ',', value_parser = choices::PREPARED, conflicts_with = "no_linux")]
    engines: Vec<linux::Engine>,

    /// Omit the debug kernel of the runtime
    #[arg(long)]
    no_kernel_dbg: bool,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Use the project in this directory; accepted for old scripts
    #[arg(short, long, hide = true, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// Set the format of the package
    #[arg(short = 'M', long = "as", hide = true, default_value = "oci", value_parser = ["oci", "auto"])]
    format: String,

    /// Package the built kernel with debug information
    #[arg(long, conflicts_with = "kernel")]
    dbg: bool,

    /// Do nothing: accepted for old scripts
    #[arg(long, hide = true)]
    force_format: bool,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        return Err(Failure::usage("missing name of the image")
            .hint("set it: `kraft pkg --name [HOST/]PATH[:TAG]`"));
    };
    app.ui.ignored(
        "--force-format",
        args.force_format,
        "packages are always OCI images",
    );
    if args.initrd.is_some() {
        app.ui.warn("`--initrd` is the old name of `--rootfs`");
    }
    let name = full_name(name)?;
    let store = images::open(app)?;
    let strategy = package::resolve_strategy(app, &*store, &name, args.strategy)?;
    let order = order(app, args)?;
    let source = source(app, args)?;
    let parts = match &source {
        source if matches!(args.plat, Some(PackagedPlatform::Cloud)) => {
            cloud_parts(app, &store, &order, source)?
        }
        Source::Kernel(kernel) => vec![pack::of_kernel(app, &order, kernel)?],
        Source::Runtime(project) => {
            vec![pack::of_runtime(app, &store, &order, project.as_deref())?]
        }
        Source::Built(project) => pack::of_build(app, &order, project)?,
    };
    let package = Package {
        name: name.clone(),
        strategy,
        linux: !args.no_linux,
        engines: args.engines.clone(),
    };
    let index = package::assemble(app, &*store, &package, parts)?;
    images::collect_garbage(app, &*store);
    app.ui.line(&format!("{name}@{}", index.digest))?;
    if args.push {
        kraft_engine::transfer::push(app, &store, &name)?;
    }
    Ok(())
}

/// Parses the name of a new image.
pub(super) fn full_name(text: &str) -> Result<Reference, Failure> {
    let name = text.parse::<Reference>()?.qualified();
    if name.digest().is_some() {
        return Err(Failure::usage(format!(
            "`{text}`: a new image has a tag, not a digest"
        )));
    }
    Ok(name)
}

/// Returns the options of the package.
fn order(app: &App, args: &Args) -> Result<Order, Failure> {
    let mut words = Vec::new();
    for line in &args.words {
        words.extend(
            kraft_core::shell_words::split(line).map_err(|quote| {
                Failure::usage(format!("`--args {line}`: unclosed quote {quote}"))
            })?,
        );
    }
    Ok(Order {
        runtime: args.runtime.clone(),
        os: None,
        rootfs: args.rootfs.clone().or_else(|| args.initrd.clone()),
        building: args.dockerfile.options(),
        words: (!words.is_empty()).then_some(words),
        env: kraft_engine::arguments::env(&args.env, &app.env)?,
        labels: labels(&args.label)?,
        arch: args.arch,
        plat: match args.plat {
            Some(PackagedPlatform::Local(plat)) => plat.0,
            Some(PackagedPlatform::Cloud) | None => None,
        },
        target: args.target.clone(),
        no_kconfig: args.no_kconfig,
        no_kernel_dbg: args.no_kernel_dbg,
        symbolic: args.dbg,
    })
}

/// What is packaged.
enum Source {
    /// A kernel file.
    Kernel(PathBuf),
    /// A root filesystem on top of an image; the project may be missing.
    Runtime(Option<Box<Project>>),
    /// The built targets of a project.
    Built(Box<Project>),
}

/// Returns what to package. Arguments override the project.
fn source(app: &App, args: &Args) -> Result<Source, Failure> {
    if let Some(kernel) = &args.kernel {
        return Ok(Source::Kernel(kernel.clone()));
    }
    let dir = args.dir.as_deref().or(args.workdir.as_deref());
    let runtime = args.runtime.as_deref();
    let project = match project::open_or_lone(app, dir, args.kraftfile.as_deref(), runtime)? {
        Some(project) => {
            let workplace = Workplace::find(app, &project)?;
            Some(components::complete(app, project, &workplace)?)
        }
        None => None,
    };
    match project {
        None if args.runtime.is_some() => Ok(Source::Runtime(None)),
        None => Err(Failure::new(Kind::NotFound, "nothing to package")
            .hint("go to the directory of a project, or pass a kernel (`--kernel FILE`) or a runtime (`--runtime IMAGE`)")),
        Some(project) => {
            let has_runtime = project.has_runtime();
            if args.runtime.is_some() || has_runtime {
                Ok(Source::Runtime(Some(Box::new(project))))
            } else {
                Ok(Source::Built(Box::new(project)))
            }
        }
    }
}

/// Packs for the platform of Unikraft Cloud; what has no target or manifest for it, for Firecracker,
/// which it is.
fn cloud_parts(
    app: &App,
    store: &Arc<dyn Store>,
    order: &Order,
    source: &Source,
) -> Result<Vec<Part>, Failure> {
    let firecracker = Order {
        plat: Some(Platform::Firecracker),
        ..order.clone()
    };
    let other = || {
        app.ui
            .info("the image is for `fc`: there is nothing for `kraftcloud` to package");
    };
    Ok(match source {
        Source::Kernel(kernel) => {
            let mut part = pack::of_kernel(app, &firecracker, kernel)?;
            CLOUD.clone_into(&mut part.platform.os);
            vec![part]
        }
        Source::Runtime(project) => {
            let project = project.as_deref();
            let named = match (&order.runtime, project) {
                (None, Some(project)) => Some(settings::runtime_name(&project.resolved())?),
                (named, _) => named.clone(),
            };
            let runtime = Some(runtime(INDEX, named)?.to_string());
            let firecracker = Order {
                runtime: runtime.clone(),
                ..firecracker
            };
            let own = Order {
                os: Some(CLOUD.to_owned()),
                runtime,
                ..order.clone()
            };
            match pack::of_runtime(app, store, &own, project) {
                Ok(part) => vec![part],
                Err(error) => match pack::of_runtime(app, store, &firecracker, project) {
                    Ok(part) => {
                        other();
                        vec![part]
                    }
                    Err(_) => return Err(error.into()),
                },
            }
        }
        Source::Built(project) => {
            let targets = project.resolved().targets;
            let mut own = targets.iter().filter(|target| target.platform == CLOUD);
            if let Some(target) = own.next() {
                let order = Order {
                    target: Some(format!("{CLOUD}/{}", target.architecture)),
                    arch: None,
                    ..order.clone()
                };
                pack::of_build(app, &order, project)?
            } else {
                let parts = pack::of_build(app, &firecracker, project)?;
                other();
                parts
            }
        }
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
