//! `kraft pkg` without a command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use kraft_core::arch::Arch;
use kraft_core::reference::Reference;

use crate::app::App;
use crate::commands::choices;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::values::{self, PlatformArg};
use crate::failure::{Failure, Kind};
use kraft_engine::pack::{self, Order};
use kraft_engine::package::{self, Package, Strategy};
use kraft_engine::project::{self, Project};
use kraft_engine::workplace::Workplace;
use kraft_engine::{components, images};

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
    #[arg(long, value_name = "STRATEGY", default_value = "overwrite", value_parser = choices::STRATEGY)]
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

    /// Package the kernel with debug information of what was built
    #[arg(long, conflicts_with = "kernel")]
    dbg: bool,

    /// Has no effect: accepted for old scripts
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
    app.ui.ignored(
        "--force-format",
        args.force_format,
        "packages are always OCI images",
    );
    let name = full_name(name)?;
    let store = images::open(app)?;
    let strategy = package::settle(app, &*store, &name, args.strategy)?;
    let order = order(app, args)?;
    let subject = subject(app, args)?;
    let parts = match &subject {
        Subject::Kernel(kernel) => vec![pack::of_kernel(app, &order, kernel)?],
        Subject::Runtime(project) => {
            vec![pack::of_runtime(app, &store, &order, project.as_deref())?]
        }
        Subject::Built(project) => pack::of_build(app, &order, project)?,
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
        kraft_engine::transfer::push(app, &store, &name)?;
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

/// Understands what was typed about the image.
fn order(app: &App, args: &Args) -> Result<Order, Failure> {
    let mut words = Vec::new();
    for line in &args.words {
        words.extend(kraft_core::words::split(line).map_err(|quote| {
            Failure::usage(format!(
                "`--args {line}`: the quote {quote} is never closed"
            ))
        })?);
    }
    Ok(Order {
        runtime: args.runtime.clone(),
        os: None,
        rootfs: args.rootfs.clone(),
        building: args.dockerfile.options(),
        words: (!words.is_empty()).then_some(words),
        env: crate::commands::run::env(&args.env, &app.env)?,
        labels: labels(&args.label)?,
        arch: args.arch,
        plat: args.plat.and_then(|plat| plat.0),
        target: args.target.clone(),
        no_kconfig: args.no_kconfig,
        no_kernel_dbg: args.no_kernel_dbg,
        symbolic: args.dbg,
    })
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
    let project = match project::open_or_lone(app, dir, args.kraftfile.as_deref(), runtime)? {
        Some(project) => {
            let workplace = Workplace::find(app, &project)?;
            Some(components::complete(app, project, &workplace)?)
        }
        None => None,
    };
    match project {
        None if args.runtime.is_some() => Ok(Subject::Runtime(None)),
        None => Err(Failure::new(Kind::NotFound, "there is nothing to package")
            .hint("go to the directory of a project, or name a kernel (`--kernel FILE`) or an image to build on (`--runtime IMAGE`)")),
        Some(project) => {
            let has_runtime = project.has_runtime();
            if args.runtime.is_some() || has_runtime {
                Ok(Subject::Runtime(Some(Box::new(project))))
            } else {
                Ok(Subject::Built(Box::new(project)))
            }
        }
    }
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
