//! What the user pointed at, and what of it will boot.
//!
//! ```text
//! a word ─ find ─► Subject ─ ready ─► Ready ─ stay ─► Boot, with files that outlive what they came from
//!   FILE             Kernel              │
//!   DIR, nothing     Project ─ runtime, ─┤ kernel, root filesystem, arguments, variables, volumes
//!   NAME             Image               │
//! ```

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::{self, KernelImage, NotAKernel};
use kraft_core::kraftfile::FILE_NAMES;
use kraft_core::mount::Volume;
use kraft_core::plan::{Boot, RunRequest};
use kraft_core::reference::Reference;
use kraft_oci::choose::{Wish, is_same_arch};
use kraft_oci::store::Store;
use kraft_sys::fs;

use super::binary;
use super::components;
use super::dockerfile::{BuildOptions, BuildOutput};
use super::init;
use super::obtain::{self, Obtained, Pull};
use super::pins;
use super::probe;
use super::project::{self, Project};
use super::rootfs::{self, RootSource};
use super::settings::{self, AppConfig};
use super::workplace::Workplace;
use super::{images, unpacked};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use kraft_config::dirs::absolute;

/// A Dockerfile that is only looked at is not longer than this, in bytes.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// What the user pointed at.
#[derive(Debug)]
pub enum Subject {
    /// A kernel file.
    Kernel(PathBuf),
    /// An image, by its name.
    Image(Reference),
    /// A project.
    Project(Box<Project>),
}

/// How a subject is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The first word that was typed.
    pub word: Option<&'a OsString>,
    /// The Kraftfile that was named.
    pub kraftfile: Option<&'a Path>,
    /// The image that was typed to run on.
    pub runtime: Option<&'a str>,
}

/// Finds out what is meant; the answer also tells whether the word was that, or is an argument.
///
/// A word that is a file or a directory is that. In the directory of a project, a word that names
/// no registry and no image of this computer is an argument of its application.
pub fn find(ctx: &Context, look: Look<'_>) -> Result<(Subject, bool), Failure> {
    let Some(word) = look.word else {
        let project = project::open_or_lone(ctx, None, look.kraftfile, look.runtime)?;
        let project = project.ok_or_else(|| {
            Failure::usage("there is nothing to run here").hint(
                "name a kernel file, an image or the directory of a project: `kraft run WHAT`",
            )
        })?;
        return Ok((project_subject(ctx, project)?, false));
    };
    let path = Path::new(word);
    if path.is_dir() {
        let project = project::open_or_lone(ctx, Some(path), look.kraftfile, look.runtime)?;
        let project = project.ok_or_else(|| project::missing(Some(path)))?;
        return Ok((project_subject(ctx, project)?, true));
    }
    let here = look.kraftfile.is_some() || FILE_NAMES.iter().any(|name| Path::new(name).is_file());
    if path.exists() && !here {
        return Ok((Subject::Kernel(path.to_owned()), true));
    }
    if is_kernel(path) {
        return Ok((Subject::Kernel(path.to_owned()), true));
    }
    let name = word.to_str().map(str::parse::<Reference>);
    let looks_like_a_path = word.to_string_lossy().starts_with(['/', '.', '~', '-']);
    if here {
        let named = match &name {
            Some(Ok(name)) if !looks_like_a_path => {
                name.registry().is_some() || images::look_up(&*images::open(ctx)?, name)?.is_some()
            }
            _ => false,
        };
        if !named {
            let project = project::open(ctx, None, look.kraftfile)?;
            return Ok((project_subject(ctx, project)?, false));
        }
    }
    match name {
        Some(Ok(name)) if !looks_like_a_path => Ok((Subject::Image(name), true)),
        Some(Err(error)) if !looks_like_a_path => {
            Err(no_file(path).hint(format!("it names no image either: {error}")))
        }
        _ => Err(match look.runtime {
            Some(runtime) => no_file(path).hint(format!(
                "the first argument is what to run, and `--runtime` what a project or a program runs \
                 on; to run the image itself: `kraft run {runtime} {}`",
                path.display()
            )),
            None => no_file(path),
        }),
    }
}

fn project_subject(ctx: &Context, project: Project) -> Result<Subject, Failure> {
    let workplace = Workplace::find(ctx, &project)?;
    let project = components::complete(ctx, project, &workplace)?;
    Ok(Subject::Project(Box::new(project)))
}

fn no_file(path: &Path) -> Failure {
    let message = format!("there is no file `{}`", path.display());
    Failure::new(Kind::NotFound, message)
        .hint("give the path of a kernel file, or the name of an image: `kraft run WHAT`")
}

