//! What an image is packed from: a kernel, a root filesystem on top of an image, or what was built.
//!
//! ```text
//! Order (what was typed) ─┬ of_kernel ─┐
//! project ────────────────┼ of_runtime ├─► Part: platform, layers still to be packed, how it is run
//! image ──────────────────┴ of_build ──┘
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::pack::{self, Order};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! // The head of an arm64 kernel.
//! let kernel = dir.path().join("kernel");
//! let mut image = vec![0; 64];
//! image[56..60].copy_from_slice(b"ARM\x64");
//! std::fs::write(&kernel, image)?;
//!
//! let order = Order {
//!     words: Some(vec!["/server".to_owned()]),
//!     ..Order::default()
//! };
//! let part = pack::of_kernel(&context, &order, &kernel)?;
//! assert_eq!(part.platform.pair(), "qemu/arm64");
//! assert_eq!(part.run.cmd, ["/server"]);
//! assert_eq!(part.layers.len(), 1, "a kernel without a root filesystem");
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_core::arch::Arch;
use kraft_core::kernel::{self, NotAKernel};
use kraft_core::platform::Platform as PlatformName;
use kraft_core::reference::ReferenceError;
use kraft_oci::choose::PlatformFilter;
use kraft_oci::image::{Platform, RunConfig};
use kraft_oci::layer::Role;
use kraft_oci::store::Store;
use kraft_sys::fs;

use super::dockerfile::{self, BuildOptions, BuildOutput};
use super::package::{self, Layer, Part};
use super::project::{self, Project, TargetFilter};
use super::rootfs::{self, RootSource};
use super::settings::{self, AppConfig};
use super::workplace::{self, Workplace};
use super::{builtin, obtain, pins, runtime};
use crate::context::Context;

