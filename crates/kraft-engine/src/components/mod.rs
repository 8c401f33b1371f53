//! The components of a project: which they are, where they come from, where they are put.
//!
//! ```text
//! Kraftfile ─ directory? ─ yes ─► used in place, linked below .unikraft/
//!              └ no ─ in kraft.lock, and still asked for so? ─ yes ─► that
//!                        └ no ─ resolve ─► into kraft.lock       (never with --locked)
//! ```

mod lockfile;
mod part;
mod shelf;
mod update;

use std::path::{Path, PathBuf};

use kraft_build::sources::{Origin, Wanted};
use kraft_core::component::{Kind as ComponentKind, Name};
use kraft_core::kraftfile::Kraftfile;

pub use self::lockfile::{read as read_lock, write as write_lock};
use self::part::{parts, template_part};
use self::shelf::Shelf;
pub use self::update::{Move, update};
use super::project::{self, Project, TemplateText};
use super::sources;
pub use super::sources::Fetching;
use super::workplace::Workplace;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// Where the components of a project are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// The core.
    pub core: PathBuf,
    /// The application: the project itself, or its template.
    pub app: PathBuf,
    /// The libraries by name.
    pub libraries: Vec<(String, PathBuf)>,
}

/// Gets every component of a project, and completes the project by its template.
pub fn obtain(
    ctx: &Context,
    project: Project,
    workplace: &Workplace,
    fetching: &Fetching,
) -> Result<(Project, Components), Failure> {
    let kraftfile = project.kraftfile.clone();
    let mut store = Shelf::open(workplace, fetching)?;
    let (kraftfile, application, template) = match &kraftfile.template {
        None => (kraftfile, workplace.project.clone(), None),
        Some(template) => {
            let part = template_part(workplace, template)?;
            let dir = store.get(ctx, std::slice::from_ref(&part))?;
            let dir = dir.into_iter().next().unwrap_or(part.place);
            let (template, text) = template_of(ctx, workplace, &dir)?;
            (kraftfile.clone().over_template(template), dir, Some(text))
        }
    };
    if kraftfile.unikraft.is_none() {
        return Err(
            Failure::usage("the project is not built from source: it names no core")
                .hint("`unikraft: stable` in the Kraftfile names one"),
        );
    }
    let parts = parts(workplace, &kraftfile);
    let mut dirs = store.get(ctx, &parts)?.into_iter();
    let Some(core) = dirs.next() else {
        return Err(Failure::new(Kind::NotFound, "the core was not found"));
    };
    let libraries = kraftfile
        .libraries
        .iter()
        .map(|library| library.name.value.clone())
        .zip(dirs)
        .collect();
    store.tell_drift(ctx, &parts);
    store.close(ctx)?;
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

/// Returns a project completed by its template, and its components, if all of them are in their
/// places; nothing is fetched, and nothing is changed.
pub fn in_place(
    ctx: &Context,
    project: Project,
    workplace: &Workplace,
) -> Result<(Project, Option<Components>), Failure> {
    let application = match &project.kraftfile.template {
        None => Some(workplace.project.clone()),
        Some(template) => here(template_part(workplace, template)?),
    };
    let project = complete(ctx, project, workplace)?;
    let kraftfile = &project.kraftfile;
    let mut places = parts(workplace, kraftfile).into_iter().map(here);
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

/// Returns where a component is, if it is here.
fn here(part: part::Part) -> Option<PathBuf> {
    let place = part.directory.unwrap_or(part.place);
    place.is_dir().then_some(place)
}

/// Completes a project by its template if that is here; nothing is fetched.
pub fn complete(
    ctx: &Context,
    project: Project,
    workplace: &Workplace,
) -> Result<Project, Failure> {
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

/// Reads a template: what it says, seen from the project's directory, and its text.
fn template_of(
    ctx: &Context,
    workplace: &Workplace,
    dir: &Path,
) -> Result<(Kraftfile, TemplateText), Failure> {
    let here = kraft_core::kraftfile::FILE_NAMES
        .iter()
        .map(|name| dir.join(name))
        .find(|file| file.is_file());
    let Some(file) = here else {
        return Err(Failure::new(
            Kind::NotFound,
            format!("the template in `{}` has no Kraftfile", dir.display()),
        ));
    };
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
    // What a template brings along lies beside its Kraftfile, not beside the project's.
    let below = |path: &mut String| *path = dir.join(&*path).to_string_lossy().into_owned();
    for rootfs in kraftfile.rootfs.iter_mut().chain(&mut kraftfile.roms) {
        for path in rootfs.path.iter_mut().chain(&mut rootfs.dockerfile) {
            below(&mut path.value);
        }
    }
    for volume in &mut kraftfile.volumes {
        below(&mut volume.source.value);
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

/// Fetches a component of the catalog into the cache, and with a directory of a project below that.
pub fn fetch(ctx: &Context, name: &Name, into: Option<&Path>) -> Result<(), Failure> {
    let fetching = Fetching::default();
    let mut door = sources::open(ctx, &fetching)?;
    if kraft_build::catalog::find(&door.catalog, name).is_empty() && !door.offline {
        sources::update(ctx, &mut door)?;
    }
    let found: Vec<Wanted> = kraft_build::catalog::find(&door.catalog, name)
        .into_iter()
        .map(|entry| Wanted {
            kind: entry.kind,
            name: entry.name.clone(),
            source: None,
            version: name.version.clone(),
        })
        .collect();
    if found.is_empty() {
        return Err(
            Failure::new(Kind::NotFound, format!("could not find {name}"))
                .hint("`kraft pkg ls --libs` lists what there is"),
        );
    }
    let progress = ctx.progress();
    for (wanted, origin) in found.iter().zip(door.resolve(&found, &progress)) {
        let origin = origin?;
        if let Origin::Pinned(pin) = &origin {
            for result in door.obtain(&[(wanted.key(), pin.clone())], &progress) {
                result?;
            }
        }
        if let Some(project) = into {
            let below = match wanted.kind {
                ComponentKind::Core => "unikraft".to_owned(),
                kind => format!("{kind}s/{}", wanted.name),
            };
            door.materialise(
                &wanted.key(),
                &origin,
                &project.join(".unikraft").join(below),
            )?;
        }
    }
    Ok(())
}
