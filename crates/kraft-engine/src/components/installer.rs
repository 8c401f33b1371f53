//! Installs components into a project: taken from the lock file or resolved, fetched, put in place.

use std::path::{Path, PathBuf};

use kraft_build::sources::{Error as FetchError, Origin, Put, Sources, Wanted};
use kraft_core::lock::{Asked, Entry, Lock, Pin};
use kraft_sys::fs;

use super::error::Error;
use super::lockfile;
use super::part::Part;
use crate::context::Context;
use crate::sources::{self, Fetching};
use crate::workplace::Workplace;

/// Installs components into a project, by its lock file.
#[derive(Debug)]
pub(super) struct Installer<'a> {
    pub(super) workplace: &'a Workplace,
    pub(super) fetching: &'a Fetching,
    sources: Option<Sources>,
    /// The lock file as it was read.
    pub(super) before: Lock,
    /// The lock file to write: as it was read, with every pin that was resolved since.
    pub(super) after: Lock,
    /// The keys of components that the project asks for.
    pub(super) used: Vec<String>,
}

impl<'a> Installer<'a> {
    /// Reads the lock file; connects to nothing.
    pub(super) fn open(workplace: &'a Workplace, fetching: &'a Fetching) -> Result<Self, Error> {
        let before = lockfile::read(&workplace.lock_file())?.unwrap_or_default();
        Ok(Self {
            workplace,
            fetching,
            sources: None,
            after: before.clone(),
            before,
            used: Vec::new(),
        })
    }

