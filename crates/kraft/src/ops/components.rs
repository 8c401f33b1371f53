//! The components of a project: which they are, where they come from, where they are put.
//!
//! ```text
//! Kraftfile ─ directory? ─ yes ─► used in place, linked below .unikraft/
//!              └ no ─ in kraft.lock, and still asked for so? ─ yes ─► that
//!                        └ no ─ resolve ─► into kraft.lock       (never with --locked)
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kraft_build::sources::{Origin, Put, Sources, Wanted};
use kraft_core::component::{self, Kind as ComponentKind, Name};
use kraft_core::kraftfile::{Component, Kraftfile};
use kraft_core::lock::{Asked, Entry, Lock, Pin};
use kraft_sys::fs;

use super::project::{self, Project};
use super::sources;
pub(crate) use super::sources::Fetching;
use super::workplace::Workplace;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// A lock file is not longer than this, in bytes.
const LARGEST: u64 = 4 << 20;

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

/// One component, and what is known of it before anything is fetched.
#[derive(Clone, Debug)]
struct Part {
    wanted: Wanted,
    asked: Asked,
    /// The directory that it is, if it is one.
    directory: Option<PathBuf>,
    /// Where it is put.
    place: PathBuf,
}

/// Gets every component of a project, and completes the project by its template.
pub(crate) fn obtain(
    app: &App,
    project: Project,
    workplace: &Workplace,
    fetching: &Fetching,
) -> Result<(Project, Components), Failure> {
    let Some(kraftfile) = project.kraftfile.clone() else {
        return Err(Failure::new(Kind::Failed, "the Kraftfile has faults"));
    };
    let mut store = Shelf::open(app, workplace, fetching)?;
    let (kraftfile, application) = match &kraftfile.template {
        None => (kraftfile, workplace.project.clone()),
        Some(template) => {
            let part = template_part(workplace, template)?;
            let dir = store.get(app, std::slice::from_ref(&part))?;
            let dir = dir.into_iter().next().unwrap_or(part.place);
            (
                kraftfile.clone().over_template(template_of(app, &dir)?),
                dir,
            )
        }
    };
    let Some(core) = &kraftfile.unikraft else {
        return Err(
            Failure::usage("the project is not built from source: it names no core")
                .hint("`unikraft: stable` in the Kraftfile names one"),
        );
    };
    let mut parts = vec![part(
        workplace,
        ComponentKind::Core,
        "unikraft",
        core,
        &workplace.components().join("unikraft"),
    )];
    for library in &kraftfile.libraries {
        parts.push(part(
            workplace,
            ComponentKind::Lib,
            &library.name.value,
            &library.component,
            &workplace
                .components()
                .join("libs")
                .join(&library.name.value),
        ));
    }
    let mut dirs = store.get(app, &parts)?.into_iter();
    let Some(core) = dirs.next() else {
        return Err(Failure::new(Kind::NotFound, "the core was not found"));
    };
    let libraries = kraftfile
        .libraries
        .iter()
        .map(|library| library.name.value.clone())
        .zip(dirs)
        .collect();
    store.tell_drift(app, &parts);
    store.close(app)?;
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

/// Completes a project by its template if that is here; nothing is fetched.
pub(crate) fn complete(
    app: &App,
    project: Project,
    workplace: &Workplace,
) -> Result<Project, Failure> {
    let Some(kraftfile) = &project.kraftfile else {
        return Ok(project);
    };
    let Some(template) = &kraftfile.template else {
        return Ok(project);
    };
    let part = template_part(workplace, template)?;
    let dir = part.directory.unwrap_or(part.place);
    if !dir.is_dir() {
        return Ok(project);
    }
    let merged = kraftfile.clone().over_template(template_of(app, &dir)?);
    Ok(Project {
        kraftfile: Some(merged),
        ..project
    })
}

fn template_of(app: &App, dir: &Path) -> Result<Kraftfile, Failure> {
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
    let read = project::sound(app, project::read(app, Some(&file), None)?)?;
    let mut kraftfile = read
        .kraftfile
        .ok_or_else(|| Failure::new(Kind::Failed, "the Kraftfile of the template has faults"))?;
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
    Ok(kraftfile)
}

fn template_part(workplace: &Workplace, template: &Component) -> Result<Part, Failure> {
    let name = template
        .template_name()
        .or_else(|| {
            template
                .short
                .as_ref()
                .map(|short| component::of_source(short).1)
        })
        .filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
        .ok_or_else(|| {
            Failure::usage("the template of the project has no name")
                .hint("`template` in the Kraftfile says where it is from")
        })?;
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
    // Up to v0.6 a word alone may be a directory.
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
        // A file or a repository of this computer is meant from the project's directory.
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

/// Components on their way into a project, and the lock file that says which.
#[derive(Debug)]
struct Shelf<'a> {
    workplace: &'a Workplace,
    fetching: &'a Fetching,
    sources: Option<Sources>,
    before: Lock,
    after: Lock,
    /// Keys that are still asked for.
    used: Vec<String>,
}

impl<'a> Shelf<'a> {
    fn open(_app: &App, workplace: &'a Workplace, fetching: &'a Fetching) -> Result<Self, Failure> {
        let before = read_lock(&workplace.lock_file())?.unwrap_or_default();
        Ok(Self {
            workplace,
            fetching,
            sources: None,
            after: before.clone(),
            before,
            used: Vec::new(),
        })
    }

    /// Gets components to their places; returns where they are, in order.
    fn get(&mut self, app: &App, parts: &[Part]) -> Result<Vec<PathBuf>, Failure> {
        self.used.extend(parts.iter().map(|part| part.wanted.key()));
        let mut origins: Vec<Option<Origin>> = parts.iter().map(|part| self.known(part)).collect();
        let open: Vec<Wanted> = parts
            .iter()
            .zip(&origins)
            .filter(|(_, origin)| origin.is_none())
            .map(|(part, _)| part.wanted.clone())
            .collect();
        if !open.is_empty() {
            let mut found = self.resolve(app, &open)?.into_iter();
            for (origin, part) in origins.iter_mut().zip(parts) {
                if origin.is_none() {
                    *origin = found.next();
                    if let Some(Origin::Pinned(pin)) = origin {
                        self.pin(part, pin);
                    }
                }
            }
        }
        let origins: Vec<Origin> = origins.into_iter().flatten().collect();
        self.fetch(app, parts, &origins)?;
        let mut places = Vec::new();
        for (part, origin) in parts.iter().zip(&origins) {
            places.push(self.put(app, part, origin)?);
        }
        Ok(places)
    }

    /// Returns what needs no asking: a directory, or what the lock file says.
    fn known(&self, part: &Part) -> Option<Origin> {
        if let Some(directory) = &part.directory {
            return Some(Origin::Directory(directory.clone()));
        }
        let entry = self.before.components.get(&part.wanted.key())?;
        (entry.asked == part.asked).then(|| Origin::Pinned(self.as_used(&entry.pin)))
    }

    fn resolve(&mut self, app: &App, open: &[Wanted]) -> Result<Vec<Origin>, Failure> {
        if self.fetching.locked {
            let names: Vec<String> = open.iter().map(Wanted::key).collect();
            return Err(Failure::new(
                Kind::Failed,
                format!(
                    "kraft.lock does not fit the Kraftfile: {}",
                    drift(&self.before, &names)
                ),
            )
            .hint("build without `--locked` once and commit kraft.lock, or `kraft update`"));
        }
        let progress = app.ui.progress();
        let from_catalog = open.iter().any(|wanted| wanted.source.is_none());
        let fetching = self.fetching;
        let sources = self.sources(app)?;
        if from_catalog && fetching.fresh_catalog && !sources.offline {
            sources::update(app, sources)?;
        }
        let mut found = sources.resolve(open, &progress);
        let unknown = found.iter().any(|found| {
            matches!(
                found,
                Err(kraft_build::sources::Error::Unknown { .. }
                    | kraft_build::sources::Error::NoRelease { .. })
            )
        });
        if unknown && !fetching.fresh_catalog && !fetching.old_catalog && !sources.offline {
            // What is not known may be new.
            sources::update(app, sources)?;
            found = sources.resolve(open, &progress);
        }
        drop(progress);
        let mut origins = Vec::new();
        for (wanted, found) in open.iter().zip(found) {
            origins.push(found.map_err(|error| {
                Failure::from(error).about(&format!("cannot get {}", wanted.key()))
            })?);
        }
        Ok(origins)
    }

    fn pin(&mut self, part: &Part, pin: &Pin) {
        let entry = Entry {
            asked: part.asked.clone(),
            pin: self.as_written(pin),
        };
        self.after.components.insert(part.wanted.key(), entry);
    }

    /// Spells a path from the project's directory, so that it means the same in every clone.
    fn as_written(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let path = Path::new(&text)
                .strip_prefix(&self.workplace.project)
                .ok()?;
            let dot = if path.starts_with("..") { "" } else { "./" };
            Some(format!("{dot}{}", path.display()))
        })
    }

    /// The other way round.
    fn as_used(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let here = text.starts_with("./") || text.starts_with("../");
            let rest = text.strip_prefix("./").unwrap_or(text);
            let path = self.workplace.project.join(rest);
            here.then(|| path.to_string_lossy().into_owned())
        })
    }

    /// Fetches what is not in place yet.
    fn fetch(&mut self, app: &App, parts: &[Part], origins: &[Origin]) -> Result<(), Failure> {
        let mut pins = Vec::new();
        for (part, origin) in parts.iter().zip(origins) {
            if let Origin::Pinned(pin) = origin {
                if kraft_build::sources::is_in_place(pin, &part.place) && !self.fetching.again {
                    continue;
                }
                pins.push((part.wanted.key(), pin.clone()));
            }
        }
        if pins.is_empty() {
            return Ok(());
        }
        let progress = app.ui.progress();
        let sources = self.sources(app)?;
        let fetched = sources.obtain(&pins, &progress);
        drop(progress);
        for ((name, _), result) in pins.iter().zip(fetched) {
            result.map_err(|error| Failure::from(error).about(&format!("cannot get {name}")))?;
        }
        Ok(())
    }

    fn put(&mut self, app: &App, part: &Part, origin: &Origin) -> Result<PathBuf, Failure> {
        let key = part.wanted.key();
        let again = self.fetching.again;
        if let Origin::Pinned(pin) = origin {
            if !again && kraft_build::sources::is_in_place(pin, &part.place) {
                return Ok(part.place.clone());
            }
            if again && kraft_build::sources::is_ours(&part.place) {
                fs::remove_tree(&part.place)?;
            }
        }
        let put = self.sources(app)?.materialise(&key, origin, &part.place)?;
        if put == Put::Foreign {
            app.ui.warn(&format!(
                "`{}` was not put there by kraft, and is used as it is",
                part.place.display()
            ));
        }
        Ok(match (origin, put) {
            // The directory itself, so that make sees what its author sees.
            (Origin::Directory(path), Put::Placed | Put::Kept) => path.clone(),
            _ => part.place.clone(),
        })
    }

    fn sources(&mut self, app: &App) -> Result<&mut Sources, Failure> {
        if self.sources.is_none() {
            self.sources = Some(sources::open(app, self.fetching)?);
        }
        self.sources
            .as_mut()
            .ok_or_else(|| Failure::new(Kind::Failed, "components cannot be fetched"))
    }

    /// With `--locked`, tells which pins are behind, if the network can be asked: it changes
    /// nothing.
    fn tell_drift(&mut self, app: &App, parts: &[Part]) {
        if !self.fetching.locked || app.offline() {
            return;
        }
        let pinned: Vec<&Part> = parts
            .iter()
            .filter(|part| part.directory.is_none())
            .collect();
        let Ok(sources) = self.sources(app) else {
            return;
        };
        let wanted: Vec<Wanted> = pinned.iter().map(|part| part.wanted.clone()).collect();
        let latest = sources.latest(&wanted);
        for (part, latest) in pinned.iter().zip(latest) {
            let entry = self.before.components.get(&part.wanted.key());
            let (Some(entry), Some(latest)) = (entry, latest) else {
                continue;
            };
            if self.as_used(&entry.pin) != latest {
                app.ui.warn(&format!(
                    "drift: {} asked for as {} is at {} now, and kraft.lock keeps {}; \
                     `kraft update` moves it",
                    part.wanted.key(),
                    spelled(&part.asked),
                    latest.short(),
                    entry.pin.short()
                ));
            }
        }
    }

    /// Writes the lock file if it says something else now.
    fn close(mut self, app: &App) -> Result<(), Failure> {
        let used = std::mem::take(&mut self.used);
        self.after.components.retain(|key, _| used.contains(key));
        if self.after == self.before || self.fetching.locked {
            return Ok(());
        }
        write_lock(app, self.workplace, &self.after)
    }
}

