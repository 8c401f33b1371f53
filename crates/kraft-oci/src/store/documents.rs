//! Documents that are read once, however often a walk over an image looks at them.

use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraft_core::reference::{Digest, Reference};

use super::{Error, Expect, Lease, Named, Store, Swept};
use crate::digest;
use crate::image::{Descriptor, LARGEST_DOCUMENT};

/// Maximum size in bytes of the documents of one walk that are kept in memory.
const MOST_KEPT: usize = 16 << 20;

/// A store whose blobs are kept in memory once they were opened, for a walk over the documents of one
/// image.
#[derive(Debug)]
pub(super) struct Documents<'a> {
    store: &'a dyn Store,
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
    pub(super) fn new(store: &'a dyn Store, whole: &'a Mutex<HashSet<Digest>>) -> Self {
        Self {
            store,
            read: Mutex::default(),
            whole,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for Documents<'_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        if let Some(bytes) = locked(&self.read).blobs.get(digest) {
            return Ok(Box::new(Cursor::new(Arc::clone(bytes))));
        }
        let mut blob = self.store.open(digest)?;
        let mut bytes = Vec::new();
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
        self.store.size(digest)
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn lease(&self) -> Result<Box<dyn Lease>, Error> {
        self.store.lease()
    }

    fn names(&self) -> Result<Vec<Named>, Error> {
        self.store.names()
    }

    fn tag(&self, name: &Reference, target: &Descriptor, expect: &Expect) -> Result<(), Error> {
        self.store.tag(name, target, expect)
    }

    fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        self.store.untag(name)
    }

    fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.store.blobs()
    }

    fn discard(&self, digest: &Digest) -> Result<(), Error> {
        self.store.discard(digest)
    }

    fn sweep(&self, dry_run: bool) -> Result<Swept, Error> {
        self.store.sweep(dry_run)
    }
}
