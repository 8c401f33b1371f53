//! Prepares make's inputs: aliases for paths that make does not support, and an empty application.

use std::io;
use std::path::{Path, PathBuf};

use kraft_sys::{environment, fs, tool};

use super::products::copy;
use super::{Error, Job};
use crate::plan::{Plan, link_order};
use crate::shadow::{self, plain_name};
use crate::tools;

impl Job {
    /// Returns make's arguments without preparing anything.
    pub(super) fn plan(&self) -> Result<Plan, fs::Error> {
        let sources = fs::beside(&self.places.work, ".sources");
        let plain = |path: &Path, name: &str| -> Result<PathBuf, fs::Error> {
            let real = path.canonicalize().map_err(fs::Error::on("open", path))?;
            Ok(if shadow::is_awkward(&real) {
                sources.join(name)
            } else {
                real
            })
        };
        let mut libraries = Vec::new();
        for (name, path) in &self.libraries {
            libraries.push((
                name.clone(),
                plain(path, &format!("libs/{}", plain_name(name)))?,
            ));
        }
        let app = if self.app.join("Makefile.uk").exists() {
            plain(&self.app, "app")?
        } else {
            sources.join("app")
        };
        Ok(Plan {
            name: plain_name(&self.name),
            core: plain(&self.core, "core")?,
            app,
            libraries: link_order(libraries),
            out: self.places.work.clone(),
            config: if shadow::is_awkward(&self.places.config) {
                fs::beside(&self.places.work, ".config")
            } else {
                self.places.config.clone()
            },
            cross: self.cross.clone(),
            date: self.date.clone(),
        })
    }

    /// Returns make's arguments after preparing all paths in them.
    pub(super) fn prepare(&self) -> Result<Plan, Error> {
        let plan = self.plan()?;
        let sources = fs::beside(&self.places.work, ".sources");
        let show = |from: &Path, to: &Path| -> Result<(), fs::Error> {
            if to.starts_with(&sources) {
                let real = from.canonicalize().map_err(fs::Error::on("open", from))?;
                return shadow::show(&real, to, &[".git", ".unikraft"]);
            }
            Ok(())
        };
        show(&self.core, &plan.core)?;
        if plan.core.starts_with(&sources) {
            version_of(&self.core, &plan.core)?;
        }
        for (name, path) in &self.libraries {
            show(path, &sources.join("libs").join(plain_name(name)))?;
        }
        if self.app.join("Makefile.uk").exists() {
            show(&self.app, &plan.app)?;
        } else {
            empty_application(&self.app, &plan.app)?;
        }
        if plan.config != self.places.config {
            match fs::open_file(&self.places.config) {
                Ok(_) => copy(&self.places.config, &plan.config, 0o644)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::remove_tree(&plan.config)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        tools::check(tools::needed(
            &plan.core,
            &tools::make(),
            self.cross.as_deref(),
        ))?;
        Ok(plan)
    }
}

/// Creates an empty application: Unikraft requires its `Makefile.uk`, which must not be created in
/// the project's directory.
fn empty_application(app: &Path, at: &Path) -> Result<(), fs::Error> {
    fs::create_dir_all(at, 0o755)?;
    let makefile = at.join("Makefile.uk");
    if !makefile.exists() {
        fs::replace_file(&makefile, b"")?;
    }
    let config = at.join("Config.uk");
    if app.join("Config.uk").exists() {
        let real = app
            .canonicalize()
            .map_err(fs::Error::on("open", app))?
            .join("Config.uk");
        fs::replace_link(&config, &real)?;
    } else if config.is_symlink() {
        fs::remove_file(&config)?;
    }
    Ok(())
}

/// Gives a mirrored core its commit, which its version string contains.
fn version_of(core: &Path, at: &Path) -> Result<(), fs::Error> {
    let said = tool::Tool::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(core)
        .inherit(environment::GIT)
        .env("GIT_CEILING_DIRECTORIES", core.parent().unwrap_or(core))
        .output();
    let commit = said
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let git = at.join(".git");
    let Some(commit) = commit else {
        return fs::remove_tree(&git);
    };
    crate::sources::stub_repository(&git, &commit)
}
