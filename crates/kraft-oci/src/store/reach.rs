//! What belongs to an image: everything that can be reached from a name.

use std::collections::BTreeMap;

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

/// Returns everything that a document leads to, itself first.
///
/// Errors: a document on the way that is here cannot be read.
pub fn parts(store: &dyn Store, target: &Descriptor) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    walk(store, target, true, DEEPEST, &mut parts)?;
    Ok(parts)
}

fn walk(
    store: &dyn Store,
    blob: &Descriptor,
    needed: bool,
    depth: usize,
    parts: &mut Vec<Part>,
) -> Result<(), Error> {
    let stored = store.size(&blob.digest)?;
    parts.push(Part {
        blob: blob.clone(),
        stored,
        needed,
    });
    if stored.is_none() || depth == 0 {
        return Ok(());
    }
    match document(store, blob)? {
        Document::Index(index) => {
            for child in &index.manifests {
                if media::is_index(&child.media_type) || media::is_manifest(&child.media_type) {
                    walk(store, child, false, depth - 1, parts)?;
                }
            }
        }
        Document::Manifest(manifest) => {
            for child in manifest.blobs() {
                parts.push(Part {
                    blob: child.clone(),
                    stored: store.size(&child.digest)?,
                    needed: true,
                });
            }
        }
    }
    Ok(())
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
