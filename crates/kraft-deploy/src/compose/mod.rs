//! Several services that belong together, by a Compose file.
//!
//! ```text
//! file ─ open ─► Stack ─ images ─► Launches ─ up ─► instances, needed ones first
//! ```

mod change;
pub mod images;
pub mod up;
mod wanted;

use std::path::{Path, PathBuf};

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance};
use kraft_core::compose::{self, Compose, FILE_NAMES, LARGEST, Service};
use kraft_core::nearest::nearest;

use super::Cloud;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind, Text};

/// Files of the environment and of variables are at most this long, in bytes.
const LARGEST_ENV: u64 = 1 << 20;

/// A Compose file, read.
#[derive(Debug)]
pub struct Stack {
    /// What it says.
    pub compose: Compose,
    /// The name of the project.
    pub project: String,
    /// The file.
    pub file: PathBuf,
    /// What its paths are relative to.
    dir: PathBuf,
    /// The text, for what is wrong with it in the cloud.
    text: Text,
    /// The variables of the `.env` file beside it.
    variables: Vec<(String, String)>,
    /// The profiles that are active.
    profiles: Vec<String>,
}

impl Stack {
    /// Reads the file that is named, else the one of the current directory. What is not typed is
    /// looked for in the variables of the Compose specification: `COMPOSE_FILE`,
    /// `COMPOSE_PROJECT_NAME`, `COMPOSE_PROFILES`.
    pub fn open(
        ctx: &Context,
        file: Option<&Path>,
        project: Option<&str>,
        profiles: &[String],
    ) -> Result<Self, Failure> {
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
            return Err(Failure::problems_in(Kind::Failed, text, parsed.problems));
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
            project: tame(&project.unwrap_or_else(|| name_of(&dir))),
            compose,
            file,
            dir,
            text,
            variables,
            profiles,
        })
    }

    /// Returns the services that are meant, with what they need, needed ones first; without names
    /// those of the active profiles.
    pub fn services(&self, names: &[String]) -> Result<Vec<&Service>, Failure> {
        self.known(names)?;
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

    /// Returns the services that are meant and no others, in the order of their needs.
    pub fn only(&self, names: &[String]) -> Result<Vec<&Service>, Failure> {
        let mut services = self.services(names)?;
        services.retain(|one| names.is_empty() || names.contains(&one.name));
        Ok(services)
    }

    /// Returns the services that may be there: those that are named and no others, or all, whatever
    /// profiles were active when they were made.
    pub fn ever(&self, names: &[String]) -> Result<Vec<&Service>, Failure> {
        if names.is_empty() {
            return Ok(self.compose.order(&[]));
        }
        self.only(names)
    }

    fn known(&self, names: &[String]) -> Result<(), Failure> {
        for name in names {
            if self.compose.service(name).is_some() {
                continue;
            }
            let all = self.compose.services.iter().map(|one| one.name.as_str());
            let failure = Failure::new(
                Kind::NotFound,
                format!("`{}` has no service `{name}`", self.file.display()),
            );
            return Err(match nearest(name, all) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure,
            });
        }
        Ok(())
    }

    /// Returns what something of the project is called on the platform, whose names have no `_`.
    fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.project).replace('_', "-")
    }

    /// Returns what the instance of a service is called.
    pub fn instance(&self, service: &Service) -> String {
        match &service.container_name {
            Some(name) => name.replace('_', "-"),
            None => self.own(&service.name),
        }
    }

    /// Returns what a volume is called: by its own name, else by that of the project and its key.
    pub fn volume(&self, key: &str) -> String {
        let declared = self.compose.volumes.iter().find(|one| one.key == key);
        match declared {
            Some(volume) if volume.name.is_some() || volume.external => {
                volume.name.clone().unwrap_or_else(|| volume.key.clone())
            }
            _ => self.own(key),
        }
    }

    /// Looks a variable up: in the environment, else in the `.env` file.
    fn look_up(&self, ctx: &Context, name: &str) -> Option<String> {
        look_up(ctx, &self.variables, name)
    }

    /// Returns the instances of services that are there, each with the service.
    pub fn found<'s>(
        &self,
        cloud: &Cloud,
        services: &[&'s Service],
    ) -> Result<Vec<(&'s Service, Option<Instance>)>, Failure> {
        let ids: Vec<Id> = services
            .iter()
            .map(|one| Id::Name(self.instance(one)))
            .collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let there = cloud.send(&instances::get(&ids))?.found()?;
        Ok(services
            .iter()
            .map(|service| {
                let name = self.instance(service);
                let found = there.iter().find(|one| one.name == name).cloned();
                (*service, found)
            })
            .collect())
    }
}

/// Finds the file of the current directory.
fn find() -> Result<PathBuf, Failure> {
    let mut names = FILE_NAMES.iter().map(PathBuf::from);
    names
        .find(|name| name.exists() && !name.is_dir())
        .ok_or_else(|| {
            Failure::new(Kind::NotFound, "there is no Compose file here").hint(format!(
                "it is called {}; or name it with `--file`",
                FILE_NAMES.join(", ")
            ))
        })
}

/// Reads a file of variables.
fn variables(path: &Path, required: bool) -> Result<Vec<(String, String)>, Failure> {
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

/// Returns a name of a project in the letters that it may have (Compose specification, "name").
fn tame(name: &str) -> String {
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