/// Returns a pin with its place spelled otherwise, where there is another spelling.
fn with_place(pin: &Pin, spell: impl Fn(&str) -> Option<String>) -> Pin {
    let mut pin = pin.clone();
    let place = match &mut pin {
        Pin::Git { git, .. } => git,
        Pin::Archive { archive, .. } => archive,
    };
    if let Some(other) = spell(place) {
        *place = other;
    }
    pin
}

/// Fetches a component of the catalog into the cache, and with a directory of a project below that.
pub(crate) fn fetch(app: &App, name: &Name, into: Option<&Path>) -> Result<(), Failure> {
    let fetching = Fetching::default();
    let mut door = sources::open(app, &fetching)?;
    if kraft_build::catalog::find(&door.catalog, name).is_empty() && !door.offline {
        sources::update(app, &mut door)?;
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
    let progress = app.ui.progress();
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

/// Says how a lock file does not fit.
fn drift(lock: &Lock, names: &[String]) -> String {
    let each: Vec<String> = names
        .iter()
        .map(|name| match lock.components.get(name) {
            Some(entry) => format!("{name} was asked for as {}", spelled(&entry.asked)),
            None => format!("it does not know {name}"),
        })
        .collect();
    each.join(", ")
}

fn spelled(asked: &Asked) -> String {
    match (&asked.source, &asked.version) {
        (Some(source), Some(version)) => format!("`{source}` at `{version}`"),
        (Some(only), None) | (None, Some(only)) => format!("`{only}`"),
        (None, None) => "its default version".to_owned(),
    }
}

/// Reads a lock file; `None` if there is none.
pub(crate) fn read_lock(path: &Path) -> Result<Option<Lock>, Failure> {
    let bytes = match fs::read_file(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    Lock::parse(&text).map(Some).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("cannot use `{}`: {error}", path.display()),
        )
        .hint("restore it from version control, or remove it to resolve everything anew")
    })
}

