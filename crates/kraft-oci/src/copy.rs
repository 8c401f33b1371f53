//! Copies images locally: from and to archives, and from KraftKit's store.
//!
//! ```
//! use kraft_oci::copy::copy;
//! use kraft_oci::image::{Index, media};
//! use kraft_oci::store::{Store, layout::Layout, put};
//!
//! let dir = tempfile::tempdir()?;
//! let from = Layout::open(&dir.path().join("from"))?;
//! let lease = from.lease()?;
//! let text = br#"{"schemaVersion":2,"manifests":[]}"#;
//! let target = put(&*lease, media::INDEX, text, None)?;
//!
//! let to = Layout::open(&dir.path().join("to"))?;
//! let name = "example.com/web:1.0".parse()?;
//! copy(&(&from as &dyn Store), &target, &name, &to)?;
//! assert_eq!(to.find(&name)?.expect("a name").target.digest, target.digest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::io::{self, Read};

use kraft_core::reference::{Digest, Reference};

use crate::digest::Damage;
use crate::image::{Config, DEEPEST, Descriptor, Document, media};
use crate::store::{self, About, Expect, Lease, Store};

/// A source of blobs.
pub trait Source {
    /// Opens a blob without verification; `None` if it does not exist.
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError>;
}

impl Source for &dyn Store {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        match store::Blobs::open(*self, digest) {
            Ok(blob) => Ok(Some(blob)),
            Err(store::Error::Damaged {
                source: Damage::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Copies an image into a store under a full name, replacing an existing image. Returns the number
/// of documents with a wrong stated size.
pub fn copy(
    from: &dyn Source,
    target: &Descriptor,
    name: &Reference,
    to: &dyn Store,
) -> Result<usize, CopyError> {
    let lease = to.lease()?;
    let (target, misstated) = copy_below(from, target, &*lease)?;
    to.tag(name, &target, &Expect::Anything)?;
    Ok(misstated)
}

/// Copies a document and everything below it. Returns its descriptor with the actual size, and the
/// number of documents with a wrong stated size.
pub(crate) fn copy_below(
    from: &dyn Source,
    target: &Descriptor,
    lease: &dyn Lease,
) -> Result<(Descriptor, usize), CopyError> {
    let mut errand = Errand {
        from,
        lease,
        done: BTreeSet::new(),
        misstated: 0,
    };
    let stored = errand.document(target, DEEPEST)?;
    Ok((stored.unwrap_or_else(|| target.clone()), errand.misstated))
}

/// Copies each blob of an image once: a small index may name the same blob millions of times.
struct Errand<'a> {
    from: &'a dyn Source,
    lease: &'a dyn Lease,
    /// Copied blobs, by digest and stated size: another stated size is another error. Sizes of
    /// documents are not checked.
    done: BTreeSet<(Digest, Option<u64>)>,
    /// Number of documents with a wrong stated size.
    misstated: usize,
}

impl Errand<'_> {
    /// Copies a document after all existing blobs below it; `None` if it was already copied.
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
                    // Manifests of platforms that were not pulled are missing.
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

    /// Copies a configuration. An invalid one is rejected: the image would be unusable.
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
        let stored = store::put(self.lease, media_type, bytes, None)?;
        if stored.size != stated.size {
            self.misstated += 1;
        }
        Ok(stored)
    }

    fn blob(&mut self, blob: &Descriptor) -> Result<(), CopyError> {
        if !self.done.insert((blob.digest.clone(), Some(blob.size))) {
            return Ok(());
        }
        let Some(mut ingest) = self.lease.ingest(&About::blob(blob))? else {
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

/// Reads a document or a configuration, and verifies its digest.
pub(crate) fn read(from: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>, CopyError> {
    let source = from.open(&blob.digest)?.ok_or_else(|| missing(blob))?;
    Ok(store::read_document(source, blob)?)
}

fn missing(blob: &Descriptor) -> store::Error {
    store::Error::damaged(&blob.digest, Damage::Missing)
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store failed, or a blob is damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file of the source or destination cannot be read or written.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// The archive is invalid.
    #[error("`{path}` is not an archive of images")]
    Archive {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// It contains images without full names.
    #[error("`{place}` holds an image without a full name ({digest})")]
    Nameless {
        /// The archive or directory.
        place: String,
        /// The image.
        digest: Digest,
    },
    /// `KraftKit`'s store lacks a blob of the image.
    #[error("KraftKit does not have all of it: the blob {0} is missing")]
    Lacking(Digest),
    /// Another image has the same name.
    #[error("another image is already named `{0}`")]
    Taken(Reference),
    /// It contains no image.
    #[error("`{0}` holds no image")]
    Empty(String),
}
