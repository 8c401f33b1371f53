//! Documents that are read once, however often a walk over an image looks at them.

use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraft_core::reference::Digest;

use super::{Blobs, Error};
use crate::digest;
use crate::image::LARGEST_DOCUMENT;

/// Maximum size in bytes of the documents of one walk that are kept in memory.
const MOST_KEPT: usize = 16 << 20;
/// Size in bytes for which one read suffices: that of most documents.
const USUAL: usize = 4 << 10;

/// Blobs of a store that are kept in memory once they were opened, for a walk over the documents of
/// one image.
#[derive(Debug)]
pub(super) struct Documents<'a> {
    blobs: &'a dyn Blobs,
    read: Mutex<Kept>,
    /// The digests of blobs that were read and are whole, of all walks.
    whole: &'a Mutex<HashSet<Digest>>,
}

#[derive(Debug, Default)]
struct Kept {
    blobs: HashMap<Digest, Arc<[u8]>>,
    bytes: usize,
}

impl<'a> Documents<'a> {
    /// Begins a walk.
    pub(super) fn new(blobs: &'a dyn Blobs, whole: &'a Mutex<HashSet<Digest>>) -> Self {
        Self {
            blobs,
            read: Mutex::default(),
            whole,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blobs for Documents<'_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        if let Some(bytes) = locked(&self.read).blobs.get(digest) {
            return Ok(Box::new(Cursor::new(Arc::clone(bytes))));
        }
        let mut blob = self.blobs.open(digest)?;
        let mut bytes = Vec::with_capacity(USUAL);
        blob.by_ref()
            .take(LARGEST_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::reading(digest, error))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Ok(Box::new(Cursor::new(bytes).chain(blob)));
        }
        if digest::of(&bytes) == *digest {
            locked(self.whole).insert(digest.clone());
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut read = locked(&self.read);
        if read.bytes + bytes.len() <= MOST_KEPT {
            read.bytes += bytes.len();
            read.blobs.insert(digest.clone(), Arc::clone(&bytes));
        }
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.blobs.size(digest)
    }
}
