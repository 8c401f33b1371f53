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
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("compose.yaml");
//! let text = "services:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: redis}\n";
//! std::fs::write(&file, text)?;
//! let stack = Stack::open(&context, Some(&file), Some("shop"), &[])?;
//! let services = stack.services(&[])?;
//! let instances: Vec<String> = services.iter().map(|one| stack.instance(one)).collect();
//! assert_eq!(instances, ["shop-db", "shop-web"], "dependencies first");
//! # Ok(())
//! # }
//! ```

mod change;
pub mod images;
mod spec;
pub mod up;

use std::path::{Path, PathBuf};

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance};
use kraft_core::compose::{self, Compose, FILE_NAMES, LARGEST, Service};
use kraft_core::nearest::nearest;
use kraft_core::problem::{Problem, Text};
use kraft_engine::context::Context;
use kraft_engine::{components, project, workplace};

use crate::cloud::Cloud;
use crate::deploy::ImageError;
use crate::error::RequestError;
use crate::{launch, naming, readiness};

/// Largest size of files with variables, in bytes.
const LARGEST_ENV: u64 = 1 << 20;

/// Why a Compose project cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Compose file.
    #[error("there is no Compose file in this directory")]
    NoFile,
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The Compose file has errors.
    #[error("`{}` is not a valid Compose file", text.name)]
    Problems {
        /// Its text.
        text: Text,
        /// The errors.
        problems: Vec<Problem>,
    },
    /// The platform does not support a part of the Compose file.
    #[error("{}", problem.message)]
    Unsupported {
        /// Its text.
        text: Text,
        /// What is not supported.
        problem: Box<Problem>,
    },
    /// The Compose file has no such service.
    #[error("`{file}` has no service `{name}`", file = file.display())]
    NoService {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
        /// The most similar name of a service.
        nearest: Option<String>,
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

/// A Compose project: its file, and its name.
#[derive(Debug)]
pub struct Stack {
    /// The content of the file.
    pub compose: Compose,
    /// The name of the project.
    pub project: String,
    /// The file.
    pub file: PathBuf,
    /// The directory that its paths are relative to.
    dir: PathBuf,
    /// The text, to point to what the platform does not support.
    text: Text,
    /// The variables of the `.env` file beside it.
    variables: Vec<(String, String)>,
    /// The profiles that are active.
    profiles: Vec<String>,
}

impl Stack {
    /// Reads the given file, else the one of the current directory. Options that are not given come
    /// from the variables of the Compose specification: `COMPOSE_FILE`, `COMPOSE_PROJECT_NAME`,
    /// `COMPOSE_PROFILES`.
    ///
    /// # Errors
    ///
    /// If there is no file, or it cannot be read or parsed.
    pub fn open(
        ctx: &Context,
        file: Option<&Path>,
        project: Option<&str>,
        profiles: &[String],
    ) -> Result<Self, Error> {
        let file = match (file, ctx.env.path("COMPOSE_FILE")) {
            (Some(file), _) => file.to_owned(),
            (None, Some(file)) => file,
            (None, None) => find()?,
        };
        let bytes = kraft_sys::fs::read_file(&file, LARGEST as u64 + 1)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let dir = match file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let variables = variables(&dir.join(".env"), false)?;
        let parsed = compose::parse(&text, &|name| look_up(ctx, &variables, name));
        let text = Text {
            name: file.display().to_string(),
            text,
        };
        let Some(compose) = parsed.compose else {
            return Err(Error::Problems {
                text,
                problems: parsed.problems,
            });
        };
        ctx.problems(Some(&text), &parsed.problems);
        let project = project
            .map(str::to_owned)
            .or_else(|| look_up(ctx, &variables, "COMPOSE_PROJECT_NAME"))
            .filter(|name| !name.is_empty())
            .or_else(|| compose.name.clone());
        let profiles = if profiles.is_empty() {
            let active = look_up(ctx, &variables, "COMPOSE_PROFILES").unwrap_or_default();
            active.split(',').map(|one| one.trim().to_owned()).collect()
        } else {
            profiles.to_vec()
        };
        Ok(Self {
            project: normalise(&project.unwrap_or_else(|| name_of(&dir))),
            compose,
            file,
            dir,
            text,
            variables,
            profiles,
        })
    }

    /// Returns the selected services and their dependencies, dependencies first; without names those
    /// of the active profiles.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn services(&self, names: &[String]) -> Result<Vec<&Service>, Error> {
        self.check(names)?;
        if !names.is_empty() {
            return Ok(self.compose.order(names));
        }
        let services = self.compose.services.iter();
        let active: Vec<String> = services
            .filter(|one| one.is_active(&self.profiles))
            .map(|one| one.name.clone())
            .collect();
        if active.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.compose.order(&active))
    }

    /// Returns the selected services without their dependencies, in the order of dependencies.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn only(&self, names: &[String]) -> Result<Vec<&Service>, Error> {
        let mut services = self.services(names)?;
        services.retain(|one| names.is_empty() || names.contains(&one.name));
        Ok(services)
    }

    /// Returns the services that may be deployed: the named ones, or all of every profile.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn deployable(&self, names: &[String]) -> Result<Vec<&Service>, Error> {
        if names.is_empty() {
            return Ok(self.compose.order(&[]));
        }
        self.only(names)
    }

    fn check(&self, names: &[String]) -> Result<(), Error> {
        for name in names {
            if self.compose.service(name).is_some() {
                continue;
            }
            let all = self.compose.services.iter().map(|one| one.name.as_str());
            return Err(Error::NoService {
                file: self.file.clone(),
                name: name.clone(),
                nearest: nearest(name, all).map(str::to_owned),
            });
        }
        Ok(())
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

    /// Looks up a variable: in the environment, else in the `.env` file.
    fn look_up(&self, ctx: &Context, name: &str) -> Option<String> {
        look_up(ctx, &self.variables, name)
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

/// Finds the file of the current directory.
fn find() -> Result<PathBuf, Error> {
    let mut names = FILE_NAMES.iter().map(PathBuf::from);
    names
        .find(|name| name.exists() && !name.is_dir())
        .ok_or(Error::NoFile)
}

/// Reads a file of variables.
fn variables(path: &Path, required: bool) -> Result<Vec<(String, String)>, kraft_sys::fs::Error> {
    if !required && !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = kraft_sys::fs::read_file(path, LARGEST_ENV)?;
    Ok(compose::variables(&String::from_utf8_lossy(&bytes)))
}

fn look_up(ctx: &Context, variables: &[(String, String)], name: &str) -> Option<String> {
    let own = ctx.env.raw(name);
    own.map(|value| value.to_string_lossy().into_owned())
        .or_else(|| {
            let mut found = variables.iter().filter(|(known, _)| known == name);
            found.next_back().map(|(_, value)| value.clone())
        })
}

fn name_of(dir: &Path) -> String {
    let whole = std::path::absolute(dir).unwrap_or_default();
    let whole: PathBuf = whole.components().collect();
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Returns a name with only the characters that a project name may have (Compose specification,
/// "name").
fn normalise(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() {
        "project".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_have_only_the_characters_of_the_specification() {
        for (name, expected) in [
            ("shop", "shop"),
            ("My Shop!", "myshop"),
            ("_-shop_1", "shop_1"),
            ("größe", "gre"),
            ("...", "project"),
        ] {
            assert_eq!(normalise(name), expected);
        }
    }

    #[test]
    fn the_last_of_repeated_variables_counts() {
        let environment = kraft_config::env::Environment::default();
        let config =
            kraft_config::Config::without_file(&kraft_config::Flags::default(), environment);
        let context = Context::new(
            &config,
            std::sync::Arc::new(kraft_core::event::Silent),
            std::sync::Arc::new(kraft_engine::context::NoPrompt),
        );
        let variables = [("A", "1"), ("B", "2"), ("A", "3")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(look_up(&context, &variables, "A").as_deref(), Some("3"));
        assert_eq!(look_up(&context, &variables, "C"), None);
    }
}
