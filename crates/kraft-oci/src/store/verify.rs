//! Verifies a store: whether blobs match their digests and images are complete, and the disk usage.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use kraft_core::reference::{Digest, Reference};
use kraft_sys::parallel;

use super::documents::Documents;
use super::reach::{Part, digests, parts};
use super::{Blobs, Error, Named, Store, config, open_verified};
use crate::digest::Damage;
use crate::image::{Descriptor, media};
use crate::listing::candidates_of;

/// What is wrong with one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBlob {
    /// The blob.
    pub digest: Digest,
    /// What is wrong.
    pub damage: Damage,
    /// The images that need it.
    pub images: Vec<Reference>,
}

/// What came out of a look at all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many blobs were read.
    pub blobs: usize,
    /// How many bytes.
    pub bytes: u64,
    /// How many images were followed.
    pub images: usize,
    /// What is wrong, by digest.
    pub damaged: Vec<DamagedBlob>,
}

/// Reads every blob, and follows every name to all its parts. `progress` takes the bytes done.
///
/// Documents are read while names are followed, and not once more; all of it on every core.
pub fn verify(store: &dyn Store, progress: &(dyn Fn(u64) + Sync)) -> Result<Verdict, Error> {
    let readers = available_parallelism().map_or(2, NonZero::get);
    let names = store.names()?;
    let mut targets: BTreeMap<&Digest, (&Descriptor, Vec<&Reference>)> = BTreeMap::new();
    for named in &names {
        let (_, names) = targets
            .entry(&named.target.digest)
            .or_insert_with(|| (&named.target, Vec::new()));
        names.push(&named.name);
    }
    let targets: Vec<_> = targets.into_values().collect();
    let whole = Mutex::new(HashSet::new());
    let below = parallel::in_order(&targets, readers, |_, (target, _)| {
        look_below(&Documents::new(store, &whole), target)
    });
    let whole = whole.into_inner().unwrap_or_else(PoisonError::into_inner);
    // After the names: of what was stored since, nothing is said but whether it is whole.
    let blobs = store.blobs()?;
    let damaged = read_all(store, &blobs, &whole, readers, progress)?;
    let mut damaged: BTreeMap<Digest, (Damage, BTreeSet<Reference>)> = damaged
        .into_iter()
        .map(|(digest, damage)| (digest, (damage, BTreeSet::new())))
        .collect();
    for ((_, names), below) in targets.iter().zip(below) {
        let (needed, found) = below?;
        for (digest, damage) in found {
            let blob = damaged.entry(digest);
            let (_, images) = blob.or_insert_with(|| (damage, BTreeSet::new()));
            images.extend(names.iter().copied().cloned());
        }
        for digest in needed {
            if let Some((_, images)) = damaged.get_mut(&digest) {
                images.extend(names.iter().copied().cloned());
            }
        }
    }
    if !damaged.is_empty() {
        forget_changed(store, &names, &mut damaged)?;
    }
    Ok(Verdict {
        blobs: blobs.len(),
        bytes: blobs.iter().map(|(_, size)| size).sum(),
        images: names.len(),
        damaged: damaged
            .into_iter()
            .map(|(digest, (damage, images))| DamagedBlob {
                digest,
                damage,
                images: images.into_iter().collect(),
            })
            .collect(),
    })
}

/// Takes back what was found about names that were removed or replaced since: their blobs may have
/// been removed.
fn forget_changed(
    store: &dyn Store,
    names: &[Named],
    damaged: &mut BTreeMap<Digest, (Damage, BTreeSet<Reference>)>,
) -> Result<(), Error> {
    let now: BTreeMap<Reference, Descriptor> = store
        .names()?
        .into_iter()
        .map(|named| (named.name, named.target))
        .collect();
    for named in names {
        if now.get(&named.name) == Some(&named.target) {
            continue;
        }
        damaged.retain(|_, (damage, images)| {
            images.remove(&named.name);
            *damage != Damage::Missing || !images.is_empty()
        });
    }
    Ok(())
}

