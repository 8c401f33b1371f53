//! Applications of several machines, which Compose files describe, on this host.
//!
//! ```text
//! files ─ definition ─► Definition ─ wanted ─► Wanted machines ─┐
//! machines of the project, by their labels ─ state ─► Current ──┴ plan ─► actions ─ up ─► machines
//! ```
//!
//! A project has no record of its own: its machines carry labels, as Docker's containers do, its
//! networks and volumes have names that begin with that of the project.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::{Config, Flags, env::Environment};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::compose::definition::{self, OpenOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("compose.yaml");
//! std::fs::write(&file, "services: {web: {image: nginx, depends_on: [db]}, db: {image: redis}}")?;
//! let options = OpenOptions { files: vec![file], project: Some("shop".to_owned()), ..OpenOptions::default() };
//! let definition = definition::open(&context, &options)?;
//! let services = definition.services(&[])?;
//! let names: Vec<&str> = services.iter().map(|one| one.name.as_str()).collect();
//! assert_eq!(names, ["db", "web"], "dependencies first");
//! # Ok(())
//! # }
//! ```

pub mod canonical;
pub mod definition;
pub mod files;
pub mod images;
pub mod networks;
pub mod one_off;
pub mod plan;
mod ports;
pub mod state;
pub mod up;
pub mod volumes;
pub mod wanted;
pub mod watch;

use kraft_core::problem::{Problem, Text};

use crate::{boot, run};

/// Why an application cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files cannot be read.
    #[error(transparent)]
    Definition(#[from] definition::Error),
    /// A part of it cannot run on this host.
    #[error("{}", problem.message)]
    Unsupported {
        /// Its text.
        text: Text,
        /// What is not supported.
        problem: Box<Problem>,
    },
    /// The machine of a service cannot be prepared.
    #[error("service `{service}`")]
    Boot {
        /// The service.
        service: String,
        /// Whether it is built, not pulled.
        builds: bool,
        /// Why not.
        source: Box<boot::Error>,
    },
    /// The image or the build of a service cannot be used.
    #[error(transparent)]
    Image(Box<images::Error>),
    /// The machine of a service cannot be planned.
    #[error("service `{service}`")]
    Run {
        /// The service.
        service: String,
        /// Why not.
        source: Box<run::Error>,
    },
    /// A machine cannot be created, started or stopped.
    #[error(transparent)]
    Machines(#[from] kraft_machine::Error),
    /// A network cannot be made or removed.
    #[error(transparent)]
    Networks(#[from] kraft_net::Error),
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// A service that others need does not become what they wait for.
    #[error("dependency failed to start: `{service}` {why}")]
    Dependency {
        /// The service.
        service: String,
        /// Its machine.
        machine: String,
        /// What it is instead.
        why: String,
    },
    /// A network or a volume is managed outside of the project, and does not exist.
    #[error("the {kind} `{name}` is declared as external, and does not exist")]
    External {
        /// `network` or `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The user interrupted.
    #[error(transparent)]
    Interrupted(#[from] crate::interrupt::Interrupted),
}

impl From<images::Error> for Error {
    fn from(error: images::Error) -> Self {
        Self::Image(Box::new(error))
    }
}
