//! Executes Dockerfiles without a daemon and without privileges; files are unpacked to disk only for a
//! `RUN`.
//!
//! A stage is a `Tree`: `COPY` copies names and metadata from tree to tree, and contents stay in their
//! files (of the context, of the layers of an image) until the archive is written. Only a `RUN` needs
//! files on disk: the tree is written to layers, the command runs over them ([`Runner`]), and its
//! changes become a layer that is cached ([`Layers`]).
//!
//! ```text
//! execute ─ plan (which stages) ─► stage (what instructions mean) ─► execute ─ copy ─► tree
//!                                    key, layers (what is kept) ◄─┘  └─ commands ─► layer ─► tree
//! ```
//!
//! The rules are those of the Dockerfile reference and, for what it does not define, of BuildKit.

mod commands;
pub(crate) mod context_subset;
mod copy;
mod difference;
mod disk;
mod execute;
mod files;
mod index;
mod layers;
mod lookup;
mod mode;
mod mounts;
mod plan;
mod run;
mod settings;
mod stage;
mod variables;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use kraft_core::dockerfile::Dockerfile;
use kraft_core::dockerfile::patterns::Patterns;
use kraft_core::problem::Problem;

use crate::{Built, Error, Layer, Options};

pub use layers::{Keep, Layers, sweep};
pub use plan::obstacle;
pub use run::{Command, Mount, MountSource, Network, Root, RunError, Runner};
pub use settings::Settings;

/// Input of [`execute()`]: a Dockerfile with its context and options.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// The context: the directory that is copied from.
    pub context: &'a Path,
    /// Patterns of files in the context that are ignored: its `.dockerignore`.
    pub ignore: &'a Patterns,
    /// The stage to build; the last one without it.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub arguments: &'a BTreeMap<String, String>,
    /// The architecture to build for, as OCI names it: `amd64`.
    pub architecture: &'a str,
    /// The architecture of this host.
    pub host: &'a str,
    /// Source of images.
    pub images: &'a dyn Images,
    /// Runs commands; without it a `RUN` is an error.
    pub runner: Option<&'a dyn Runner>,
    /// Secrets by id.
    pub secrets: &'a BTreeMap<String, Vec<u8>>,
    /// Directory of temporary files of the build.
    pub scratch: &'a Path,
    /// Directory of the caches of `--mount=type=cache`, which are kept between builds.
    pub caches: &'a Path,
    /// The cache of steps; a `RUN` fails without it.
    pub layers: Option<&'a Layers>,
    /// Whether cached steps are used.
    pub reuse: bool,
}

/// An image to build on.
#[expect(
    missing_debug_implementations,
    reason = "it is mostly readers of any kind"
)]
pub struct Image<'a> {
    /// The digest of its manifest.
    pub id: String,
    /// Its configuration: the JSON document.
    pub config: Vec<u8>,
    /// Opens one layer after the other, the lowest first.
    pub layers: Box<dyn FnMut() -> Option<Layer<'a>> + 'a>,
}

/// Source of images.
pub trait Images: std::fmt::Debug {
    /// Returns an image for Linux on an architecture as OCI names it.
    fn image(
        &self,
        name: &str,
        architecture: &str,
    ) -> Result<Image<'_>, Box<dyn StdError + Send + Sync>>;
}

/// Progress of [`execute()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step began: `[build 2/3] RUN make`.
    Step(String),
    /// A command printed a line.
    Line(String),
    /// Number of bytes of the archive's contents that are written.
    Written(u64),
    /// A warning.
    Warning(String),
}

/// Error of [`execute()`].
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An error in the Dockerfile, at a place.
    #[error("{}", .0.message)]
    Text(Box<Problem>),
    /// A command failed: its place, and the end of its output.
    #[error("{}", .problem.message)]
    Command {
        /// What failed, and where.
        problem: Box<Problem>,
        /// The last lines that it printed.
        lines: Vec<String>,
    },
    /// This host cannot run a command, at its place.
    #[error("{}", .0.message)]
    Host(Box<Problem>),
    /// An error outside of the Dockerfile.
    #[error(transparent)]
    Outside(#[from] Error),
}

/// Result of [`execute()`].
#[derive(Debug)]
pub struct Executed {
    /// The archive.
    pub built: Built,
    /// Run configuration of the image.
    pub settings: Settings,
    /// Paths and patterns that were read from the context; no other file matters.
    pub taken: Vec<String>,
}

/// Executes a Dockerfile, and writes the archive of its root filesystem at `out`, as
/// [`build`](crate::build()) does.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::error::Error;
///
/// use kraft_core::dockerfile::parse;
/// use kraft_core::dockerfile::patterns::Patterns;
/// use kraft_rootfs::Options;
/// use kraft_rootfs::dockerfile::{Image, Images, Recipe, execute};
///
/// #[derive(Debug)]
/// struct NoImages;
///
/// impl Images for NoImages {
///     fn image(&self, name: &str, _: &str) -> Result<Image<'_>, Box<dyn Error + Send + Sync>> {
///         Err(format!("there is no image `{name}`").into())
///     }
/// }
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("app"), "#!")?;
/// let dockerfile = parse("FROM scratch\nCOPY app /bin/app\nCMD [\"/bin/app\"]\n").unwrap();
/// let recipe = Recipe {
///     dockerfile: &dockerfile,
///     context: dir.path(),
///     ignore: &Patterns::default(),
///     target: None,
///     arguments: &BTreeMap::new(),
///     architecture: "amd64",
///     host: "amd64",
///     images: &NoImages,
///     runner: None,
///     secrets: &BTreeMap::new(),
///     scratch: dir.path(),
///     caches: dir.path(),
///     layers: None,
///     reuse: true,
/// };
/// let out = dir.path().join("root.cpio");
/// let executed = execute(&recipe, &out, &Options::default(), &mut |_| {})?;
/// assert_eq!(executed.settings.cmd, ["/bin/app"]);
/// assert_eq!(executed.built.entries, 2);
/// # Ok::<(), Box<dyn Error>>(())
/// ```
///
/// # Errors
///
/// If an instruction is invalid or fails, or a file or an image cannot be read.
pub fn execute(
    recipe: &Recipe<'_>,
    out: &Path,
    options: &Options,
    report: &mut dyn FnMut(Progress),
) -> Result<Executed, ExecuteError> {
    let planned = plan::plan(recipe)?;
    let whole = plan::needed_whole(recipe, &planned);
    let mut executor = stage::Executor::new(recipe, whole, report);
    for number in planned {
        executor.stage(number)?;
    }
    let last = executor.into_last();
    let (entries, size) = crate::build::write(&last.tree, out, options, &mut |done| {
        report(Progress::Written(done));
    })?;
    let built = Built {
        entries,
        size,
        warnings: last.warnings,
    };
    if let Some(error) = recipe.layers.and_then(Layers::settle) {
        report(Progress::Warning(format!(
            "cannot cache the steps: {error}"
        )));
    }
    Ok(Executed {
        built,
        settings: last.settings,
        taken: last.taken,
    })
}

/// Returns the ignore file of a Dockerfile: `NAME.dockerignore` beside it, else that of the context.
pub fn ignore_file(dockerfile: &Path, context: &Path) -> PathBuf {
    let own = kraft_sys::fs::beside(dockerfile, ".dockerignore");
    if own.is_file() {
        own
    } else {
        context.join(".dockerignore")
    }
}
