//! Prepares what is run: the kernel, the root filesystem, and how the application is run.
//!
//! ```text
//! RunTarget ─ prepare ─► PreparedBoot ─ boot ─► Boot, with files that outlive what they came from
//!   Kernel                    │
//!   Project ─ runtime, target ┤ kernel, root filesystem, arguments, variables, volumes
//!   Image, Program            │
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::plan::RunRequest;
//! use kraft_engine::boot::{self, PrepareOptions};
//! use kraft_engine::dockerfile::BuildOptions;
//! use kraft_engine::run_target::{self, RunTargetArgs};
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
//! let first = Some(kernel.as_os_str());
//! let args = RunTargetArgs { first, ..RunTargetArgs::default() };
//! let target = run_target::resolve(&context, args)?.target;
//! let request = RunRequest::default();
//! let building = BuildOptions::default();
//! let prepared = boot::prepare(&context, target, PrepareOptions::new(&request, &building))?;
//! assert_eq!((prepared.kernel(), prepared.kernel_size), (kernel.as_path(), 64));
//!
//! let boot = prepared.boot(kernel, None);
//! assert_eq!(boot.image.arch.name(), "arm64");
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;
use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
use kraft_core::machine::MachineSpec;
use kraft_core::mount::Volume;
use kraft_core::plan::{Boot, RunRequest};
use kraft_core::platform::Platform;
use kraft_core::program::Program;
use kraft_core::reference::{Reference, ReferenceError};
use kraft_oci::choose::{PlatformFilter, is_same_arch};
use kraft_oci::store::Store;
use kraft_oci::unpack;
use kraft_rootfs::ExtraFile;
use kraft_sys::fs;

use super::dockerfile::{self, BuildOptions, BuildOutput};
use super::init;
use super::obtain::{self, Obtained, Pull};
use super::pins;
use super::probe;
use super::project::{self, Project};
use super::rootfs::{self, RootSource};
use super::run_target::{KernelError, KernelFile, RunTarget};
use super::settings::{self, AppConfig};
use super::warm::Digests;
use super::workplace::{self, Workplace};
use super::{builtin, images, libraries, runtime, unpacked};
use crate::context::Context;
use kraft_config::dirs::absolute;

