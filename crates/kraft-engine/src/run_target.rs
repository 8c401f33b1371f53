//! Decides what `kraft run` runs: a kernel file, a Linux program, an image or a project.
//!
//! | the first argument | without a Kraftfile | with one, in the current directory or by `-K` |
//! |---|---|---|
//! | is missing | nothing to run | the project |
//! | is a directory | the project in it | the project in it |
//! | is a kernel file | the kernel | the kernel |
//! | is another file | the program, or an error | an argument of the project |
//! | names an image | the image | the image if it has a registry or is stored locally, else an argument |
//! | is anything else | an error | an argument of the project |

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::kernel::{self, KernelImage, NotAKernel};
use kraft_core::kraftfile::FILE_NAMES;
use kraft_core::program::Program;
use kraft_core::reference::{Reference, ReferenceError};
use kraft_sys::fs;

use super::project::{self, Project};
use super::workplace::{self, Workplace};
use super::{binary, components, images};
use crate::context::Context;

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no argument, and no project in the current directory.
    #[error("there is nothing to run here")]
    Nothing,
    /// The argument names a file that does not exist.
    #[error("there is no file `{}`", path.display())]
    NoFile {
        /// The argument.
        path: PathBuf,
        /// Why it is not an image either.
        image: Option<ReferenceError>,
        /// The image of `--runtime`, which the user may have wanted to run.
        runtime: Option<String>,
    },
    /// The file cannot be run.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The image store cannot be read.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The project cannot be read.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The template of the project cannot be used.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The project's directory cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
}

/// Why a file is not a kernel that can be run.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no such file.
    #[error("there is no file `{}`", .0.display())]
    Missing(PathBuf),
    /// The file cannot be opened.
    #[error(transparent)]
    File(fs::Error),
    /// The file is something else.
    #[error("cannot run `{}`", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: NotAKernel,
    },
}

/// A kernel file that was identified by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFile {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What it is.
    pub image: KernelImage,
    /// Its size in bytes.
    pub size: u64,
}

impl KernelFile {
    /// Identifies a kernel file.
    ///
    /// # Errors
    ///
    /// If the file does not exist, cannot be read, or is not a kernel.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let not_a_kernel = |source| KernelError::NotAKernel {
            path: path.to_owned(),
            source,
        };
        if path.is_dir() {
            return Err(not_a_kernel(NotAKernel::Directory));
        }
        let mut file = fs::open_file(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KernelError::Missing(path.to_owned()),
            _ => KernelError::File(error),
        })?;
        let image = kernel::identify(&mut file).map_err(not_a_kernel)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self {
            path: path.to_owned(),
            image,
            size,
        })
    }
}

/// What is run.
#[derive(Debug)]
pub enum RunTarget {
    /// A kernel file.
    Kernel(KernelFile),
    /// A Linux program, which runs on an image that loads it.
    Program {
        /// The file, as it was named.
        path: PathBuf,
        /// What it is.
        program: Program,
    },
    /// An image, by its name.
    Image(Reference),
    /// A project.
    Project(Box<Project>),
}

/// The arguments that decide what is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunTargetArgs<'a> {
    /// The first argument.
    pub first: Option<&'a OsStr>,
    /// The Kraftfile of `--kraftfile`.
    pub kraftfile: Option<&'a Path>,
    /// The image of `--runtime`.
    pub runtime: Option<&'a str>,
}

/// What is run, and whether the first argument is that.
#[derive(Debug)]
pub struct Resolution {
    /// What is run.
    pub target: RunTarget,
    /// Whether the first argument named it; otherwise that is an argument of the application.
    pub is_first_argument: bool,
}

impl Resolution {
    fn named(target: RunTarget) -> Self {
        Self {
            target,
            is_first_argument: true,
        }
    }

    fn implied(target: RunTarget) -> Self {
        Self {
            target,
            is_first_argument: false,
        }
    }
}

