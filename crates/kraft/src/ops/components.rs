//! The components of a project: which they are, where they come from, where they are put.

use std::path::{Path, PathBuf};

use kraft_core::kraftfile::Component;
use kraft_sys::fs;

use super::project::{self, Project};
use super::workplace::Workplace;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// Where the components of a project are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Components {
    /// The core.
    pub(crate) core: PathBuf,
    /// The application: the project itself, or its template.
    pub(crate) app: PathBuf,
    /// The libraries by name.
    pub(crate) libraries: Vec<(String, PathBuf)>,
}

/// How components are fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetching {
    /// Whether the lock file must fit as it is.
    pub(crate) locked: bool,
}

/// Gets every component of a project, and completes the project by its template.
pub(crate) fn obtain(
    app: &App,
    project: Project,
    workplace: &Workplace,
    _fetching: &Fetching,
) -> Result<(Project, Components), Failure> {
    let Some(kraftfile) = project.kraftfile.clone() else {
        return Err(Failure::new(Kind::Failed, "the Kraftfile has faults"));
    };
    let (kraftfile, application) = match &kraftfile.template {
        None => (kraftfile, workplace.project.clone()),
        Some(template) => {
            let dir = directory(&workplace.project, template).ok_or_else(|| missing("template"))?;
            let read = project::read(app, Some(&dir), None)?;
            let read = project::sound(app, read)?;
            let Some(of_template) = read.kraftfile else {
                return Err(missing("template"));
            };
            (kraftfile.over_template(of_template), dir)
        }
    };
    let Some(core) = &kraftfile.unikraft else {
        return Err(
            Failure::usage("the project is not built from source: it names no core")
                .hint("`unikraft: stable` in the Kraftfile names one"),
        );
    };
    let core = directory(&workplace.project, core).ok_or_else(|| missing("core"))?;
    let mut libraries = Vec::new();
    for library in &kraftfile.libraries {
        let dir = directory(&workplace.project, &library.component)
            .ok_or_else(|| missing(&library.name.value))?;
        libraries.push((library.name.value.clone(), dir));
    }
    let project = Project {
        kraftfile: Some(kraftfile),
        ..project
    };
    Ok((
        project,
        Components {
            core,
            app: application,
            libraries,
        },
    ))
}

fn missing(what: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("cannot find the {what}"))
}

/// Returns the directory that a component is, if it is one.
fn directory(project: &Path, component: &Component) -> Option<PathBuf> {
    let named = component.source.as_ref().or(component.short.as_ref())?;
    let path = project.join(&named.value);
    path.is_dir().then(|| path.canonicalize().ok()).flatten()
}

#[allow(dead_code)]
fn unused() -> Option<fs::Error> {
    None
}
