//! Garbage collection: what no name leads to is removed.
//!
//! [`all`] follows every name, and removes every other blob. [`ended`] looks only at blobs that may
//! have become garbage: those of the leases of ended processes, which is what writers leave that
//! stored blobs, and what a change of names leaves of the image that a name pointed to.

use std::collections::BTreeSet;

use kraft_core::reference::Digest;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::super::reach::{digests, reachable};
use super::super::{Blobs, Error, Store, Swept};
use super::lease::Leases;
use super::{Layout, names, references};

/// Removes every blob that no name leads to and no living process needs.
pub(super) fn all(layout: &Layout, dry_run: bool) -> Result<Swept, Error> {
    // From here on no process begins to rely on a blob without our seeing it.
    let _lock = Lock::exclusive(&layout.blobs_dir())?;
    unused(layout, dry_run)
}

fn unused(layout: &Layout, dry_run: bool) -> Result<Swept, Error> {
    let leases = Leases::read(&layout.holds_dir())?;
    let mut used = reachable(layout)?;
    // Entries that other tools made and that have no name we could read.
    for target in names::unnamed(&layout.dir)? {
        for (digest, _) in digests(layout, &target)? {
            used.entry(digest).or_default();
        }
    }
    let mut swept = Swept::default();
    for (digest, size) in layout.blobs()? {
        if used.contains_key(&digest) || leases.needed.contains(&digest) {
            continue;
        }
        if !dry_run {
            fs::remove_file(&layout.blob(&digest))?;
        }
        swept.blobs.push((digest, size));
    }
    if !dry_run {
        leases.remove_ended()?;
    }
    swept.other = layout.sweep_leftovers(dry_run)?;
    Ok(swept)
}

/// Removes the blobs of ended leases that no name leads to and no living process needs.
pub(super) fn ended(layout: &Layout) -> Result<Swept, Error> {
    let _lock = Lock::exclusive(&layout.blobs_dir())?;
    if !references::exist(&layout.dir) {
        // An older version wrote the store, and kept no leases of what it left.
        let swept = unused(layout, false)?;
        let _names = Lock::exclusive(&layout.dir)?;
        references::used(layout, &BTreeSet::new())?;
        return Ok(swept);
    }
    let leases = Leases::read(&layout.holds_dir())?;
    let mut swept = Swept {
        other: layout.sweep_leftovers(false)?,
        ..Swept::default()
    };
    let garbage: BTreeSet<Digest> = leases.left.difference(&leases.needed).cloned().collect();
    if !garbage.is_empty() || references::are_bloated(&layout.dir) {
        let used = {
            let _names = Lock::exclusive(&layout.dir)?;
            references::used(layout, &garbage)?
        };
        for digest in garbage.into_iter().filter(|digest| !used.contains(digest)) {
            if let Some(size) = layout.size(&digest)? {
                fs::remove_file(&layout.blob(&digest))?;
                swept.blobs.push((digest, size));
            }
        }
    }
    leases.remove_ended()?;
    Ok(swept)
}