/// Resolves what is run, as the table of this module shows.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use kraft_config::env::Environment;
/// # use kraft_config::{Config, Flags};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::run_target::{self, RunTarget, RunTargetArgs};
///
/// # fn main() -> Result<(), run_target::Error> {
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let args = RunTargetArgs {
///     first: Some("unikraft.org/nginx:latest".as_ref()),
///     ..RunTargetArgs::default()
/// };
/// let resolution = run_target::resolve(&context, args)?;
/// assert!(matches!(resolution.target, RunTarget::Image(_)));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the argument means nothing, or the project or the store cannot be read.
pub fn resolve(ctx: &Context, args: RunTargetArgs<'_>) -> Result<Resolution, Error> {
    let Some(first) = args.first else {
        let found = project::open_or_lone(ctx, None, args.kraftfile, args.runtime);
        let project = found?.ok_or(Error::Nothing)?;
        return Ok(Resolution::implied(of_project(ctx, project)?));
    };
    let path = Path::new(first);
    if path.is_dir() {
        let found = project::open_or_lone(ctx, Some(path), args.kraftfile, args.runtime);
        let project = found?.ok_or_else(|| project::missing(Some(path)))?;
        return Ok(Resolution::named(of_project(ctx, project)?));
    }
    let in_project =
        args.kraftfile.is_some() || FILE_NAMES.iter().any(|name| Path::new(name).is_file());
    if path.exists() {
        match KernelFile::open(path) {
            Ok(kernel) => return Ok(Resolution::named(RunTarget::Kernel(kernel))),
            Err(error) if !in_project => return of_other_file(path, error),
            Err(_) => {}
        }
    }
    let name = image_name(first);
    if in_project {
        let is_image = match &name {
            Some(Ok(name)) => {
                name.registry().is_some() || images::look_up(&*images::open(ctx)?, name)?.is_some()
            }
            _ => false,
        };
        if !is_image {
            let project = project::open(ctx, None, args.kraftfile)?;
            return Ok(Resolution::implied(of_project(ctx, project)?));
        }
    }
    match name {
        Some(Ok(name)) => Ok(Resolution::named(RunTarget::Image(name))),
        Some(Err(error)) => Err(no_file(path, Some(error), None)),
        None => Err(no_file(path, None, args.runtime)),
    }
}

/// Understands an argument as the name of an image; `None` if it looks like a path or is not UTF-8.
fn image_name(first: &OsStr) -> Option<Result<Reference, ReferenceError>> {
    let text = first.to_str()?;
    (!text.starts_with(['/', '.', '~', '-'])).then(|| text.parse())
}

fn no_file(path: &Path, image: Option<ReferenceError>, runtime: Option<&str>) -> Error {
    Error::NoFile {
        path: path.to_owned(),
        image,
        runtime: runtime.map(str::to_owned),
    }
}

/// A file that is not a kernel: a Linux program, or an error.
fn of_other_file(path: &Path, error: KernelError) -> Result<Resolution, Error> {
    let program = binary::of_file(path).ok_or(error)?;
    let path = path.to_owned();
    Ok(Resolution::named(RunTarget::Program { path, program }))
}

fn of_project(ctx: &Context, project: Project) -> Result<RunTarget, Error> {
    let workplace = Workplace::find(ctx, &project)?;
    let project = components::complete(ctx, project, &workplace)?;
    Ok(RunTarget::Project(Box::new(project)))
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir;

    use super::*;
    use crate::testing::{Script, context, image};

    const KRAFTFILE: &str = "spec: v0.6\nruntime: unikraft.org/base:latest\n";

    /// The smallest file that is taken for a Linux kernel.
    fn kernel() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes.splice(0x1fe..0x200, [0x55, 0xaa]);
        bytes.splice(0x202..0x206, *b"HdrS");
        bytes
    }

    /// The smallest file that is taken for a Linux program.
    fn program() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(128, 0);
        bytes.splice(16..20, [3, 0, 62, 0]);
        bytes
    }

    /// Makes a directory with one of everything, and returns a context with two stored images.
    fn bench(home: &Path) -> Context {
        for (dir, files) in [
            ("project", vec![("Kraftfile", KRAFTFILE)]),
            ("broken", vec![("Kraftfile", "spec: [\n")]),
            ("lone", vec![("Dockerfile", "FROM scratch\n")]),
            ("empty", vec![]),
        ] {
            create_dir(home.join(dir)).unwrap();
            for (name, text) in files {
                fs::replace_file(&home.join(dir).join(name), text.as_bytes()).unwrap();
            }
        }
        for (name, bytes) in [
            ("kernel", kernel()),
            ("program", program()),
            ("text", b"hello".to_vec()),
            ("nothing", Vec::new()),
        ] {
            fs::replace_file(&home.join(name), &bytes).unwrap();
        }
        let ctx = context(home, &Script::silent());
        let store = images::open(&ctx).unwrap();
        image(
            &ctx,
            &*store,
            "unikraft.org/stored:latest",
            &["qemu/x86_64"],
        );
        ctx
    }

    /// What is run, as text: `-` before what the first argument did not name.
    fn outcome(resolved: Result<Resolution, Error>) -> String {
        let resolution = match resolved {
            Ok(resolution) => resolution,
            Err(Error::Nothing) => return "nothing".to_owned(),
            Err(Error::NoFile { .. }) => return "no file".to_owned(),
            Err(Error::Kernel(_)) => return "not a kernel".to_owned(),
            Err(error) => return format!("error: {error}"),
        };
        let target = match resolution.target {
            RunTarget::Kernel(_) => "kernel".to_owned(),
            RunTarget::Program { .. } => "program".to_owned(),
            RunTarget::Image(name) => name.to_string(),
            RunTarget::Project(project) => format!("project {}", project.dir_name),
        };
        let implied = if resolution.is_first_argument {
            ""
        } else {
            "-"
        };
        format!("{implied}{target}")
    }

    #[test]
    fn a_target_is_resolved_by_what_there_is_before_how_it_is_named() {
        let home = tempfile::tempdir().unwrap();
        let ctx = bench(home.path());
        let kraftfile = home.path().join("project/Kraftfile");
        for (first, without, with) in [
            ("/kernel", "kernel", "kernel"),
            ("/program", "program", "-project project"),
            ("/text", "not a kernel", "-project project"),
            ("/nothing", "not a kernel", "-project project"),
            ("/missing", "no file", "-project project"),
            ("/project", "project project", "project project"),
            ("/lone", "project lone", "project lone"),
            ("stored", "stored", "stored"),
            ("stored:latest", "stored:latest", "stored:latest"),
            ("stored:other", "stored:other", "-project project"),
            ("word", "word", "-project project"),
            (
                "unikraft.org/word",
                "unikraft.org/word",
                "unikraft.org/word",
            ),
            ("UPPER", "no file", "-project project"),
            ("--flag", "no file", "-project project"),
            ("./word", "no file", "-project project"),
            ("~/word", "no file", "-project project"),
        ] {
            let absolute = home.path().join(first.trim_start_matches('/'));
            let argument = match first.strip_prefix('/') {
                Some(_) => absolute.as_os_str(),
                None => OsStr::new(first),
            };
            for (kraftfile, expected) in [(None, without), (Some(kraftfile.as_path()), with)] {
                let args = RunTargetArgs {
                    first: Some(argument),
                    kraftfile,
                    runtime: None,
                };
                assert_eq!(
                    outcome(resolve(&ctx, args)),
                    expected,
                    "{first} {kraftfile:?}"
                );
            }
        }
    }

    #[test]
    fn without_an_argument_the_project_of_the_kraftfile_is_run() {
        let home = tempfile::tempdir().unwrap();
        let ctx = bench(home.path());
        let resolve = |file: &str| {
            let kraftfile = home.path().join(file);
            let args = RunTargetArgs {
                kraftfile: Some(&kraftfile),
                ..RunTargetArgs::default()
            };
            outcome(resolve(&ctx, args))
        };
        assert_eq!(resolve("project/Kraftfile"), "-project project");
        assert!(resolve("broken/Kraftfile").starts_with("error: "));
        let missing = resolve("empty/Kraftfile");
        assert!(missing.contains("empty/Kraftfile"), "{missing}");
    }

    #[test]
    fn the_runtime_of_a_missing_target_is_remembered_for_the_hint() {
        let home = tempfile::tempdir().unwrap();
        let ctx = bench(home.path());
        let args = RunTargetArgs {
            first: Some(OsStr::new("./missing")),
            runtime: Some("nginx"),
            ..RunTargetArgs::default()
        };
        let Err(Error::NoFile { runtime, .. }) = resolve(&ctx, args) else {
            panic!("a file that is missing");
        };
        assert_eq!(runtime.as_deref(), Some("nginx"));
    }

    #[test]
    fn a_kernel_file_is_identified_with_its_size() {
        let home = tempfile::tempdir().unwrap();
        bench(home.path());
        let kernel = KernelFile::open(&home.path().join("kernel")).unwrap();
        assert_eq!(kernel.size, 1024);
        let open = |name: &str| KernelFile::open(&home.path().join(name)).unwrap_err();
        assert!(matches!(open("missing"), KernelError::Missing(_)));
        assert!(matches!(
            open("empty"),
            KernelError::NotAKernel {
                source: NotAKernel::Directory,
                ..
            }
        ));
    }
}