/// Why an image cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel cannot be read.
    #[error("cannot read the kernel `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel has another architecture than the requested one.
    #[error("`--arch {requested}`: the kernel `{}` is for {found}", path.display())]
    OtherArch {
        /// The file.
        path: PathBuf,
        /// The requested architecture.
        requested: Arch,
        /// The architecture of the kernel.
        found: Arch,
    },
    /// The file does not look like a kernel, and its platform is not named.
    #[error("cannot package `{}`", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: NotAKernel,
    },
    /// Neither the options nor a project name the image to package on top of.
    #[error("no runtime is named")]
    NoRuntime,
    /// The runtime of the project is not an image.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The name of the runtime is invalid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image that the project is pinned to is not known.
    #[error(transparent)]
    Pins(#[from] pins::Error),
    /// The runtime cannot be obtained.
    #[error(transparent)]
    Obtain(#[from] obtain::Error),
    /// There is no such root filesystem.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The root filesystem cannot be built from its Dockerfile or its image.
    #[error(transparent)]
    Dockerfile(#[from] Box<dockerfile::Error>),
    /// The targets or the configuration of the project cannot be used.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The project's directory cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// The configuration of a target cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// The flags of the image.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The image to package on top of, instead of the project's runtime.
    pub runtime: Option<String>,
    /// The platform that is wanted of that image, by its name in images.
    pub os: Option<String>,
    /// The root filesystem instead of the project's.
    pub rootfs: Option<PathBuf>,
    /// How it is built.
    pub building: BuildOptions,
    /// The arguments of the application, if any were typed.
    pub words: Option<Vec<String>>,
    /// Variables of the application.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The platform, where it is one that machines run on.
    pub plat: Option<PlatformName>,
    /// The target of the project: its name, or `PLATFORM/ARCH`.
    pub target: Option<String>,
    /// Whether to leave out with which options the kernel was built.
    pub no_kconfig: bool,
    /// Whether to leave out the kernel with debug information.
    pub no_kernel_dbg: bool,
    /// Whether to package the kernel with debug information of what was built.
    pub symbolic: bool,
}

/// Packs a kernel file.
///
/// # Errors
///
/// If the kernel cannot be read or has another architecture, or its root filesystem cannot be built.
pub fn of_kernel(ctx: &Context, order: &Order, kernel: &Path) -> Result<Part, Error> {
    tracing::debug!(kernel = %kernel.display(), "packing a kernel");
    let mut file = fs::open_file(kernel)
        .map_err(io::Error::from)
        .map_err(|source| Error::Read {
            path: kernel.to_owned(),
            source,
        })?;
    let arch = match (order.arch, kernel::identify(&mut file)) {
        (Some(arch), Ok(image)) if image.arch != arch => {
            return Err(Error::OtherArch {
                path: kernel.to_owned(),
                requested: arch,
                found: image.arch,
            });
        }
        (Some(arch), Ok(_)) => arch,
        (Some(arch), Err(error)) => {
            ctx.warn(&format!(
                "`{}` is packaged as it is, but does not look like a kernel: {error}",
                kernel.display()
            ));
            arch
        }
        (None, Ok(image)) => image.arch,
        (None, Err(source)) => {
            return Err(Error::NotAKernel {
                path: kernel.to_owned(),
                source,
            });
        }
    };
    let plat = order.plat.unwrap_or(PlatformName::Qemu);
    let root = Root::of(ctx, order, None, arch.name())?;
    let mut layers = vec![Layer::File(Role::Kernel, kernel.to_owned())];
    layers.extend(root.path.clone().map(Layer::Rootfs));
    Ok(Part {
        platform: Platform {
            architecture: arch.name().to_owned(),
            os: plat.name().to_owned(),
            os_features: features(order, package::implied_features(plat.name(), arch.name())),
            ..Platform::default()
        },
        layers,
        run: run_config(order, &root.given()),
        made: root.made,
    })
}

fn features(order: &Order, features: Vec<String>) -> Vec<String> {
    if order.no_kconfig {
        Vec::new()
    } else {
        features
    }
}

/// Packs a root filesystem on top of an image; without a project, from the flags alone.
///
/// # Errors
///
/// If the image cannot be obtained, or the root filesystem cannot be built.
pub fn of_runtime(
    ctx: &Context,
    store: &Arc<dyn Store>,
    order: &Order,
    project: Option<&Project>,
) -> Result<Part, Error> {
    let resolved = project.map(Project::resolved);
    let wanted = match (&order.runtime, &resolved) {
        (Some(name), _) => name.clone(),
        (None, Some(resolved)) => settings::runtime_name(resolved)?,
        (None, None) => return Err(Error::NoRuntime),
    };
    let mut filter = match (&resolved, order.runtime.is_some()) {
        (Some(resolved), false) => settings::runtime_filter(resolved),
        _ => PlatformFilter::default(),
    };
    if let Some(plat) = order.plat {
        filter.os = Some(plat.name().to_owned());
    }
    if order.os.is_some() {
        filter.os.clone_from(&order.os);
    }
    if let Some(arch) = order.arch {
        filter.arch = Some(arch.name().to_owned());
    }
    let mut typed = builtin::reference(&wanted)?;
    if order.runtime.is_none() && project.is_some_and(|project| project.implied_runtime) {
        runtime::report_default(ctx, &typed);
    }
    if let (Some(project), None) = (project, &order.runtime) {
        typed = pins::pinned(ctx, &**store, project, &typed)?;
    }
    let image = obtain::obtain(ctx, store, &typed, &filter, obtain::Pull::Missing)?;
    let root = Root::of(ctx, order, project, &image.config.platform.architecture)?;
    let replaced = root.path.is_some();
    let mut layers = package::layers_below(&image.manifest, replaced, !order.no_kernel_dbg);
    layers.extend(root.path.clone().map(Layer::Rootfs));
    let below = AppConfig::of_image(&image.config);
    let own = resolved
        .as_ref()
        .map(|r| AppConfig::of_project(&ctx.env, r));
    let mut stack = vec![below];
    stack.extend(root.given());
    stack.extend(own);
    let mut platform = image.config.platform.clone();
    platform.os_features = features(order, platform.os_features);
    Ok(Part {
        platform,
        layers,
        run: run_config(order, &stack),
        made: root.made,
    })
}

/// A root filesystem that is packaged.
#[derive(Debug, Default)]
struct Root {
    /// What is packed.
    path: Option<PathBuf>,
    /// What it is, if it was made from a Dockerfile or an image.
    made: Option<Arc<BuildOutput>>,
}

impl Root {
    /// That of `--rootfs`, else that of the project.
    fn of(
        ctx: &Context,
        order: &Order,
        project: Option<&Project>,
        arch: &str,
    ) -> Result<Self, Error> {
        let source = match (&order.rootfs, project) {
            (Some(word), project) => Some(RootSource::from_argument(word, "--rootfs", project)?),
            (None, Some(project)) => RootSource::from_project(project)?,
            (None, None) => None,
        };
        let Some(source) = source else {
            return Ok(Self::default());
        };
        let made = rootfs::prepare(ctx, &source, arch, &order.building).map_err(Box::new)?;
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
    fn given(&self) -> Vec<AppConfig> {
        let made = self.made.iter();
        made.map(|made| AppConfig::of_rootfs(&made.settings))
            .collect()
    }
}

/// Merges what runs the application: typed over project over image.
fn run_config(order: &Order, below: &[AppConfig]) -> RunConfig {
    let mut merged = AppConfig::default();
    for given in below {
        merged = merged.overridden_by(given);
    }
    let typed = AppConfig {
        cmd: order.words.clone(),
        workdir: None,
        env: order.env.clone(),
        labels: order.labels.clone(),
    };
    let merged = merged.overridden_by(&typed);
    RunConfig {
        cmd: merged.cmd.unwrap_or_default(),
        env: merged
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        working_dir: merged.workdir.unwrap_or_default(),
        labels: merged.labels,
        ..RunConfig::default()
    }
}

/// Packs what was built in a project.
///
/// # Errors
///
/// If no target was built, or a root filesystem cannot be built.
pub fn of_build(ctx: &Context, order: &Order, project: &Project) -> Result<Vec<Part>, Error> {
    let resolved = project.resolved();
    let workplace = Workplace::find(ctx, project)?;
    let chosen = project::built_targets(
        ctx,
        &workplace,
        &resolved,
        &TargetFilter {
            name: order.target.as_deref(),
            platform: order.plat,
            arch: order.arch,
        },
    )?;
    let mut parts = Vec::new();
    for target in chosen {
        let config = project::built_config(&workplace, &target)?;
        let kernel = if order.symbolic {
            workplace.kernel_debug(&target)
        } else {
            workplace.kernel(&target)
        };
        let mut layers = vec![Layer::File(Role::Kernel, kernel)];
        let embedded = config.value("CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD") == Some("y");
        let root = if embedded {
            Root::default()
        } else {
            Root::of(ctx, order, Some(project), &target.architecture)?
        };
        layers.extend(root.path.clone().map(Layer::Rootfs));
        let mut given = AppConfig::of_project(&ctx.env, &resolved);
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
                os_features: features(order, config.features()),
                variant: String::new(),
            },
            layers,
            run: run_config(order, &[root.given(), vec![given]].concat()),
            made: root.made,
        });
    }
    Ok(parts)
}
