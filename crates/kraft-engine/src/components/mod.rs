//! The components of a project: its template, its core and its libraries, fetched and put in place.
//!
//! ```text
//! Kraftfile ─ a directory? ─ yes ─► used in place, linked below .unikraft/
//!              └ no ─ pinned in kraft.lock, for the same source and version? ─ yes ─► the pin
//!                        └ no ─ resolve ─► pinned in kraft.lock       (never with --locked)
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::components::{self, Fetching};
//! use kraft_engine::project;
//! use kraft_engine::workplace::Workplace;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.offline = true;
//! # context.settings.sources_dir = dir.path().join("sources");
//! # context.settings.manifests_dir = dir.path().join("manifests");
//! # context.dirs.data = dir.path().join("data");
//! // A project whose core is a directory beside it.
//! let (core, app) = (dir.path().join("core"), dir.path().join("app"));
//! std::fs::create_dir_all(&core)?;
//! std::fs::create_dir_all(&app)?;
//! let text = "spec: v0.6\nname: web\nunikraft: {source: ../core}\ntargets: [qemu/x86_64]\n";
//! std::fs::write(app.join("Kraftfile"), text)?;
//!
//! let project = project::open(&context, Some(&app), None)?;
//! let workplace = Workplace::open(&context, &project)?;
//! let obtained = components::obtain(&context, project, &workplace, &Fetching::default());
//! let (_, components) = obtained?;
//! assert_eq!(components.core.canonicalize()?, core.canonicalize()?);
//! assert!(components.libraries.is_empty());
//! # Ok(())
//! # }
//! ```

mod error;
mod installer;
mod lockfile;
mod part;
mod update;

use std::path::{Path, PathBuf};

use kraft_build::sources::{Origin, Wanted};
use kraft_core::component::{Kind as ComponentKind, Name};
use kraft_core::kraftfile::Kraftfile;
use kraft_core::mount;
use kraft_core::problem::Text;

pub use self::error::Error;
use self::installer::Installer;
pub use self::lockfile::{read as read_lock, write as write_lock};
use self::part::{parts, template_part};
pub use self::update::{PinChange, update};
use super::project::{self, Project, TemplateText};
pub use super::sources::Fetching;
use super::workplace::Workplace;
use crate::context::Context;

/// The directories of a project's components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// The core.
    pub core: PathBuf,
    /// The application: the project itself, or its template.
    pub app: PathBuf,
    /// The libraries by name.
    pub libraries: Vec<(String, PathBuf)>,
}

