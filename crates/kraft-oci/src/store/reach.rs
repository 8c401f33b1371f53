//! What belongs to an image: everything that can be reached from a name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use kraft_core::reference::{Digest, Reference};

use super::{Blobs, Error, Store, document};
use crate::image::{DEEPEST, Descriptor, Document, LARGEST_DOCUMENT, media};

/// A blob that belongs to an image.
#[derive(Clone, Debug)]
pub struct Part {
    /// The blob; the size of an existing document or configuration is the actual one.
    pub blob: Descriptor,
    /// Its size in the store, in bytes; `None` if it is not here.
    pub stored: Option<u64>,
    /// Whether the image is incomplete without it. Manifests of other platforms are optional;
    /// everything below an existing manifest is required.
    pub needed: bool,
}

/// Returns everything that a document leads to, itself first, each once.
///
/// Errors: an existing document on the way cannot be read.
pub fn parts(blobs: &dyn Blobs, target: &Descriptor) -> Result<Vec<Part>, Error> {
    let mut walk = Walk {
        blobs,
        seen: BTreeSet::new(),
        parts: Vec::new(),
    };
    // Indexes, and the manifests below the last of them.
    walk.document(target, true, DEEPEST + 1)?;
    Ok(walk.parts)
}

/// A walk that passes nothing twice: an image of a few MiB can name the same millions of times.
struct Walk<'a> {
    blobs: &'a dyn Blobs,
    /// Visited blobs, by digest, stated size and whether they were required: a different stated
    /// size is another error. Sizes of documents are not checked.
    seen: BTreeSet<(Digest, Option<u64>, bool)>,
    parts: Vec<Part>,
}

impl Walk<'_> {
    /// Passes a blob whose size is a promise.
    fn layer(&mut self, blob: &Descriptor) -> Result<(), Error> {
        let key = (blob.digest.clone(), Some(blob.size), true);
        if self.seen.insert(key) {
            let stored = self.blobs.size(&blob.digest)?;
            self.part(blob, stored, true);
        }
        Ok(())
    }

    /// Visits a document or a configuration; returns it if it exists and was not visited before.
    fn small(&mut self, blob: &Descriptor, needed: bool) -> Result<Option<Descriptor>, Error> {
        if !self.seen.insert((blob.digest.clone(), None, needed)) {
            return Ok(None);
        }
        let stored = self.blobs.size(&blob.digest)?;
        let whole = Descriptor {
            size: stored.unwrap_or(blob.size),
            ..blob.clone()
        };
        self.part(&whole, stored, needed);
        Ok(stored.map(|_| whole))
    }

    fn part(&mut self, blob: &Descriptor, stored: Option<u64>, needed: bool) {
        self.parts.push(Part {
            blob: blob.clone(),
            stored,
            needed,
        });
    }

    fn document(&mut self, blob: &Descriptor, needed: bool, depth: usize) -> Result<(), Error> {
        let Some(whole) = self.small(blob, needed)?.filter(|_| depth > 0) else {
            return Ok(());
        };
        let found = match document(self.blobs, &whole) {
            // Rightly here, for another image, and no document: it leads nowhere.
            Err(Error::Document { .. }) if !needed => return Ok(()),
            found => found?,
        };
        match found {
            Document::Index(index) => {
                for child in &index.manifests {
                    if media::is_document(&child.media_type) {
                        self.document(child, false, depth - 1)?;
                    }
                }
            }
            Document::Manifest(manifest) => {
                for layer in &manifest.layers {
                    self.layer(layer)?;
                }
                if media::is_config(&manifest.config.media_type) {
                    self.small(&manifest.config, true)?;
                } else {
                    self.layer(&manifest.config)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the digests of everything that a document leads to, with their sizes in the store. Of a
/// target that makes no sense to us, everything that it mentions: it may make sense to a newer
/// program.
///
/// Errors: an existing document on the way is damaged.
pub fn digests(
    blobs: &dyn Blobs,
    target: &Descriptor,
) -> Result<Vec<(Digest, Option<u64>)>, Error> {
    match parts(blobs, target) {
        Ok(parts) => Ok(parts
            .into_iter()
            .map(|part| (part.blob.digest, part.stored))
            .collect()),
        Err(Error::Document { .. }) => mentioned(blobs, target),
        Err(error) => Err(error),
    }
}

/// Returns the digests that the text of a document mentions, with their sizes in the store.
pub(crate) fn mentioned(
    blobs: &dyn Blobs,
    target: &Descriptor,
) -> Result<Vec<(Digest, Option<u64>)>, Error> {
    let mut bytes = Vec::new();
    blobs
        .open(&target.digest)?
        .take(LARGEST_DOCUMENT)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::reading(&target.digest, error))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut found = BTreeSet::from([target.digest.clone()]);
    for (at, prefix) in text.match_indices("sha256:") {
        let digest = text.get(at..at + prefix.len() + 64);
        found.extend(digest.and_then(|digest| digest.parse::<Digest>().ok()));
    }
    found
        .into_iter()
        .map(|digest| {
            let size = blobs.size(&digest)?;
            Ok((digest, size))
        })
        .collect()
}

/// Returns every blob that a name leads to, with the names.
///
/// Errors: [`Error::Unsure`] if an existing document is damaged: its references are unknown.
pub fn reachable(store: &dyn Store) -> Result<BTreeMap<Digest, Vec<Reference>>, Error> {
    let mut reached: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
    for named in store.names()? {
        let digests = digests(store, &named.target).map_err(|source| Error::Unsure {
            name: named.name.clone(),
            source: Box::new(source),
        })?;
        for (digest, _) in digests {
            let names = reached.entry(digest).or_default();
            if names.last() != Some(&named.name) {
                names.push(named.name.clone());
            }
        }
    }
    Ok(reached)
}