/// Reads the blobs that were not read as documents, several at a time, and returns those that are
/// damaged.
fn read_all(
    store: &dyn Store,
    blobs: &[(Digest, u64)],
    whole: &HashSet<Digest>,
    readers: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<(Digest, Damage)>, Error> {
    let done = AtomicU64::new(0);
    parallel::in_order(blobs, readers, |_, (digest, size)| {
        let damage = if whole.contains(digest) {
            None
        } else {
            damage_of(store, &Descriptor::new("", digest.clone(), *size))?
        };
        progress(done.fetch_add(*size, Ordering::Relaxed) + size);
        Ok(damage.map(|damage| (digest.clone(), damage)))
    })
    .into_iter()
    .filter_map(Result::transpose)
    .collect()
}

/// Reads one blob; one removed meanwhile is not an error.
fn damage_of(store: &dyn Store, blob: &Descriptor) -> Result<Option<Damage>, Error> {
    let read = open_verified(store, blob).and_then(|mut reader| {
        std::io::copy(&mut reader, &mut std::io::sink())
            .map_err(|error| Error::reading(&blob.digest, error))
    });
    match read {
        Ok(_) => Ok(None),
        Err(Error::Damaged { source, .. }) => {
            let still = store.size(&blob.digest)?.is_some();
            Ok(still.then_some(source))
        }
        Err(error) => Err(error),
    }
}

/// What is missing or wrong.
type Found = Vec<(Digest, Damage)>;

/// Returns every blob that belongs to a name, and what is missing or wrong among them. The contents
/// of layers are not read.
fn look_below(blobs: &dyn Blobs, target: &Descriptor) -> Result<(Vec<Digest>, Found), Error> {
    let parts = match parts(blobs, target) {
        Ok(parts) => parts,
        Err(Error::Damaged { digest, source }) => return Ok((Vec::new(), vec![(digest, source)])),
        Err(Error::Document { digest, source }) => {
            let damage = Damage::Unusable(source.in_words());
            return Ok((vec![digest.clone()], vec![(digest, damage)]));
        }
        Err(error) => return Err(error),
    };
    let needed = parts.iter().map(|part| part.blob.digest.clone()).collect();
    let mut damaged = missing_manifests(blobs, target)?;
    damaged.extend(unusable(blobs, &parts)?);
    for part in parts {
        match part.stored {
            // What the image can do without may be another's, and the size that is promised a lie;
            // whether it is whole was seen when every blob was read.
            _ if !part.needed => {}
            None => damaged.push((part.blob.digest, Damage::Missing)),
            Some(found) if found < part.blob.size => damaged.push((
                part.blob.digest,
                Damage::Shorter {
                    expected: part.blob.size,
                    found,
                },
            )),
            Some(found) if found > part.blob.size => damaged.push((
                part.blob.digest,
                Damage::Longer {
                    expected: part.blob.size,
                },
            )),
            _ => {}
        }
    }
    Ok((needed, damaged))
}

/// Returns the manifests of an index if none exists. Those of other platforms are optional, but an
/// image without any manifest is incomplete.
fn missing_manifests(blobs: &dyn Blobs, target: &Descriptor) -> Result<Found, Error> {
    let mut missing = Vec::new();
    if blobs.size(&target.digest)?.is_none() {
        return Ok(missing);
    }
    let candidates = match candidates_of(blobs, target) {
        // Its configuration is unreadable, which is reported.
        Err(Error::Document { .. } | Error::Damaged { .. }) => return Ok(missing),
        candidates => candidates?,
    };
    for candidate in candidates {
        if blobs.size(&candidate.descriptor.digest)?.is_some() {
            return Ok(Vec::new());
        }
        missing.push((candidate.descriptor.digest, Damage::Missing));
    }
    Ok(missing)
}

/// Returns the configurations that make no sense, though they are what was stored.
fn unusable(blobs: &dyn Blobs, parts: &[Part]) -> Result<Found, Error> {
    let mut found = Vec::new();
    let configs = parts
        .iter()
        .filter(|part| part.stored.is_some() && media::is_config(&part.blob.media_type));
    for part in configs {
        match config(blobs, &part.blob) {
            Err(Error::Document { digest, source }) => {
                found.push((digest, Damage::Unusable(source.in_words())));
            }
            // Seen when every blob was read.
            Ok(_) | Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Disk usage of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The image.
    pub name: Reference,
    /// All of it, in bytes.
    pub bytes: u64,
    /// What would be free without it, in bytes: no other image needs that.
    pub own: u64,
}

/// Disk usage of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Every image, by name.
    pub images: Vec<Usage>,
    /// All blobs, in bytes.
    pub total: u64,
    /// Bytes that a garbage collection would free.
    pub reclaimable: u64,
}

/// Calculates the disk usage.
pub fn room(store: &dyn Store) -> Result<Room, Error> {
    let mut of_images: Vec<(Reference, BTreeMap<Digest, u64>)> = Vec::new();
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for named in store.names()? {
        let mut blobs = BTreeMap::new();
        for (digest, size) in digests(store, &named.target)? {
            if let Some(size) = size {
                blobs.insert(digest, size);
            }
        }
        for digest in blobs.keys() {
            *users.entry(digest.clone()).or_default() += 1;
        }
        of_images.push((named.name, blobs));
    }
    let images = of_images
        .into_iter()
        .map(|(name, blobs)| Usage {
            name,
            bytes: blobs.values().sum(),
            own: blobs
                .iter()
                .filter(|(digest, _)| users.get(*digest) == Some(&1))
                .map(|(_, size)| size)
                .sum(),
        })
        .collect();
    Ok(Room {
        images,
        total: store.blobs()?.iter().map(|(_, size)| size).sum(),
        reclaimable: store.sweep(true)?.bytes(),
    })
}
