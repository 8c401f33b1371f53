//! Images from one place on this computer to another: into an archive and out of it, from an
//! older store.

use std::collections::BTreeSet;
use std::io::{self, Read};

use kraft_core::reference::{Digest, Reference};

use crate::digest::Damage;
use crate::image::{Config, DEEPEST, Descriptor, Document, media};
use crate::store::{self, About, Expect, Hold, Store};

/// A place that blobs can be had from.
pub trait Blobs {
    /// Opens a blob as it lies there, if it is there.
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError>;
}

impl Blobs for &dyn Store {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        match Store::open(*self, digest) {
            Ok(blob) => Ok(Some(blob)),
            Err(store::Error::Damaged {
                source: Damage::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Copies an image into a store, under a full name. What was there under the name is replaced.
/// Returns how many of its documents have another size than is stated for them.
pub fn copy(
    from: &dyn Blobs,
    target: &Descriptor,
    name: &Reference,
    to: &dyn Store,
) -> Result<usize, CopyError> {
    let hold = to.hold()?;
    let (target, misstated) = copy_below(from, target, &*hold)?;
    to.tag(name, &target, &Expect::Anything)?;
    Ok(misstated)
}

/// Copies a document and everything that belongs to it. Returns what points to it, with the size
/// that it has, and how many documents have another size than is stated for them.
pub(crate) fn copy_below(
    from: &dyn Blobs,
    target: &Descriptor,
    hold: &dyn Hold,
) -> Result<(Descriptor, usize), CopyError> {
    let mut errand = Errand {
        from,
        hold,
        done: BTreeSet::new(),
        misstated: 0,
    };
    let stored = errand.document(target, DEEPEST)?;
    Ok((stored.unwrap_or_else(|| target.clone()), errand.misstated))
}

/// Copies an image, and nothing of it twice: a few MiB can name the same millions of times.
struct Errand<'a> {
    from: &'a dyn Blobs,
    hold: &'a dyn Hold,
    /// What was copied, by digest and promised size: another promise is another fault. Of documents
    /// no size is relied on.
    done: BTreeSet<(Digest, Option<u64>)>,
    /// Documents that have another size than is stated for them.
    misstated: usize,
}

impl Errand<'_> {
    /// Copies a document, after everything that belongs to it and is there; `None` if it was copied
    /// before.
    fn document(
        &mut self,
        target: &Descriptor,
        depth: usize,
    ) -> Result<Option<Descriptor>, CopyError> {
        if !self.done.insert((target.digest.clone(), None)) {
            return Ok(None);
        }
        let bytes = read(self.from, target)?;
        let document = Document::parse(&target.media_type, &bytes)
            .map_err(|source| store::Error::bad(&target.digest, source))?;
        match &document {
            Document::Index(index) => {
                for child in &index.manifests {
                    // Manifests of platforms that were not pulled are not there.
                    if media::is_document(&child.media_type)
                        && depth > 0
                        && self.from.open(&child.digest)?.is_some()
                    {
                        self.document(child, depth - 1)?;
                    }
                }
            }
            Document::Manifest(manifest) => {
                for layer in &manifest.layers {
                    self.blob(layer)?;
                }
                if media::is_config(&manifest.config.media_type) {
                    self.config(&manifest.config)?;
                } else {
                    self.blob(&manifest.config)?;
                }
            }
        }
        self.put(document.media_type(&target.media_type), target, &bytes)
            .map(Some)
    }

    /// Copies a configuration. One that cannot be read is refused: the image could not be used.
    fn config(&mut self, config: &Descriptor) -> Result<(), CopyError> {
        if !self.done.insert((config.digest.clone(), None)) {
            return Ok(());
        }
        let bytes = read(self.from, config)?;
        Config::parse(&bytes).map_err(|source| store::Error::bad(&config.digest, source))?;
        self.put(&config.media_type, config, &bytes).map(drop)
    }

    fn put(
        &mut self,
        media_type: &str,
        stated: &Descriptor,
        bytes: &[u8],
    ) -> Result<Descriptor, CopyError> {
        let stored = store::put(self.hold, media_type, bytes, None)?;
        if stored.size != stated.size {
            self.misstated += 1;
        }
        Ok(stored)
    }

    fn blob(&mut self, blob: &Descriptor) -> Result<(), CopyError> {
        if !self.done.insert((blob.digest.clone(), Some(blob.size))) {
            return Ok(());
        }
        let Some(mut ingest) = self.hold.ingest(&About::blob(blob))? else {
            return Ok(());
        };
        let source = self.from.open(&blob.digest)?;
        let mut source = source.ok_or_else(|| missing(blob))?;
        ingest
            .restart()
            .and_then(|()| io::copy(&mut source, &mut ingest))
            .map_err(|error| store::Error::reading(&blob.digest, error))?;
        ingest.commit()?;
        Ok(())
    }
}

/// Reads a document or a configuration, verified by its digest.
pub(crate) fn read(from: &dyn Blobs, blob: &Descriptor) -> Result<Vec<u8>, CopyError> {
    let source = from.open(&blob.digest)?.ok_or_else(|| missing(blob))?;
    Ok(store::read_document(source, blob)?)
}

fn missing(blob: &Descriptor) -> store::Error {
    store::Error::damaged(&blob.digest, Damage::Missing)
}

/// Why an image could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store, or a blob that is not what it should be.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file of the other place.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The archive.
    #[error("`{path}` is no archive of images")]
    Archive {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// It holds images whose names cannot be told.
    #[error("`{place}` holds an image without a full name ({digest})")]
    Nameless {
        /// The archive or directory.
        place: String,
        /// The image.
        digest: Digest,
    },
    /// The store of `KraftKit` lacks a blob of the image.
    #[error("KraftKit does not have all of it: the blob {0} is missing")]
    Lacking(Digest),
    /// Another image has its name here.
    #[error("another image is named `{0}` here")]
    Taken(Reference),
    /// It holds no image at all.
    #[error("`{0}` holds no image")]
    Empty(String),
}