/// How a subject is made ready.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What was typed.
    pub request: &'a RunRequest,
    /// The root filesystem that was typed.
    pub rootfs: Option<&'a Path>,
    /// What was typed about building it.
    pub building: &'a BuildOptions,
    /// Whether nothing is to be built: it will only be shown.
    pub dry: bool,
    /// The image that was typed to run the project on.
    pub runtime: Option<&'a str>,
    /// The target that was typed.
    pub target: Option<&'a str>,
    /// When images are fetched.
    pub pull: Pull,
}

/// What will boot, with files that are only sure to stay as long as this does.
#[derive(Debug)]
pub struct Ready {
    /// Where the kernel came from, as shown to people.
    origin: String,
    /// The kernel.
    kernel: PathBuf,
    /// What it is.
    image: KernelImage,
    /// Its size in bytes.
    pub kernel_size: u64,
    /// What the root filesystem is.
    pub root: Root,
    /// Whether the kernel unpacks its root filesystem unasked, or reads it in its own way.
    mounts_by_itself: bool,
    /// What it can do, as far as its options or its library records say.
    pub abilities: Abilities,
    /// The program that words which were typed are arguments of, and do not take the place of.
    pub program: Option<String>,
    /// What runs the application.
    given: AppConfig,
    /// Directories of the project that the machine sees.
    pub volumes: Vec<Volume>,
    /// Whether the kernel has to be linked to, because what it came from may go.
    pub borrowed: bool,
    /// Keeps the image it came from.
    _image: Option<Obtained>,
    /// Keeps the root filesystem that was made.
    made: Option<BuildOutput>,
}

/// What a root filesystem is before the machine is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// None.
    None,
    /// To be built from this.
    Source(RootSource),
    /// An archive that was made from a Dockerfile or an image.
    Made(PathBuf),
    /// An archive out of an image.
    Unpacked(PathBuf),
    /// A Linux program, to be the only file of one.
    Program(PathBuf),
    /// A Linux program that its loader takes as it is.
    Bare(PathBuf),
}

impl Ready {
    /// Returns what will boot, from these files.
    pub fn boot(&self, kernel: PathBuf, initrd: Option<PathBuf>) -> Boot {
        Boot {
            origin: self.origin.clone(),
            kernel,
            image: self.image,
            abilities: self.abilities,
            // A Unikraft kernel that was not told to mount an archive leaves it alone; one that
            // has no file systems skips what it is told.
            mounts_initrd: initrd.is_some() && self.image.unikraft && !self.mounts_by_itself,
            initrd,
            args: self.given.cmd.clone().unwrap_or_default(),
            env: self.given.env.clone(),
            labels: self.given.labels.clone(),
        }
    }

    /// Returns what will boot, as a dry run shows it.
    pub fn boot_as_it_lies(&self) -> Boot {
        let initrd = match &self.root {
            Root::None => None,
            Root::Source(RootSource::Files(path) | RootSource::Dockerfile { file: path, .. })
            | Root::Made(path)
            | Root::Program(path)
            | Root::Bare(path)
            | Root::Unpacked(path) => Some(absolute(path)),
            Root::Source(RootSource::Image(name)) => Some(PathBuf::from(name.to_string())),
        };
        self.boot(self.kernel.clone(), initrd)
    }

    /// Returns whether the kernel is one of Unikraft's.
    pub fn is_unikraft(&self) -> bool {
        self.image.unikraft
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }
}

/// Makes a subject ready to boot; images are fetched and unpacked.
pub fn ready(ctx: &Context, subject: Subject, terms: Terms<'_>) -> Result<Ready, Failure> {
    match subject {
        Subject::Kernel(path) if binary::of_file(&path).is_some() && !is_kernel(&path) => {
            of_program(ctx, &path, terms)
        }
        Subject::Kernel(path) => {
            let mut ready = of_kernel(&path)?;
            take_root(ctx, &mut ready, None, terms)?;
            Ok(ready)
        }
        Subject::Image(name) => {
            let wish = typed_wish(terms);
            let mut ready = of_image(ctx, &name, &wish, terms)?;
            take_root(ctx, &mut ready, None, terms)?;
            Ok(ready)
        }
        Subject::Project(project) => of_project(ctx, &project, terms),
    }
}

