//! Dockerfiles, executed here: no daemon, no privileges, and nothing unpacked to disk unless a
//! `RUN` needs it.
//!
//! A stage is a `Tree`: `COPY` moves names and numbers from tree to tree, and
//! contents stay where they are (in the context, in the layers of an image) until the archive is
//! written. Only a `RUN` needs real files: the tree lies in layers, the command runs over them
//! ([`Runner`]), and its changes become a layer that is cached ([`Layers`]).
//!
//! ```text
//! execute ─ plan (which stages) ─► stage (what instructions mean) ─► make ─ copy ─► tree
//!                                    key, layers (what is kept) ◄─┘  └─ commands ─► layer ─► tree
//! ```
//!
//! The rules are those of the Dockerfile reference, and where it is silent, what BuildKit does.

mod commands;
mod copy;
mod difference;
mod disk;
mod files;
mod index;
mod layers;
mod lookup;
mod make;
mod mode;
mod mounts;
mod plan;
mod run;
mod settings;
mod stage;
pub(crate) mod taken;
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
pub use run::{Command, Mount, MountSource, Network, Root, RunFault, Runner};
pub use settings::Settings;

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// The directory that is copied from.
    pub context: &'a Path,
    /// What of it is left out: its `.dockerignore`.
    pub ignore: &'a Patterns,
    /// The stage that is meant, if not the last.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub arguments: &'a BTreeMap<String, String>,
    /// The architecture that is built for, as OCI names it: `amd64`.
    pub architecture: &'a str,
    /// That of this host.
    pub host: &'a str,
    /// Where images come from.
    pub images: &'a dyn Images,
    /// What runs commands; without it a `RUN` is a fault.
    pub runner: Option<&'a dyn Runner>,
    /// Secrets by their names.
    pub secrets: &'a BTreeMap<String, Vec<u8>>,
    /// Where files are laid out while this goes on.
    pub scratch: &'a Path,
    /// Where the directories of `--mount=type=cache` are kept from build to build.
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

/// Knows images.
pub trait Images: std::fmt::Debug {
    /// Returns an image for Linux on an architecture as OCI names it.
    fn image(
        &self,
        name: &str,
        architecture: &str,
    ) -> Result<Image<'_>, Box<dyn StdError + Send + Sync>>;
}

/// What happens while a Dockerfile is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A step began: `[build 2/3] RUN make`.
    Step(String),
    /// A command wrote a line.
    Line(String),
    /// So many bytes of the archive's contents are written.
    Written(u64),
    /// What the user should know.
    Warning(String),
}

/// Why a Dockerfile could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something in the Dockerfile, at a place.
    #[error("{}", .0.message)]
    Text(Box<Problem>),
    /// A command failed: its place, and what it wrote last.
    #[error("{}", .problem.message)]
    Command {
        /// What failed, and where.
        problem: Box<Problem>,
        /// The last lines it wrote.
        lines: Vec<String>,
    },
    /// This host cannot run a command, at its place.
    #[error("{}", .0.message)]
    Host(Box<Problem>),
    /// Something outside of it.
    #[error(transparent)]
    Room(#[from] Error),
}

/// Result of [`execute`].
#[derive(Debug)]
pub struct Executed {
    /// The archive.
    pub built: Built,
    /// How the image wants to be run.
    pub settings: Settings,
    /// Paths and patterns that were taken from the context; no other file matters.
    pub taken: Vec<String>,
}

/// Executes a Dockerfile, and makes the archive of its root filesystem at `out`, as
/// [`build`](crate::build()) does.
pub fn execute(
    recipe: &Recipe<'_>,
    out: &Path,
    options: &Options,
    tell: &mut dyn FnMut(Told),
) -> Result<Executed, Fault> {
    let planned = plan::plan(recipe)?;
    let whole = plan::needed_whole(recipe, &planned);
    let mut kitchen = stage::Kitchen::new(recipe, whole, tell);
    for number in planned {
        kitchen.stage(number)?;
    }
    let last = kitchen.into_last();
    let (entries, size) = crate::build::write(&last.tree, out, options, &mut |done| {
        tell(Told::Written(done));
    })?;
    let built = Built {
        entries,
        size,
        warnings: last.warnings,
    };
    if let Some(error) = recipe.layers.and_then(Layers::settle) {
        tell(Told::Warning(format!("cannot cache the steps: {error}")));
    }
    Ok(Executed {
        built,
        settings: last.settings,
        taken: last.taken,
    })
}

/// Returns the ignore file of a Dockerfile: one of its own name beside it, else that of the
/// context.
pub fn ignore_file(dockerfile: &Path, context: &Path) -> PathBuf {
    let own = kraft_sys::fs::beside(dockerfile, ".dockerignore");
    if own.is_file() {
        own
    } else {
        context.join(".dockerignore")
    }
}
