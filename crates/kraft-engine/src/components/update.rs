//! Updates the pins of a lock file to what their versions stand for now.

use std::collections::BTreeSet;

use kraft_build::sources::{Origin, Wanted};
use kraft_core::lock::{Asked, Pin};

use super::error::Error;
use super::installer::Installer;
use super::part::{Part, parts, template_part};
use super::{lockfile, template_of};
use crate::context::Context;
use crate::project::Project;
use crate::sources::Fetching;
use crate::workplace::Workplace;

/// A pin that is not up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinChange {
    /// The component: `lib/lwip`.
    pub name: String,
    /// What the Kraftfile asks for.
    pub asked: Asked,
    /// The old pin; `None` if there is none.
    pub from: Option<Pin>,
    /// The new pin.
    pub to: Pin,
}

/// Resolves the components of a project again, or those that are named, and returns the pins that
/// change; with `write`, writes them into the lock file.
///
/// # Errors
///
/// If the project has no component of a name, a component cannot be resolved, or the lock file cannot
/// be read or written.
pub fn update(
    ctx: &Context,
    project: &Project,
    workplace: &Workplace,
    names: &[String],
    write: bool,
) -> Result<Vec<PinChange>, Error> {
    let mut kraftfile = project.kraftfile.clone();
    let fetching = Fetching {
        fresh_catalog: true,
        ..Fetching::default()
    };
    let mut installer = Installer::open(workplace, &fetching)?;
    let mut changes = Vec::new();
    if let Some(template) = kraftfile.template.clone() {
        let part = template_part(workplace, &template)?;
        installer.renew(ctx, std::slice::from_ref(&part), names, &mut changes)?;
        if write || part.directory.is_some() {
            let dir = installer.get(ctx, std::slice::from_ref(&part))?;
            if let Some(dir) = dir.first() {
                kraftfile = kraftfile.over_template(template_of(ctx, workplace, dir)?.0);
            }
        }
    }
    let parts = parts(workplace, &kraftfile);
    let known: BTreeSet<String> = parts
        .iter()
        .map(|part| part.wanted.key())
        .chain(installer.used.iter().cloned())
        .collect();
    for name in names {
        let fits =
            |key: &String| key == name || key.split_once('/').is_some_and(|(_, n)| n == name);
        if !known.iter().any(fits) {
            return Err(Error::NoSuchComponent {
                name: name.clone(),
                components: known.into_iter().collect(),
            });
        }
    }
    installer.renew(ctx, &parts, names, &mut changes)?;
    if write && installer.after != installer.before {
        lockfile::write(ctx, workplace, &installer.after)?;
    }
    Ok(changes)
}

impl Installer<'_> {
    /// Resolves components again, all or those that are named.
    fn renew(
        &mut self,
        ctx: &Context,
        parts: &[Part],
        names: &[String],
        changes: &mut Vec<PinChange>,
    ) -> Result<(), Error> {
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
        let found = self.resolve(ctx, &wanted)?;
        for (part, origin) in meant.into_iter().zip(found) {
            let Origin::Pinned(pin) = origin else {
                continue;
            };
            let entry = self.before.components.get(&part.wanted.key());
            let from = entry.map(|entry| self.as_used(&entry.pin));
            if from.as_ref() != Some(&pin) {
                changes.push(PinChange {
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
