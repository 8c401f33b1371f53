//! Components on their way into a project: known by the lock file or resolved, fetched, put.

use std::path::{Path, PathBuf};

use kraft_build::sources::{Origin, Put, Sources, Wanted};
use kraft_core::lock::{Asked, Entry, Lock, Pin};
use kraft_sys::fs;

use super::lockfile;
use super::part::Part;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::sources::{self, Fetching};
use crate::workplace::Workplace;

/// Components on their way into a project, and the lock file that says which.
#[derive(Debug)]
pub(super) struct Shelf<'a> {
    pub(super) workplace: &'a Workplace,
    pub(super) fetching: &'a Fetching,
    sources: Option<Sources>,
    /// What the lock file says.
    pub(super) before: Lock,
    /// What it is to say: the same, with every pin that was resolved since.
    pub(super) after: Lock,
    /// Keys that are still asked for.
    pub(super) used: Vec<String>,
}

impl<'a> Shelf<'a> {
    pub(super) fn open(workplace: &'a Workplace, fetching: &'a Fetching) -> Result<Self, Failure> {
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

    /// Gets components to their places; returns where they are, in order.
    pub(super) fn get(&mut self, ctx: &Context, parts: &[Part]) -> Result<Vec<PathBuf>, Failure> {
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

    /// Returns what needs no asking: a directory, or what the lock file is to say.
    fn known(&self, part: &Part) -> Option<Origin> {
        if let Some(directory) = &part.directory {
            return Some(Origin::Directory(directory.clone()));
        }
        let entry = self.after.components.get(&part.wanted.key())?;
        (entry.asked == part.asked).then(|| Origin::Pinned(self.as_used(&entry.pin)))
    }

    pub(super) fn resolve(
        &mut self,
        ctx: &Context,
        open: &[Wanted],
    ) -> Result<Vec<Origin>, Failure> {
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
                Err(kraft_build::sources::Error::Unknown { .. }
                    | kraft_build::sources::Error::ReleaseError { .. })
            )
        });
        if unknown && !fetching.fresh_catalog && !fetching.old_catalog && !sources.offline {
            // What is not known may be new.
            sources::update(ctx, sources)?;
            found = sources.resolve(open, &progress);
        }
        drop(progress);
        let offline = sources.offline;
        let mut origins = Vec::new();
        for (wanted, found) in open.iter().zip(found) {
            origins.push(found.map_err(|error| {
                use kraft_build::sources::Error;

                let failure = match error {
                    // Whether there is such a component cannot be told.
                    Error::Unknown { empty: true, .. } if offline => Failure::new(
                        Kind::Network,
                        "no catalog has been read on this host yet, and kraft is offline",
                    )
                    .hint("read it while there is a network: `kraft pkg update`, or `kraft fetch` for all of a project"),
                    error => Failure::from(error),
                };
                failure.about(&format!("cannot get {}", wanted.key()))
            })?);
        }
        Ok(origins)
    }

    pub(super) fn pin(&mut self, part: &Part, pin: &Pin) {
        let entry = Entry {
            asked: part.asked.clone(),
            pin: self.as_written(pin),
        };
        self.after.components.insert(part.wanted.key(), entry);
    }

    /// Spells a path from the project's directory, so that it means the same in every clone.
    pub(super) fn as_written(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let path = Path::new(&text)
                .strip_prefix(&self.workplace.project)
                .ok()?;
            let dot = if path.starts_with("..") { "" } else { "./" };
            Some(format!("{dot}{}", path.display()))
        })
    }

    /// The other way round.
    pub(super) fn as_used(&self, pin: &Pin) -> Pin {
        with_place(pin, |text| {
            let here = text.starts_with("./") || text.starts_with("../");
            let rest = text.strip_prefix("./").unwrap_or(text);
            let path = self.workplace.project.join(rest);
            here.then(|| path.to_string_lossy().into_owned())
        })
    }

    /// Fetches what is not in place yet.
    pub(super) fn fetch(
        &mut self,
        ctx: &Context,
        parts: &[Part],
        origins: &[Origin],
    ) -> Result<(), Failure> {
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
        let progress = ctx.progress();
        let sources = self.sources(ctx)?;
        let fetched = sources.obtain(&pins, &progress);
        drop(progress);
        for ((name, _), result) in pins.iter().zip(fetched) {
            result.map_err(|error| Failure::from(error).about(&format!("cannot get {name}")))?;
        }
        Ok(())
    }

    pub(super) fn put(
        &mut self,
        ctx: &Context,
        part: &Part,
        origin: &Origin,
    ) -> Result<PathBuf, Failure> {
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
        let put = self.sources(ctx)?.materialise(&key, origin, &part.place)?;
        if put == Put::Foreign {
            ctx.warn(&format!(
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

    pub(super) fn sources(&mut self, ctx: &Context) -> Result<&mut Sources, Failure> {
        if self.sources.is_none() {
            self.sources = Some(sources::open(ctx, self.fetching)?);
        }
        self.sources
            .as_mut()
            .ok_or_else(|| Failure::new(Kind::Failed, "components cannot be fetched"))
    }

    /// With `--locked`, tells which pins are behind, if the network can be asked: it changes
    /// nothing.
    pub(super) fn tell_drift(&mut self, ctx: &Context, parts: &[Part]) {
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
    pub(super) fn close(mut self, ctx: &Context) -> Result<(), Failure> {
        let used = std::mem::take(&mut self.used);
        self.after.components.retain(|key, _| used.contains(key));
        if self.after == self.before || self.fetching.locked {
            return Ok(());
        }
        lockfile::write(ctx, self.workplace, &self.after)
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