/// The limit of a Dockerfile that a dry run reads, in bytes.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// Why a target cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel cannot be run.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel of an image cannot be run.
    #[error("the image `{image}` cannot be run")]
    ImageKernel {
        /// The image.
        image: String,
        /// Why not.
        source: KernelError,
    },
    /// No VMM of kraft runs the platform of an image.
    #[error("the image `{image}` is for {platform}, which kraft cannot run")]
    Platform {
        /// The image.
        image: String,
        /// Its platform and architecture.
        platform: String,
    },
    /// The name of a runtime is not the name of an image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image store cannot be opened.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The image cannot be obtained.
    #[error(transparent)]
    Obtain(#[from] obtain::Error),
    /// The runtime that was named cannot be obtained.
    #[error(transparent)]
    Runtime(obtain::Error),
    /// The image cannot be unpacked.
    #[error(transparent)]
    Unpacked(#[from] unpacked::Error),
    /// The image that the project is pinned to is not known.
    #[error(transparent)]
    Pins(#[from] pins::Error),
    /// No target of the project was built.
    #[error("no target has been built")]
    NoTarget,
    /// The targets or the configuration of the project cannot be used.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The runtime or the volumes of the project cannot be used.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The project's directory cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// There is no such root filesystem.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The root filesystem cannot be built from its Dockerfile or its image.
    #[error(transparent)]
    Dockerfile(#[from] Box<dockerfile::Error>),
    /// The configuration of a target cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// How a target is prepared.
#[derive(Clone, Copy, Debug)]
pub struct PrepareOptions<'a> {
    /// The machine that is asked for.
    pub request: &'a RunRequest,
    /// The root filesystem of `--rootfs`.
    pub rootfs: Option<&'a Path>,
    /// How it is built.
    pub building: &'a BuildOptions,
    /// Whether nothing is built, because the plan is only printed.
    pub dry: bool,
    /// The image of `--runtime`.
    pub runtime: Option<&'a str>,
    /// The build target of `--target`.
    pub target: Option<&'a str>,
    /// When images are pulled.
    pub pull: Pull,
}

impl<'a> PrepareOptions<'a> {
    /// Prepares the requested machine with what its target names, and pulls images that are
    /// missing.
    #[must_use]
    pub fn new(request: &'a RunRequest, building: &'a BuildOptions) -> Self {
        Self {
            request,
            rootfs: None,
            building,
            dry: false,
            runtime: None,
            target: None,
            pull: Pull::Missing,
        }
    }
}

/// What boots. Its files exist at least as long as this value.
#[derive(Debug)]
pub struct PreparedBoot {
    /// Where the kernel comes from: `oci://NAME` or `kernel://FILE`.
    origin: String,
    /// The kernel.
    kernel: PathBuf,
    /// What it is.
    image: KernelImage,
    /// Its size in bytes.
    pub kernel_size: u64,
    /// The root filesystem.
    pub root: PreparedRoot,
    /// Whether the kernel mounts its root filesystem without a parameter that asks for it.
    mounts_by_itself: bool,
    /// What the kernel can do, as far as its options or library records contain that.
    pub abilities: Abilities,
    /// The program that comes before the arguments of the command line, if they do not replace it.
    pub program: Option<String>,
    /// How the application is run.
    given: AppConfig,
    /// Directories of the project that are mounted.
    pub volumes: Vec<Volume>,
    /// Whether the machine needs a link to the kernel, because the image may be removed.
    pub borrowed: bool,
    /// The lease on the image.
    _image: Option<Obtained>,
    /// The lease on the root filesystem that was built.
    made: Option<BuildOutput>,
    /// Files that are added to the root filesystem.
    pub extra: Vec<ExtraFile>,
}

/// A root filesystem before the machine is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparedRoot {
    /// None.
    None,
    /// It is built from this when the machine is created.
    Source(RootSource),
    /// An archive that was built from a Dockerfile or an image.
    Built(PathBuf),
    /// An archive of an image.
    Unpacked(PathBuf),
    /// A Linux program at the root, with the libraries of this host that it needs.
    Program {
        /// The program.
        file: PathBuf,
        /// Files of this host by their path in the machine.
        libraries: BTreeMap<PathBuf, PathBuf>,
    },
    /// A Linux program that its loader reads without an archive.
    Bare(PathBuf),
}

impl PreparedBoot {
    /// Returns what boots, from these files.
    pub fn boot(&self, kernel: PathBuf, initrd: Option<PathBuf>) -> Boot {
        Boot {
            origin: self.origin.clone(),
            kernel,
            image: self.image,
            abilities: self.abilities,
            // A Unikraft kernel mounts an archive only if a parameter asks for it; one that has no
            // file systems ignores the parameter.
            mounts_initrd: initrd.is_some()
                && self.image.guest == Guest::Unikraft
                && !self.mounts_by_itself,
            initrd,
            args: self.given.cmd.clone().unwrap_or_default(),
            workdir: self.given.workdir.clone(),
            env: self.given.env.clone(),
            labels: self.given.labels.clone(),
        }
    }

    /// Returns what boots, as a dry run prints it: from the files as they are now.
    pub fn dry_boot(&self) -> Boot {
        let initrd = match &self.root {
            PreparedRoot::None => None,
            PreparedRoot::Source(
                RootSource::Files(path) | RootSource::Dockerfile { file: path, .. },
            )
            | PreparedRoot::Built(path)
            | PreparedRoot::Program { file: path, .. }
            | PreparedRoot::Bare(path)
            | PreparedRoot::Unpacked(path) => Some(absolute(path)),
            PreparedRoot::Source(RootSource::Image(name)) => Some(PathBuf::from(name.to_string())),
        };
        self.boot(self.kernel.clone(), initrd)
    }

    /// Returns the program of the root filesystem's image, which arguments do not replace.
    pub fn entrypoint(&self) -> Vec<String> {
        let Some(made) = &self.made else {
            return Vec::new();
        };
        let settings = kraft_rootfs::dockerfile::Settings {
            cmd: Vec::new(),
            ..made.settings.clone()
        };
        let config = AppConfig::of_rootfs(&settings);
        config.cmd.unwrap_or_default()
    }

    /// Returns whether the root filesystem is the one that a machine has: its `initrd` is then the same
    /// file. If it is still to be built, that is not known, and false.
    pub fn has_root(&self, initrd: Option<&Path>) -> bool {
        match (&self.root, initrd) {
            (PreparedRoot::None, None) => true,
            (PreparedRoot::Built(path) | PreparedRoot::Unpacked(path), Some(initrd)) => {
                fs::is_same_file(path, initrd)
            }
            _ => false,
        }
    }

    /// Returns the digests of the files of a machine that was planned from this, as far as they are known: of
    /// what an image contains, and of archives in the cache.
    ///
    /// # Errors
    ///
    /// If an archive in the cache cannot be read.
    pub fn digests(&self, spec: &MachineSpec) -> Result<Digests, fs::Error> {
        let kernel = self
            .borrowed
            .then(|| unpack::digest(&self.kernel))
            .flatten();
        // The machine may have a copy with more files.
        let is_same = self.extra.is_empty() && self.has_root(spec.initrd.as_deref());
        let initrd = match &self.root {
            PreparedRoot::Unpacked(path) if is_same => unpack::digest(path),
            PreparedRoot::Built(path) if is_same => Some(dockerfile::digest_of(path)?),
            _ => None,
        };
        Ok(Digests { kernel, initrd })
    }

    /// Returns the size of the root filesystem, in bytes, as far as it exists already.
    pub fn root_size(&self) -> u64 {
        match &self.root {
            PreparedRoot::Built(path) | PreparedRoot::Unpacked(path) => {
                std::fs::metadata(path).map_or(0, |metadata| metadata.len())
            }
            PreparedRoot::None
            | PreparedRoot::Source(_)
            | PreparedRoot::Program { .. }
            | PreparedRoot::Bare(_) => 0,
        }
    }

    /// Returns what the kernel is.
    pub fn guest(&self) -> Guest {
        self.image.guest
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }
}

/// Prepares a target: images are pulled and unpacked, and the root filesystem is built from a
/// Dockerfile or an image.
///
/// # Errors
///
/// If an image cannot be obtained, has no kernel for this host, or the root filesystem cannot be
/// built.
pub fn prepare(
    ctx: &Context,
    target: RunTarget,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    match target {
        RunTarget::Program { path, program } => of_program(ctx, &path, &program, options),
        RunTarget::Kernel(kernel) => {
            let mut prepared = of_kernel(&kernel);
            prepare_root(ctx, &mut prepared, None, options)?;
            Ok(prepared)
        }
        RunTarget::Image(name) => {
            let filter = requested_platform(options);
            let mut prepared = of_image(ctx, &name, &filter, options)?;
            prepare_root(ctx, &mut prepared, None, options)?;
            Ok(prepared)
        }
        RunTarget::Project(project) => of_project(ctx, &project, options),
    }
}

/// Prepares a Linux program on the image that loads it: that of `--runtime`, else the default.
fn of_program(
    ctx: &Context,
    path: &Path,
    program: &Program,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    let mut filter = requested_platform(options);
    if filter.arch.is_none() {
        filter.arch = program.arch.map(|arch| arch.name().to_owned());
    }
    let choice = runtime::choose(options.runtime, None, &ctx.settings.default_runtime);
    let name = builtin::reference(choice.name)?;
    ctx.info(&format!(
        "`{}` is a Linux program: running it on {}",
        path.display(),
        runtime::shown(&name)
    ));
    let mut prepared = of_runtime(ctx, &name, &filter, options)?;
    if options.rootfs.is_some() {
        ctx.warn("`--rootfs` is ignored: the program is the root filesystem");
    }
    let path = absolute(path);
    if prepared.abilities.loads_from_files == Some(true) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("/{file}");
        prepared.given.cmd = Some(vec![name.clone()]);
        prepared.program = Some(name);
        prepared.root = PreparedRoot::Program {
            libraries: libraries_of(ctx, prepared.guest(), &path, program),
            file: path,
        };
    } else {
        prepared.root = PreparedRoot::Bare(path);
        prepared.mounts_by_itself = true;
    }
    Ok(prepared)
}

/// Finds the libraries of this host that a program needs, and reports them. Only for the built-in
/// runtime: other loaders cannot map most of them.
fn libraries_of(
    ctx: &Context,
    guest: Guest,
    path: &Path,
    program: &Program,
) -> BTreeMap<PathBuf, PathBuf> {
    if guest != Guest::Runtime {
        return BTreeMap::new();
    }
    let needed = libraries::of_program(path, program);
    if !needed.files.is_empty() {
        ctx.info(&format!(
            "`{}` is dynamically linked: {} libraries of this host go with it",
            path.display(),
            needed.files.len()
        ));
    }
    if !needed.missing.is_empty() {
        let missing: Vec<String> = needed.missing.iter().map(|it| format!("`{it}`")).collect();
        ctx.warn(&format!(
            "`{}` needs {}, which this host does not have for {}: link it with `-static`, or put it \
             in an image with its libraries",
            path.display(),
            missing.join(", "),
            program.arch.map_or("its processor", Arch::name)
        ));
    }
    needed.files
}

fn of_kernel(file: &KernelFile) -> PreparedBoot {
    let path = &file.path;
    let name = path.file_name().unwrap_or(path.as_os_str());
    PreparedBoot {
        origin: format!("kernel://{}", name.to_string_lossy()),
        kernel: absolute(path),
        image: file.image,
        kernel_size: file.size,
        root: PreparedRoot::None,
        mounts_by_itself: false,
        abilities: abilities(file.image, probe::abilities(path)),
        program: None,
        given: AppConfig::default(),
        volumes: Vec::new(),
        borrowed: false,
        _image: None,
        made: None,
        extra: Vec::new(),
    }
}

/// Returns what a kernel can do; `probed` is what its file says.
fn abilities(image: KernelImage, probed: Abilities) -> Abilities {
    match image.guest {
        Guest::Runtime => Abilities::RUNTIME,
        Guest::Unikraft | Guest::Other => probed,
    }
}

/// Prepares the root filesystem: that of `--rootfs`, else that of the project. What its image runs
/// replaces what the kernel's image runs.
fn prepare_root(
    ctx: &Context,
    prepared: &mut PreparedBoot,
    project: Option<&Project>,
    options: PrepareOptions<'_>,
) -> Result<(), Error> {
    let source = match (options.rootfs, project) {
        (Some(word), project) => Some(RootSource::from_argument(word, "--rootfs", project)?),
        (None, Some(project)) if !prepared.mounts_by_itself => RootSource::from_project(project)?,
        (None, _) => None,
    };
    let Some(source) = source else {
        return Ok(());
    };
    prepared.root = PreparedRoot::Source(source.clone());
    if options.dry {
        if let RootSource::Dockerfile { file, .. } = &source {
            let cmd = match options.building.target {
                None => init::command_of(&text_of(file)),
                Some(_) => None,
            };
            let decided = project.is_some_and(|project| project.kraftfile.cmd.is_some());
            if cmd.is_none() && !decided && options.request.args.is_empty() {
                ctx.warn(&format!(
                    "a dry run builds nothing: what the image of `{}` runs is not known",
                    file.display()
                ));
            }
            let above = AppConfig {
                cmd,
                ..AppConfig::default()
            };
            prepared.given = std::mem::take(&mut prepared.given).overridden_by(&above);
        }
        return Ok(());
    }
    let arch = prepared.image.arch.name();
    if let Some(made) = rootfs::prepare(ctx, &source, arch, options.building).map_err(Box::new)? {
        prepared.root = PreparedRoot::Built(made.archive.clone());
        let above = AppConfig::of_rootfs(&made.settings);
        prepared.given = std::mem::take(&mut prepared.given).overridden_by(&above);
        prepared.made = Some(made);
    }
    Ok(())
}

/// Reads a Dockerfile; empty if it cannot be read.
fn text_of(file: &Path) -> String {
    let bytes = fs::read_file(file, LARGEST_DOCKERFILE).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the platform and architecture that the flags ask for.
fn requested_platform(options: PrepareOptions<'_>) -> PlatformFilter {
    let request = options.request;
    PlatformFilter {
        os: request.platform.map(|platform| platform.name().to_owned()),
        arch: request.arch.map(|arch| arch.name().to_owned()),
        features: Vec::new(),
    }
}

/// Prepares the image that an application runs on.
fn of_runtime(
    ctx: &Context,
    name: &Reference,
    filter: &PlatformFilter,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    of_image(ctx, name, filter, options).map_err(|error| match error {
        Error::Obtain(error) => Error::Runtime(error),
        error => error,
    })
}

fn of_image(
    ctx: &Context,
    name: &Reference,
    filter: &PlatformFilter,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    let store = images::open(ctx)?;
    let obtained = obtain::obtain(ctx, &store, name, filter, options.pull);
    let image = match (obtained, elsewhere(filter)) {
        (Err(error), Some(other)) if error.is_no_match() => {
            // A kernel may boot on a VMM that it was not built for.
            let image = obtain::obtain(ctx, &store, name, &other, options.pull);
            let prepared = image.map(|image| of_obtained(ctx, &*store, image));
            return match prepared {
                Ok(Ok(prepared)) if boots_elsewhere(prepared.image.boot, filter) => Ok(prepared),
                _ => Err(error.into()),
            };
        }
        (obtained, _) => obtained?,
    };
    let os = &image.config.platform.os;
    // With `--plat`, the plan refuses it.
    if options.request.platform.is_none() && !images::host_preference().platforms.contains(os) {
        return Err(Error::Platform {
            image: image.name.to_string(),
            platform: image.config.platform.pair(),
        });
    }
    of_obtained(ctx, &*store, image)
}

/// Returns the filter for the images of the other platform that may boot where one was asked for that an
/// image does not have.
fn elsewhere(filter: &PlatformFilter) -> Option<PlatformFilter> {
    let other = match filter.os.as_deref()?.parse() {
        Ok(Platform::Qemu) => Platform::Firecracker,
        Ok(Platform::Firecracker) => Platform::Qemu,
        Ok(Platform::Xen) | Err(_) => return None,
    };
    Some(PlatformFilter {
        os: Some(other.name().to_owned()),
        ..filter.clone()
    })
}

/// Returns whether a kernel boots on the platform that was asked for although it was built for another.
fn boots_elsewhere(boot: BootProtocol, asked: &PlatformFilter) -> bool {
    let asked = asked.os.as_deref().and_then(|os| os.parse().ok());
    match boot {
        BootProtocol::Linux64 => asked == Some(Platform::Qemu),
        BootProtocol::Pvh => asked == Some(Platform::Firecracker),
        BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::LinuxBzImage => false,
    }
}

fn of_obtained(ctx: &Context, store: &dyn Store, image: Obtained) -> Result<PreparedBoot, Error> {
    let files = unpacked::unpack(ctx, store, &image)?;
    let kernel = unpacked::kernel(&image, &files)?;
    let file = KernelFile::open(&kernel).map_err(|source| Error::ImageKernel {
        image: image.name.to_string(),
        source,
    })?;
    let kind = file.image;
    let declared = &image.config.platform.architecture;
    if !is_same_arch(declared, kind.arch.name()) {
        ctx.warn(&format!(
            "the configuration of the image `{}` is for {declared}, and its kernel is for {}",
            image.name, kind.arch
        ));
    }
    let options = image.config.platform.os_features.iter().map(String::as_str);
    let probed = Abilities::of_options(options).or(probe::abilities(&kernel));
    Ok(PreparedBoot {
        origin: format!("oci://{}", image.name),
        kernel,
        image: kind,
        kernel_size: file.size,
        root: files
            .initrd
            .map_or(PreparedRoot::None, PreparedRoot::Unpacked),
        // Also if its kernel was built with a root filesystem inside: another one comes with the
        // image, or replaces it (KraftKit, `cli/kraft/run/runner_package.go`).
        mounts_by_itself: false,
        abilities: abilities(kind, probed),
        program: None,
        given: AppConfig::of_image(&image.config),
        volumes: Vec::new(),
        borrowed: true,
        _image: Some(image),
        made: None,
        extra: Vec::new(),
    })
}

fn of_project(
    ctx: &Context,
    project: &Project,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    let resolved = project.resolved();
    let mut own = AppConfig::of_project(&ctx.env, &resolved);
    let kernel = resolved.runtime.as_ref();
    let mut prepared = if let Some(name) = options.runtime {
        let name = builtin::reference(name)?;
        of_runtime(ctx, &name, &requested_platform(options), options)?
    } else if let Some(file) = kernel.and_then(|kernel| kernel.kernel.as_ref()) {
        of_kernel(&KernelFile::open(&project.dir.join(file))?)
    } else if kernel.is_some() {
        let mut filter = settings::runtime_filter(&resolved);
        let typed = requested_platform(options);
        filter.os = typed.os.or(filter.os);
        filter.arch = typed.arch.or(filter.arch);
        let name = builtin::reference(&settings::runtime_name(&resolved)?)?;
        if project.implied_runtime {
            runtime::report_default(ctx, &name);
        }
        let name = pins::pinned(ctx, &*images::open(ctx)?, project, &name)?;
        of_runtime(ctx, &name, &filter, options)?
    } else {
        let prepared = of_target(ctx, project, &resolved, options)?;
        if prepared.abilities.parameters == Some(false) {
            // They are compiled in: the kernel reads none from its command line.
            own.env.clear();
        }
        prepared
    };
    prepare_root(ctx, &mut prepared, Some(project), options)?;
    prepared.given = prepared.given.overridden_by(&own);
    prepared.volumes = settings::volumes(ctx, project, &resolved, &options.request.volumes)?;
    Ok(prepared)
}

/// Prepares the kernel that was built for a target of a project.
fn of_target(
    ctx: &Context,
    project: &Project,
    resolved: &kraft_core::kraftfile::Resolved,
    options: PrepareOptions<'_>,
) -> Result<PreparedBoot, Error> {
    let filter = project::TargetFilter {
        name: options.target,
        platform: options.request.platform,
        arch: options.request.arch,
    };
    let workplace = Workplace::find(ctx, project)?;
    let targets = project::built_targets(ctx, &workplace, resolved, &filter)?;
    let preference = images::host_preference();
    let likes = |target: &&kraft_core::kraftfile::ResolvedTarget| {
        (
            !preference.platforms.contains(&target.platform),
            target.architecture != preference.arch,
        )
    };
    let Some(target) = targets.iter().min_by_key(likes) else {
        return Err(Error::NoTarget);
    };
    if targets.len() > 1 {
        ctx.info(&format!(
            "{} targets were built; running {} ({}/{})",
            targets.len(),
            target.name,
            target.platform,
            target.architecture
        ));
    }
    let mut prepared = of_kernel(&KernelFile::open(&workplace.kernel(target))?);
    let config = project::built_config(&workplace, target)?;
    prepared.mounts_by_itself = config.value("CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD") == Some("y");
    let options = config.features();
    let options = options.iter().map(String::as_str);
    prepared.abilities = Abilities::of_options(options).or(prepared.abilities);
    prepared.given.cmd.clone_from(&target.cmd);
    Ok(prepared)
}
