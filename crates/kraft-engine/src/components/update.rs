//! Moves the pins of a lock file to what their versions are at now.

use std::collections::BTreeSet;

use kraft_build::sources::{Origin, Wanted};
use kraft_core::lock::{Asked, Pin};

use super::part::{Part, parts, template_part};
use super::shelf::Shelf;
use super::{lockfile, template_of};
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::project::Project;
use crate::sources::Fetching;
use crate::workplace::Workplace;

/// A pin that would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The component: `lib/lwip`.
    pub name: String,
    /// What it is asked for as.
    pub asked: Asked,
    /// What it is pinned to; `None` if it is not.
    pub from: Option<Pin>,
    /// What it would be pinned to.
    pub to: Pin,
}

/// Finds out which pins would move if everything, or what is named, were resolved anew; with
/// `write`, they do.
pub fn update(
    ctx: &Context,
    project: &Project,
    workplace: &Workplace,
    names: &[String],
    write: bool,
) -> Result<Vec<Move>, Failure> {
    let mut kraftfile = project.kraftfile.clone();
    let fetching = Fetching {
        fresh_catalog: true,
        ..Fetching::default()
    };
    let mut shelf = Shelf::open(workplace, &fetching)?;
    let mut moves = Vec::new();
    if let Some(template) = kraftfile.template.clone() {
        let part = template_part(workplace, &template)?;
        shelf.renew(ctx, std::slice::from_ref(&part), names, &mut moves)?;
        if write || part.directory.is_some() {
            let dir = shelf.get(ctx, std::slice::from_ref(&part))?;
            if let Some(dir) = dir.first() {
                kraftfile = kraftfile.over_template(template_of(ctx, workplace, dir)?.0);
            }
        }
    }
    let parts = parts(workplace, &kraftfile);
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
    shelf.renew(ctx, &parts, names, &mut moves)?;
    if write && shelf.after != shelf.before {
        lockfile::write(ctx, workplace, &shelf.after)?;
    }
    Ok(moves)
}

impl Shelf<'_> {
    /// Resolves what is named anew.
    fn renew(
        &mut self,
        ctx: &Context,
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
        let found = self.resolve(ctx, &wanted)?;
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