    /// Installs components; returns their directories, in order.
    pub(super) fn get(&mut self, ctx: &Context, parts: &[Part]) -> Result<Vec<PathBuf>, Error> {
        self.used.extend(parts.iter().map(|part| part.wanted.key()));
        let mut origins: Vec<Option<Origin>> = parts.iter().map(|part| self.known(part)).collect();
        let open: Vec<Wanted> = parts
            .iter()
            .zip(&origins)
            .filter(|(_, origin)| origin.is_none())
            .map(|(part, _)| part.wanted.clone())
            .collect();
        if !open.is_empty() {
            let mut found = self.resolve(ctx, &open)?.into_iter();
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
        self.fetch(ctx, parts, &origins)?;
        let mut places = Vec::new();
        for (part, origin) in parts.iter().zip(&origins) {
            places.push(self.put(ctx, part, origin)?);
        }
        Ok(places)
    }

    /// Returns where a component comes from without resolving it: a directory, or its pin.
    fn known(&self, part: &Part) -> Option<Origin> {
        if let Some(directory) = &part.directory {
            return Some(Origin::Directory(directory.clone()));
        }
        let entry = self.after.components.get(&part.wanted.key())?;
        (entry.asked == part.asked).then(|| Origin::Pinned(self.as_used(&entry.pin)))
    }

    /// Resolves components to where they come from; updates the catalog if it does not have them.
    pub(super) fn resolve(&mut self, ctx: &Context, open: &[Wanted]) -> Result<Vec<Origin>, Error> {
        if self.fetching.locked {
            let names: Vec<String> = open.iter().map(Wanted::key).collect();
            return Err(Error::Locked {
                differences: differences(&self.before, &names),
            });
        }
        let progress = ctx.progress();
        let from_catalog = open.iter().any(|wanted| wanted.source.is_none());
        let fetching = self.fetching;
        let sources = self.sources(ctx)?;
        if from_catalog && fetching.fresh_catalog && !sources.offline {
            sources::update(ctx, sources)?;
        }
        let mut found = sources.resolve(open, &progress);
        let unknown = found.iter().any(|found| {
            matches!(
                found,
                Err(FetchError::Unknown { .. } | FetchError::NoRelease { .. })
            )
        });
        if unknown && !fetching.fresh_catalog && !fetching.old_catalog && !sources.offline {
            // An unknown component may be newer than the catalog.
            sources::update(ctx, sources)?;
            found = sources.resolve(open, &progress);
        }
        drop(progress);
        let offline = sources.offline;
        let mut origins = Vec::new();
        for (wanted, found) in open.iter().zip(found) {
            let name = wanted.key();
            origins.push(found.map_err(|error| match error {
                // The component may exist: only a catalog can say.
                FetchError::Unknown { empty: true, .. } if offline => Error::NoCatalog { name },
                source => Error::Get {
                    name,
                    source: Box::new(source),
                },
            })?);
        }
        Ok(origins)
    }

    /// Pins a component.
    pub(super) fn pin(&mut self, part: &Part, pin: &Pin) {
        let entry = Entry {
            asked: part.asked.clone(),
            pin: self.as_written(pin),
        };
        self.after.components.insert(part.wanted.key(), entry);
    }

    /// Returns a pin as it is written: local paths are relative to the project, so that they mean
    /// the same in every clone.
    pub(super) fn as_written(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let path = Path::new(&text)
                .strip_prefix(&self.workplace.project)
                .ok()?;
            let dot = if path.starts_with("..") { "" } else { "./" };
            Some(format!("{dot}{}", path.display()))
        })
    }

    /// Returns a pin as it is used: local paths are absolute.
    pub(super) fn as_used(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let relative = text.starts_with("./") || text.starts_with("../");
            let rest = text.strip_prefix("./").unwrap_or(text);
            let path = self.workplace.project.join(rest);
            relative.then(|| path.to_string_lossy().into_owned())
        })
    }

    /// Fetches components that are not in place yet.
    pub(super) fn fetch(
        &mut self,
        ctx: &Context,
        parts: &[Part],
        origins: &[Origin],
    ) -> Result<(), Error> {
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
        for (name, pin) in &pins {
            tracing::debug!(name, version = pin.short(), "fetching a component");
        }
        let progress = ctx.progress();
        let sources = self.sources(ctx)?;
        let fetched = sources.obtain(&pins, &progress);
        drop(progress);
        for ((name, _), result) in pins.iter().zip(fetched) {
            result.map_err(|source| Error::Get {
                name: name.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// Puts a component in place; returns its directory.
    pub(super) fn put(
        &mut self,
        ctx: &Context,
        part: &Part,
        origin: &Origin,
    ) -> Result<PathBuf, Error> {
        let key = part.wanted.key();
        let again = self.fetching.again;
        if let Origin::Pinned(pin) = origin {
            if !again && kraft_build::sources::is_in_place(pin, &part.place) {
                return Ok(part.place.clone());
            }
            if again && kraft_build::sources::is_ours(&part.place) {
                tracing::debug!(dir = %part.place.display(), "removing a component");
                fs::remove_tree(&part.place)?;
            }
        }
        let put = self.sources(ctx)?.materialise(&key, origin, &part.place)?;
        tracing::debug!(name = key, dir = %part.place.display(), ?put, "installed a component");
        if put == Put::Foreign {
            ctx.warn(&format!(
                "`{}` was not created by kraft, and is used as it is",
                part.place.display()
            ));
        }
        Ok(match (origin, put) {
            // The directory itself and not the link to it, so that make shows the user's paths.
            (Origin::Directory(path), Put::Placed | Put::Kept) => path.clone(),
            _ => part.place.clone(),
        })
    }

    /// Returns where components are fetched from, opened once.
    pub(super) fn sources(&mut self, ctx: &Context) -> Result<&mut Sources, Error> {
        let sources = match self.sources.take() {
            Some(sources) => sources,
            None => sources::open(ctx, self.fetching)?,
        };
        Ok(self.sources.insert(sources))
    }

    /// With `--locked` and a network, warns of pins that are behind their versions. It changes
    /// nothing.
    pub(super) fn warn_of_drift(&mut self, ctx: &Context, parts: &[Part]) {
        if !self.fetching.locked || ctx.settings.offline {
            return;
        }
        let pinned: Vec<&Part> = parts
            .iter()
            .filter(|part| part.directory.is_none())
            .collect();
        let Ok(sources) = self.sources(ctx) else {
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
                ctx.warn(&format!(
                    "{} ({}) is at {} now, and kraft.lock has {}: `kraft update` updates it",
                    part.wanted.key(),
                    describe(&part.asked),
                    latest.short(),
                    entry.pin.short()
                ));
            }
        }
    }

    /// Writes the lock file if it has changed.
    pub(super) fn finish(mut self, ctx: &Context) -> Result<(), Error> {
        let used = std::mem::take(&mut self.used);
        self.after.components.retain(|key, _| used.contains(key));
        if self.after == self.before || self.fetching.locked {
            return Ok(());
        }
        lockfile::write(ctx, self.workplace, &self.after)
    }
}

/// Returns a pin whose place is replaced, if `replace` returns another.
fn with_place(pin: &Pin, replace: impl Fn(&str) -> Option<String>) -> Pin {
    let mut pin = pin.clone();
    let place = match &mut pin {
        Pin::Git { git, .. } => git,
        Pin::Archive { archive, .. } => archive,
    };
    if let Some(other) = replace(place) {
        *place = other;
    }
    pin
}

/// Returns how a lock file differs from what is asked for, one sentence for each component.
fn differences(lock: &Lock, names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| match lock.components.get(name) {
            Some(entry) => format!("it has {name} as {}", describe(&entry.asked)),
            None => format!("it does not have {name}"),
        })
        .collect()
}

fn describe(asked: &Asked) -> String {
    match (&asked.source, &asked.version) {
        (Some(source), Some(version)) => format!("`{source}` at `{version}`"),
        (Some(only), None) | (None, Some(only)) => format!("`{only}`"),
        (None, None) => "its default version".to_owned(),
    }
}
