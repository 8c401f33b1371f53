//! Images from one place on this computer to another: into an archive and out of it, from an
//! older store.

use std::collections::BTreeSet;
use std::io::{self, Read};

use kraft_core::reference::{Digest, Reference};

use crate::digest::{Damage, Verified};
use crate::image::{BadDocument, Descriptor, Document, LARGEST_DOCUMENT, media};
use crate::store::{self, About, Expect, Hold, Store};

/// Indexes inside indexes are followed this deep.
const DEEPEST: usize = 4;

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

/// Takes an image over into a store, under a full name. What was there under the name is replaced.
pub fn copy(
    from: &dyn Blobs,
    target: &Descriptor,
    name: &Reference,
    to: &dyn Store,
) -> Result<(), CopyError> {
    let hold = to.hold()?;
    let mut errand = Errand {
        from,
        hold: &*hold,
        done: BTreeSet::new(),
    };
    errand.document(target, DEEPEST)?;
    Ok(to.tag(name, target, &Expect::Anything)?)
}

/// Takes over an image, and nothing of it twice: a few MiB can name the same millions of times.
struct Errand<'a> {
    from: &'a dyn Blobs,
    hold: &'a dyn Hold,
    /// What was taken over, by digest and promised size: another promise is another fault.
    done: BTreeSet<(Digest, u64)>,
}

impl Errand<'_> {
    /// Takes over a document, after everything that belongs to it and is there.
    fn document(&mut self, target: &Descriptor, depth: usize) -> Result<(), CopyError> {
        if !self.done.insert((target.digest.clone(), target.size)) {
            return Ok(());
        }
        let bytes = read(self.from, target)?;
        let document = Document::parse(&target.media_type, &bytes)
            .map_err(|source| store::Error::bad(&target.digest, source))?;
        match document {
            Document::Index(index) => {
                for child in &index.manifests {
                    let known =
                        media::is_index(&child.media_type) || media::is_manifest(&child.media_type);
                    // Manifests of platforms that nobody pulled are not there.
                    if known && depth > 0 && self.from.open(&child.digest)?.is_some() {
                        self.document(child, depth - 1)?;
                    }
                }
            }
            Document::Manifest(manifest) => {
                for blob in manifest.blobs() {
                    self.blob(blob)?;
                }
            }
        }
        store::put(self.hold, &target.media_type, &bytes, None)?;
        Ok(())
    }

    fn blob(&mut self, blob: &Descriptor) -> Result<(), CopyError> {
        if !self.done.insert((blob.digest.clone(), blob.size)) {
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

/// Reads a small blob, verified.
pub(crate) fn read(from: &dyn Blobs, blob: &Descriptor) -> Result<Vec<u8>, CopyError> {
    if blob.size > LARGEST_DOCUMENT {
        return Err(store::Error::bad(&blob.digest, BadDocument::TooLong(blob.size)).into());
    }
    let source = from.open(&blob.digest)?.ok_or_else(|| missing(blob))?;
    let mut bytes = Vec::new();
    Verified::new(source, blob.digest.clone(), blob.size)
        .read_to_end(&mut bytes)
        .map_err(|error| store::Error::reading(&blob.digest, error))?;
    Ok(bytes)
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
    /// It holds no image at all.
    #[error("`{0}` holds no image")]
    Empty(String),
}