/// Fetches every component of a project and puts it in place; completes the project by its template.
///
/// # Errors
///
/// If the project names no core, a component cannot be fetched, or the template has no Kraftfile that
/// can be used.
pub fn obtain(
    ctx: &Context,
    project: Project,
    workplace: &Workplace,
    fetching: &Fetching,
) -> Result<(Project, Components), Error> {
    let kraftfile = project.kraftfile.clone();
    let mut installer = Installer::open(workplace, fetching)?;
    let (kraftfile, application, template) = match &kraftfile.template {
        None => (kraftfile, workplace.project.clone(), None),
        Some(template) => {
            let part = template_part(workplace, template)?;
            let dir = installer.get(ctx, std::slice::from_ref(&part))?;
            let dir = dir.into_iter().next().unwrap_or(part.place);
            let (template, text) = template_of(ctx, workplace, &dir)?;
            (kraftfile.clone().over_template(template), dir, Some(text))
        }
    };
    if kraftfile.unikraft.is_none() {
        return Err(Error::NoCore);
    }
    let parts = parts(workplace, &kraftfile);
    let mut dirs = installer.get(ctx, &parts)?.into_iter();
    let core = dirs.next().ok_or(Error::NoCore)?;
    let libraries = kraftfile
        .libraries
        .iter()
        .map(|library| library.name.value.clone())
        .zip(dirs)
        .collect();
    installer.warn_of_drift(ctx, &parts);
    installer.finish(ctx)?;
    let project = Project {
        kraftfile,
        template,
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

/// Returns a project completed by its template, and its components if all of them are in place.
/// Fetches and changes nothing.
///
/// # Errors
///
/// If the template cannot be used.
pub fn in_place(
    ctx: &Context,
    project: Project,
    workplace: &Workplace,
) -> Result<(Project, Option<Components>), Error> {
    let application = match &project.kraftfile.template {
        None => Some(workplace.project.clone()),
        Some(template) => installed(template_part(workplace, template)?),
    };
    let project = complete(ctx, project, workplace)?;
    let kraftfile = &project.kraftfile;
    let mut places = parts(workplace, kraftfile).into_iter().map(installed);
    let core = kraftfile.unikraft.as_ref().and_then(|_| places.next());
    let names = kraftfile
        .libraries
        .iter()
        .map(|library| &library.name.value);
    let libraries = names
        .zip(places)
        .map(|(name, place)| Some((name.clone(), place?)))
        .collect::<Option<Vec<_>>>();
    let components = match (core.flatten(), application, libraries) {
        (Some(core), Some(app), Some(libraries)) => Some(Components {
            core,
            app,
            libraries,
        }),
        _ => None,
    };
    Ok((project, components))
}

/// Returns the directories of the components that are in place: the application, the core and the libraries. Fetches
/// and changes nothing.
#[must_use]
pub fn present(workplace: &Workplace, kraftfile: &Kraftfile) -> Vec<PathBuf> {
    let template = kraftfile.template.as_ref();
    let template = template.and_then(|it| installed(template_part(workplace, it).ok()?));
    let parts = parts(workplace, kraftfile).into_iter();
    let application = template.unwrap_or_else(|| workplace.project.clone());
    std::iter::once(application)
        .chain(parts.filter_map(installed))
        .collect()
}

/// Returns the directory of a component, if it is in place.
fn installed(part: part::Part) -> Option<PathBuf> {
    let place = part.directory.unwrap_or(part.place);
    place.is_dir().then_some(place)
}

/// Completes a project by its template, if that is in place; fetches nothing.
///
/// # Errors
///
/// If the template cannot be used.
pub fn complete(ctx: &Context, project: Project, workplace: &Workplace) -> Result<Project, Error> {
    let Some(template) = &project.kraftfile.template else {
        return Ok(project);
    };
    let part = template_part(workplace, template)?;
    let dir = part.directory.unwrap_or(part.place);
    if !dir.is_dir() {
        return Ok(project);
    }
    let (template, text) = template_of(ctx, workplace, &dir)?;
    let kraftfile = project.kraftfile.over_template(template);
    Ok(Project {
        kraftfile,
        template: Some(text),
        ..project
    })
}

/// Reads the Kraftfile of a template: paths in it are made relative to the project's directory.
fn template_of(
    ctx: &Context,
    workplace: &Workplace,
    dir: &Path,
) -> Result<(Kraftfile, TemplateText), Error> {
    let file = kraft_core::kraftfile::FILE_NAMES
        .iter()
        .map(|name| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::NoTemplateKraftfile(dir.to_owned()))?;
    let read = project::open(ctx, Some(&file), None)?;
    let mut kraftfile = read.kraftfile;
    let options = kraftfile.option_places();
    let shown = file.strip_prefix(&workplace.project).unwrap_or(&file);
    let text = TemplateText {
        text: Text {
            name: shown.display().to_string(),
            text: read.text.text,
        },
        options,
    };
    // Files of a template are beside its own Kraftfile.
    let below = |path: &mut String| *path = dir.join(&*path).to_string_lossy().into_owned();
    for rootfs in kraftfile.rootfs.iter_mut().chain(&mut kraftfile.roms) {
        for path in rootfs.path.iter_mut().chain(&mut rootfs.dockerfile) {
            below(&mut path.value);
        }
    }
    for volume in &mut kraftfile.volumes {
        let source = &mut volume.source.value;
        // Named volumes have no place in a directory.
        if mount::check_name(source).is_err() || dir.join(&*source).is_dir() {
            below(source);
        }
    }
    let components = kraftfile.unikraft.iter_mut().chain(
        kraftfile
            .libraries
            .iter_mut()
            .map(|library| &mut library.component),
    );
    for component in components {
        for source in component.source.iter_mut().chain(&mut component.short) {
            if !source.value.contains("://") && dir.join(&source.value).exists() {
                below(&mut source.value);
            }
        }
    }
    Ok((kraftfile, text))
}

/// Fetches a component of the catalog into the cache; with `into`, puts it in place in the project of
/// that directory.
///
/// # Errors
///
/// If the catalog does not have it, or it cannot be fetched.
pub fn fetch(ctx: &Context, name: &Name, into: Option<&Path>) -> Result<(), Error> {
    let fetching = Fetching::default();
    let mut sources = crate::sources::open(ctx, &fetching)?;
    if kraft_build::catalog::find(&sources.catalog, name).is_empty() && !sources.offline {
        crate::sources::update(ctx, &mut sources)?;
    }
    let found: Vec<Wanted> = kraft_build::catalog::find(&sources.catalog, name)
        .into_iter()
        .map(|entry| Wanted {
            kind: entry.kind,
            name: entry.name.clone(),
            source: None,
            version: name.version.clone(),
        })
        .collect();
    if found.is_empty() {
        return Err(Error::NotInCatalog(name.to_string()));
    }
    let progress = ctx.progress();
    for (wanted, origin) in found.iter().zip(sources.resolve(&found, &progress)) {
        let origin = origin?;
        if let Origin::Pinned(pin) = &origin {
            for result in sources.obtain(&[(wanted.key(), pin.clone())], &progress) {
                result?;
            }
        }
        if let Some(project) = into {
            let below = match wanted.kind {
                ComponentKind::Core => "unikraft".to_owned(),
                kind => format!("{kind}s/{}", wanted.name),
            };
            let dir = project.join(".unikraft").join(below);
            let put = sources.materialise(&wanted.key(), &origin, &dir)?;
            tracing::debug!(name = wanted.key(), dir = %dir.display(), ?put, "installed a component");
        }
    }
    Ok(())
}