/// Writes a lock file; a project that cannot be written to has none.
pub(crate) fn write_lock(app: &App, workplace: &Workplace, lock: &Lock) -> Result<(), Failure> {
    let text = lock
        .text()
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    match fs::replace_file(&workplace.lock_file(), text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            app.ui.warn(&format!(
                "`{}` cannot be written, so nothing is pinned",
                workplace.lock_file().display()
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A pin that would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// The component: `lib/lwip`.
    pub(crate) name: String,
    /// What it is asked for as.
    pub(crate) asked: Asked,
    /// What it is pinned to; `None` if it is not.
    pub(crate) from: Option<Pin>,
    /// What it would be pinned to.
    pub(crate) to: Pin,
}

/// Finds out which pins would move if everything, or what is named, were resolved anew; with
/// `write`, they do.
pub(crate) fn update(
    app: &App,
    project: &Project,
    workplace: &Workplace,
    names: &[String],
    write: bool,
) -> Result<Vec<Move>, Failure> {
    let Some(kraftfile) = project.kraftfile.clone() else {
        return Err(Failure::new(Kind::Failed, "the Kraftfile has faults"));
    };
    let fetching = Fetching {
        fresh_catalog: true,
        ..Fetching::default()
    };
    let mut shelf = Shelf::open(app, workplace, &fetching)?;
    let mut moves = Vec::new();
    let mut kraftfile = kraftfile;
    if let Some(template) = kraftfile.template.clone() {
        let part = template_part(workplace, &template)?;
        shelf.renew(app, std::slice::from_ref(&part), names, &mut moves)?;
        if write || part.directory.is_some() {
            let dir = shelf.get(app, std::slice::from_ref(&part))?;
            if let Some(dir) = dir.first() {
                kraftfile = kraftfile.over_template(template_of(app, dir)?);
            }
        }
    }
    let mut parts = Vec::new();
    if let Some(core) = &kraftfile.unikraft {
        let place = workplace.components().join("unikraft");
        parts.push(part(
            workplace,
            ComponentKind::Core,
            "unikraft",
            core,
            &place,
        ));
    }
    for library in &kraftfile.libraries {
        let name = &library.name.value;
        let place = workplace.components().join("libs").join(name);
        parts.push(part(
            workplace,
            ComponentKind::Lib,
            name,
            &library.component,
            &place,
        ));
    }
    let known: BTreeSet<String> = parts
        .iter()
        .map(|part| part.wanted.key())
        .chain(shelf.used.iter().cloned())
        .collect();
    for name in names {
        let fits =
            |key: &String| key == name || key.split_once('/').is_some_and(|(_, n)| n == name);
        if !known.iter().any(fits) {
            let all: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(Failure::new(
                Kind::NotFound,
                format!("the project has no component `{name}`"),
            )
            .hint(format!("it has {}", all.join(", "))));
        }
    }
    shelf.renew(app, &parts, names, &mut moves)?;
    if write {
        write_lock_if_changed(app, &mut shelf)?;
    }
    Ok(moves)
}

fn write_lock_if_changed(app: &App, shelf: &mut Shelf<'_>) -> Result<(), Failure> {
    if shelf.after != shelf.before {
        write_lock(app, shelf.workplace, &shelf.after)?;
    }
    Ok(())
}

impl Shelf<'_> {
    /// Resolves what is named anew.
    fn renew(
        &mut self,
        app: &App,
        parts: &[Part],
        names: &[String],
        moves: &mut Vec<Move>,
    ) -> Result<(), Failure> {
        self.used.extend(parts.iter().map(|part| part.wanted.key()));
        let meant: Vec<&Part> = parts
            .iter()
            .filter(|part| part.directory.is_none())
            .filter(|part| {
                names.is_empty()
                    || names.contains(&part.wanted.name)
                    || names.contains(&part.wanted.key())
            })
            .collect();
        let wanted: Vec<Wanted> = meant.iter().map(|part| part.wanted.clone()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.resolve(app, &wanted)?;
        for (part, origin) in meant.into_iter().zip(found) {
            let Origin::Pinned(pin) = origin else {
                continue;
            };
            let entry = self.before.components.get(&part.wanted.key());
            let from = entry.map(|entry| self.as_used(&entry.pin));
            if from.as_ref() != Some(&pin) {
                moves.push(Move {
                    name: part.wanted.key(),
                    asked: part.asked.clone(),
                    from,
                    to: pin.clone(),
                });
            }
            self.pin(part, &pin);
        }
        Ok(())
    }
}