/// A Linux program on the image that loads it: the one that was typed, else KraftKit's.
fn of_program(ctx: &Context, path: &Path, terms: Terms<'_>) -> Result<Ready, Failure> {
    let program = binary::of_file(path);
    let mut wish = typed_wish(terms);
    if wish.arch.is_none() {
        let arch = program.as_ref().and_then(|program| program.arch);
        wish.arch = arch.map(|arch| arch.name().to_owned());
    }
    let name = terms.runtime.unwrap_or(project::LONE_RUNTIME);
    ctx.info(&format!(
        "`{}` is a Linux program: running it on {name}",
        path.display()
    ));
    let mut ready = of_image(ctx, &name.parse()?, &wish, terms)?;
    if terms.rootfs.is_some() {
        ctx.warn("`--rootfs` is ignored: the program is the root filesystem");
    }
    let path = absolute(path);
    if ready.abilities.loads_from_files == Some(true) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let program = format!("/{file}");
        ready.given.cmd = Some(vec![program.clone()]);
        ready.program = Some(program);
        ready.root = Root::Program(path);
    } else {
        ready.root = Root::Bare(path);
        ready.mounts_by_itself = true;
    }
    Ok(ready)
}

fn is_kernel(path: &Path) -> bool {
    fs::open_file(path).is_ok_and(|mut file| kernel::identify(&mut file).is_ok())
}

fn of_kernel(path: &Path) -> Result<Ready, Failure> {
    let (image, kernel_size) = look_at(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Ready {
        origin: format!("kernel://{}", name.to_string_lossy()),
        kernel: absolute(path),
        image,
        kernel_size,
        root: Root::None,
        mounts_by_itself: false,
        abilities: probe::abilities(path),
        program: None,
        given: AppConfig::default(),
        volumes: Vec::new(),
        borrowed: false,
        _image: None,
        made: None,
    })
}

/// Takes the root filesystem that was typed, else that of the project. What runs in it is what its
/// image says, unless somebody nearer says something else.
fn take_root(
    ctx: &Context,
    ready: &mut Ready,
    project: Option<&Project>,
    terms: Terms<'_>,
) -> Result<(), Failure> {
    let source = match (terms.rootfs, project) {
        (Some(word), project) => Some(RootSource::from_argument(word, "--rootfs", project)?),
        (None, Some(project)) if !ready.mounts_by_itself => RootSource::from_project(project)?,
        (None, _) => None,
    };
    let Some(source) = source else {
        return Ok(());
    };
    ready.root = Root::Source(source.clone());
    if terms.dry {
        if let RootSource::Dockerfile { file, .. } = &source {
            let cmd = match terms.building.target {
                None => init::command_of(&text_of(file)),
                Some(_) => None,
            };
            let decided = project.is_some_and(|project| project.kraftfile.cmd.is_some());
            if cmd.is_none() && !decided && terms.request.args.is_empty() {
                ctx.warn(&format!(
                    "a dry run builds nothing: what the image of `{}` runs is not known",
                    file.display()
                ));
            }
            let above = AppConfig {
                cmd,
                ..AppConfig::default()
            };
            ready.given = std::mem::take(&mut ready.given).overridden_by(&above);
        }
        return Ok(());
    }
    let arch = ready.image.arch.name();
    if let Some(made) = rootfs::prepare(ctx, &source, arch, terms.building)? {
        ready.root = Root::Made(made.archive.clone());
        let above = AppConfig::of_rootfs(&made.settings);
        ready.given = std::mem::take(&mut ready.given).overridden_by(&above);
        ready.made = Some(made);
    }
    Ok(())
}

