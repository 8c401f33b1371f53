//! What a project asks for, component by component, before anything is fetched.

use std::path::{Path, PathBuf};

use kraft_build::sources::Wanted;
use kraft_core::component::{self, Kind as ComponentKind};
use kraft_core::kraftfile::{Component, Kraftfile};
use kraft_core::lock::Asked;

use super::error::Error;
use crate::workplace::Workplace;

/// One component that a project asks for.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) wanted: Wanted,
    pub(super) asked: Asked,
    /// The directory that is used in place, if the project names one.
    pub(super) directory: Option<PathBuf>,
    /// The directory that it is put in.
    pub(super) place: PathBuf,
}

/// Returns what a project asks for as its template.
pub(super) fn template_part(workplace: &Workplace, template: &Component) -> Result<Part, Error> {
    let name = template
        .template_name()
        .or_else(|| {
            template
                .short
                .as_ref()
                .map(|short| component::of_source(short).1)
        })
        .filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
        .ok_or(Error::UnnamedTemplate)?;
    Ok(part(
        workplace,
        ComponentKind::App,
        name,
        template,
        &workplace.components().join("apps").join(name),
    ))
}

fn part(
    workplace: &Workplace,
    kind: ComponentKind,
    name: &str,
    component: &Component,
    place: &Path,
) -> Part {
    let source = component.source.as_ref().map(|source| source.value.clone());
    let version = component
        .version
        .as_ref()
        .map(|version| version.value.clone());
    // Up to v0.6 a component that is one word may be a directory.
    let directory = component
        .source
        .as_ref()
        .or(component.short.as_ref())
        .map(|named| {
            workplace
                .project
                .join(named.value.trim_start_matches("file://"))
        })
        .filter(|_| {
            !source
                .as_ref()
                .is_some_and(|source| source.starts_with("file://"))
        })
        .filter(|dir| dir.is_dir() && !is_bare_repository(dir))
        .and_then(|dir| dir.canonicalize().ok());
    let fetched_from = source.as_ref().map(|source| {
        let path = workplace.project.join(source);
        // A file or a local repository is relative to the project's directory.
        if !source.contains("://") && path.exists() {
            path.to_string_lossy().into_owned()
        } else {
            source.clone()
        }
    });
    Part {
        wanted: Wanted {
            kind,
            name: name.to_owned(),
            source: fetched_from,
            version: version.clone(),
        },
        asked: Asked { source, version },
        directory,
        place: place.to_owned(),
    }
}

fn is_bare_repository(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

/// Returns what a project asks for: the core first, if it names one, then the libraries.
pub(super) fn parts(workplace: &Workplace, kraftfile: &Kraftfile) -> Vec<Part> {
    let below = workplace.components();
    let core = kraftfile.unikraft.iter().map(|core| {
        let place = below.join("unikraft");
        part(workplace, ComponentKind::Core, "unikraft", core, &place)
    });
    let libraries = kraftfile.libraries.iter().map(|library| {
        let name = &library.name.value;
        let place = below.join("libs").join(name);
        part(
            workplace,
            ComponentKind::Lib,
            name,
            &library.component,
            &place,
        )
    });
    core.chain(libraries).collect()
}
