//! Deploy the services of a Compose file.
//!
//! ```text
//! file ─ open ─► Stack ─ images ─► requests ─ up ─► instances, dependencies first
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::{Config, Flags, env::Environment};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_deploy::compose::Stack;
//! use kraft_engine::compose::definition::OpenOptions;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("compose.yaml");
//! let text = "services:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: redis}\n";
//! std::fs::write(&file, text)?;
//! let options = OpenOptions {
//!     files: vec![file],
//!     project: Some("shop".to_owned()),
//!     ..OpenOptions::default()
//! };
//! let stack = Stack::open(&context, options)?;
//! let services = stack.services(&[])?;
//! let instances: Vec<String> = services.iter().map(|one| stack.instance(one)).collect();
//! assert_eq!(instances, ["shop-db", "shop-web"], "dependencies first");
//! # Ok(())
//! # }
//! ```

pub(crate) mod change;
pub mod images;
mod spec;
pub mod up;

use std::ops::Deref;
use std::path::PathBuf;

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance};
use kraft_core::compose::{Place, Service};
use kraft_core::problem::{Problem, Text};
use kraft_engine::compose::definition::{self, Definition, OpenOptions};
use kraft_engine::context::Context;
use kraft_engine::{components, project, workplace};

use crate::cloud::Cloud;
use crate::deploy::ImageError;
use crate::error::RequestError;
use crate::{launch, naming, readiness};

/// Why a Compose project cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files cannot be read.
    #[error(transparent)]
    Definition(#[from] definition::Error),
    /// A file with variables cannot be read.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The platform does not support a part of the Compose file.
    #[error("{}", problem.message)]
    Unsupported {
        /// Its text.
        text: Text,
        /// What is not supported.
        problem: Box<Problem>,
    },
    /// A service has an image that does not exist and is not built.
    #[error("the platform has no image `{image}` for the service `{service}`")]
    NoImage {
        /// The image.
        image: String,
        /// The service.
        service: String,
    },
    /// The build context of a service contains nothing to build.
    #[error("`{0}` does not exist")]
    NoDockerfile(PathBuf),
    /// The name of an image is not a reference.
    #[error(transparent)]
    Reference(#[from] kraft_core::reference::ReferenceError),
    /// The project of a service cannot be read.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The template of the project of a service cannot be used.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The directory of the project of a service cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// An image cannot be built or pushed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The platform does not have an image.
    #[error(transparent)]
    Naming(#[from] naming::Error),
    /// A volume or an instance cannot be created.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// A service does not run.
    #[error(transparent)]
    NotReady(#[from] readiness::Error),
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A Compose project in the cloud. Dereferences to its [`Definition`].
#[derive(Debug)]
pub struct Stack(Definition);

impl Deref for Stack {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.0
    }
}

impl Stack {
    /// Reads the given files, else the one of the current directory. Options that are not given come
    /// from the variables of the Compose specification; the place is the cloud.
    ///
    /// # Errors
    ///
    /// If there is no file, or it cannot be read or parsed.
    pub fn open(ctx: &Context, options: OpenOptions) -> Result<Self, definition::Error> {
        let options = OpenOptions {
            place: Place::Cloud,
            ..options
        };
        Ok(Self(definition::open(ctx, &options)?))
    }

    /// Returns the services that may be deployed: the named ones, or all of every profile.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn deployable(&self, names: &[String]) -> Result<Vec<&Service>, definition::Error> {
        if names.is_empty() {
            return Ok(self.compose.order(&[]));
        }
        self.only(names)
    }

    /// Returns the platform's name of a resource of the project; names there have no `_`.
    fn prefixed(&self, name: &str) -> String {
        format!("{}-{name}", self.project).replace('_', "-")
    }

    /// Returns the name of the instance of a service.
    pub fn instance(&self, service: &Service) -> String {
        match &service.container_name {
            Some(name) => name.replace('_', "-"),
            None => self.prefixed(&service.name),
        }
    }

    /// Returns the name of a volume: its declared one, else that of the project and its key.
    pub fn volume(&self, key: &str) -> String {
        let declared = self.compose.volumes.iter().find(|one| one.key == key);
        match declared {
            Some(volume) if volume.name.is_some() || volume.external => {
                volume.name.clone().unwrap_or_else(|| volume.key.clone())
            }
            _ => self.prefixed(key),
        }
    }

    /// Returns services with their instances; `None` for those without.
    ///
    /// # Errors
    ///
    /// If the platform cannot be reached or refuses the request.
    pub fn found<'s>(
        &self,
        cloud: &Cloud,
        services: &[&'s Service],
    ) -> Result<Vec<(&'s Service, Option<Instance>)>, RequestError> {
        let ids: Vec<Id> = services
            .iter()
            .map(|one| Id::Name(self.instance(one)))
            .collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let existing = cloud.found(&instances::get(&ids))?;
        Ok(services
            .iter()
            .map(|service| {
                let name = self.instance(service);
                let found = existing.iter().find(|one| one.name == name).cloned();
                (*service, found)
            })
            .collect())
    }
}
