//! Dockerfiles, executed here: no daemon, no privileges, and nothing unpacked to disk unless a
//! `RUN` needs it.
//!
//! A stage is a `Tree`: `COPY` moves names and numbers from tree to tree, and
//! contents stay where they are (in the context, in the layers of an image) until the archive is
//! written. Only a `RUN` needs real files: the tree is laid out in a directory of its own, the
//! command runs in it ([`Runner`]), and what is there then is the tree that goes on.
//!
//! ```text
//! execute ─ plan (which stages) ─► stage (one instruction after the other) ─ copy ─► tree
//!                                        └─ run ─ disk ─► directory ─► tree
//! ```
//!
//! The rules are those of the Dockerfile reference, and where it is silent, what BuildKit does.

mod commands;
mod copy;
mod disk;
mod files;
mod lookup;
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

pub use plan::obstacle;
pub use run::{Command, Mount, Network, RunFault, Runner};
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
}

/// An image to build on.
#[expect(
    missing_debug_implementations,
    reason = "it is mostly readers of any kind"
)]
pub struct Image<'a> {
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

/// Executes a Dockerfile, and makes the archive of its root filesystem at `out`, as
/// [`build`](crate::build()) does.
pub fn execute(
    recipe: &Recipe<'_>,
    out: &Path,
    options: &Options,
    tell: &mut dyn FnMut(Told),
) -> Result<(Built, Settings), Fault> {
    let planned = plan::plan(recipe)?;
    let mut kitchen = stage::Kitchen::new(recipe, tell);
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
    Ok((built, last.settings))
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
