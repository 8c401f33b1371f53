//! What belongs to an image: everything that can be reached from a name.

use std::collections::{BTreeMap, BTreeSet};

use kraft_core::reference::{Digest, Reference};

use super::{Error, Store, document};
use crate::image::{Descriptor, Document, media};

/// Indexes inside indexes are followed this deep.
const DEEPEST: usize = 4;

/// A blob that belongs to an image.
#[derive(Clone, Debug)]
pub struct Part {
    /// The blob.
    pub blob: Descriptor,
    /// Its size in the store, in bytes; `None` if it is not here.
    pub stored: Option<u64>,
    /// Whether the image is incomplete without it. The manifests of other platforms need not be
    /// here; what belongs to a manifest that is here must be.
    pub needed: bool,
}

/// Returns everything that a document leads to, itself first, each once.
///
/// Errors: a document on the way that is here cannot be read.
pub fn parts(store: &dyn Store, target: &Descriptor) -> Result<Vec<Part>, Error> {
    let mut walk = Walk {
        store,
        seen: BTreeSet::new(),
        parts: Vec::new(),
    };
    walk.document(target, true, DEEPEST)?;
    Ok(walk.parts)
}

/// A walk that passes nothing twice: an image of a few MiB can name the same millions of times.
struct Walk<'a> {
    store: &'a dyn Store,
    /// What was passed, by digest, promised size and whether it was needed: a promise that differs
    /// is another fault to be found.
    seen: BTreeSet<(Digest, u64, bool)>,
    parts: Vec<Part>,
}

impl Walk<'_> {
    /// Passes a blob; returns its size in bytes if it is here and was not passed before.
    fn pass(&mut self, blob: &Descriptor, needed: bool) -> Result<Option<u64>, Error> {
        if !self.seen.insert((blob.digest.clone(), blob.size, needed)) {
            return Ok(None);
        }
        let stored = self.store.size(&blob.digest)?;
        self.parts.push(Part {
            blob: blob.clone(),
            stored,
            needed,
        });
        Ok(stored)
    }

    fn document(&mut self, blob: &Descriptor, needed: bool, depth: usize) -> Result<(), Error> {
        let Some(stored) = self.pass(blob, needed)?.filter(|_| depth > 0) else {
            return Ok(());
        };
        // The digest decides whether it is whole; whatever else an index says of it may be a lie.
        let whole = Descriptor {
            size: stored,
            ..blob.clone()
        };
        let found = match document(self.store, &whole) {
            // Rightly here, for another image, and no document: it leads nowhere.
            Err(Error::Document { .. }) if !needed => return Ok(()),
            found => found?,
        };
        match found {
            Document::Index(index) => {
                for child in &index.manifests {
                    if media::is_index(&child.media_type) || media::is_manifest(&child.media_type) {
                        self.document(child, false, depth - 1)?;
                    }
                }
            }
            Document::Manifest(manifest) => {
                for child in manifest.blobs() {
                    self.pass(child, true)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns every blob that a name leads to, with the names.
///
/// Errors: [`Error::Unsure`] if a document that is here cannot be read: what it leads to is unknown.
pub fn reachable(store: &dyn Store) -> Result<BTreeMap<Digest, Vec<Reference>>, Error> {
    let mut reached: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
    for named in store.names()? {
        let parts = parts(store, &named.target).map_err(|source| Error::Unsure {
            name: named.name.clone(),
            source: Box::new(source),
        })?;
        for part in parts {
            let names = reached.entry(part.blob.digest).or_default();
            if names.last() != Some(&named.name) {
                names.push(named.name.clone());
            }
        }
    }
    Ok(reached)
}