/// Reads a Dockerfile; one that cannot be read says nothing.
fn text_of(file: &Path) -> String {
    let bytes = kraft_sys::fs::read_file(file, LARGEST_DOCKERFILE).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns what the flags ask of an image.
fn typed_wish(terms: Terms<'_>) -> Wish {
    let request = terms.request;
    Wish {
        os: request.platform.map(|platform| platform.name().to_owned()),
        arch: request.arch.map(|arch| arch.name().to_owned()),
        features: Vec::new(),
    }
}

fn of_image(
    ctx: &Context,
    name: &Reference,
    wish: &Wish,
    terms: Terms<'_>,
) -> Result<Ready, Failure> {
    let store = images::open(ctx)?;
    let image = obtain::obtain(ctx, &store, name, wish, terms.pull)?;
    let os = &image.config.platform.os;
    // With `--plat` it is the plan that says so.
    if terms.request.platform.is_none() && !images::host_preference().platforms.contains(os) {
        return Err(Failure::new(
            Kind::Host,
            format!(
                "the image `{}` is for {}, and kraft runs no such machines yet",
                image.name,
                image.config.platform.pair()
            ),
        )
        .hint("take one that is for qemu; `kraft pkg info` shows what an image is for"));
    }
    of_obtained(ctx, &*store, image)
}

fn of_obtained(ctx: &Context, store: &dyn Store, image: Obtained) -> Result<Ready, Failure> {
    let files = unpacked::unpack(ctx, store, &image)?;
    let kernel = unpacked::kernel(&image, &files)?;
    let (kind, kernel_size) = look_at(&kernel)
        .map_err(|failure| failure.about(&format!("the image `{}` cannot be run", image.name)))?;
    let says = &image.config.platform.architecture;
    if !is_same_arch(says, kind.arch.name()) {
        ctx.warn(&format!(
            "the image `{}` says that it is for {says}, and its kernel is for {}",
            image.name, kind.arch
        ));
    }
    let options = image.config.platform.os_features.iter().map(String::as_str);
    let abilities = Abilities::of_options(options).or(probe::abilities(&kernel));
    Ok(Ready {
        origin: format!("oci://{}", image.name),
        kernel,
        image: kind,
        kernel_size,
        root: files.initrd.map_or(Root::None, Root::Unpacked),
        // Also where its kernel was built with a root filesystem inside: who runs an image, or
        // uses it as a runtime, brings another one (KraftKit, `cli/kraft/run/runner_package.go`).
        mounts_by_itself: false,
        abilities,
        program: None,
        given: AppConfig::of_image(&image.config),
        volumes: Vec::new(),
        borrowed: true,
        _image: Some(image),
        made: None,
    })
}

fn of_project(ctx: &Context, project: &Project, terms: Terms<'_>) -> Result<Ready, Failure> {
    let resolved = project.resolved();
    let mut own = AppConfig::of_project(&ctx.env, &resolved);
    let runtime = resolved.runtime.as_ref();
    let mut ready = if let Some(name) = terms.runtime {
        of_image(ctx, &name.parse()?, &typed_wish(terms), terms)?
    } else if let Some(file) = runtime.and_then(|runtime| runtime.kernel.as_ref()) {
        of_kernel(&project.dir.join(file))?
    } else if runtime.is_some() {
        let mut wish = settings::runtime_wish(&resolved);
        let typed = typed_wish(terms);
        wish.os = typed.os.or(wish.os);
        wish.arch = typed.arch.or(wish.arch);
        let name: Reference = settings::runtime_name(&resolved)?.parse()?;
        let name = pins::pinned(ctx, &*images::open(ctx)?, project, &name)?;
        of_image(ctx, &name, &wish, terms)?
    } else {
        let ready = of_target(ctx, project, &resolved, terms)?;
        if ready.abilities.parameters == Some(false) {
            // They are compiled in, and the command line cannot carry them.
            own.env.clear();
        }
        ready
    };
    take_root(ctx, &mut ready, Some(project), terms)?;
    ready.given = ready.given.overridden_by(&own);
    ready.volumes = settings::volumes(project, &resolved, &terms.request.volumes)?;
    Ok(ready)
}

/// The kernel that was built for a target of a project.
fn of_target(
    ctx: &Context,
    project: &Project,
    resolved: &kraft_core::kraftfile::Resolved,
    terms: Terms<'_>,
) -> Result<Ready, Failure> {
    let wish = project::TargetFilter {
        name: terms.target,
        platform: terms.request.platform,
        arch: terms.request.arch,
    };
    let workplace = Workplace::find(ctx, project)?;
    let targets = project::built_targets(ctx, &workplace, resolved, &wish)?;
    let taste = images::host_preference();
    let likes = |target: &&kraft_core::kraftfile::ResolvedTarget| {
        (
            !taste.platforms.contains(&target.platform),
            target.architecture != taste.arch,
        )
    };
    let Some(target) = targets.iter().min_by_key(likes) else {
        return Err(Failure::new(Kind::NotFound, "no target has been built"));
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
    let mut ready = of_kernel(&workplace.kernel(target))?;
    let config = project::built_config(&workplace, target)?;
    ready.mounts_by_itself = config.value("CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD") == Some("y");
    let options = config.features();
    let options = options.iter().map(String::as_str);
    ready.abilities = Abilities::of_options(options).or(ready.abilities);
    ready.given.cmd.clone_from(&target.cmd);
    Ok(ready)
}

/// Looks at a kernel file: what it is, and its size in bytes.
fn look_at(path: &Path) -> Result<(KernelImage, u64), Failure> {
    if path.is_dir() {
        return Err(not_a_kernel(path, &NotAKernel::Directory));
    }
    let mut file = fs::open_file(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_file(path),
        _ => Failure::from(error),
    })?;
    let image = kernel::identify(&mut file).map_err(|error| not_a_kernel(path, &error))?;
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Ok((image, size))
}

fn not_a_kernel(path: &Path, error: &NotAKernel) -> Failure {
    let directory = matches!(error, NotAKernel::Directory);
    let reason = crate::failure::chain(error);
    let failure = Failure::usage(format!("cannot run `{}`: {reason}", path.display()));
    if directory {
        failure.hint("give the path of a kernel file inside it: `kraft run KERNEL`")
    } else {
        failure.hint("kraft runs Unikraft kernels for QEMU (x86_64 and arm64) and Linux kernels")
    }
}
