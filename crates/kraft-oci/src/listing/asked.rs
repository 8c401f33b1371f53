//! Records what a walk over an image depends on.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use kraft_core::reference::Digest;

use crate::store::{Blobs, Error};

/// Blobs of a store, with a record of those that were asked for, whether they exist or not.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    blobs: &'a dyn Blobs,
    digests: Mutex<BTreeSet<Digest>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(blobs: &'a dyn Blobs) -> Self {
        Self {
            blobs,
            digests: Mutex::default(),
        }
    }

    /// Returns the digests of the blobs.
    pub(super) fn into_digests(self) -> BTreeSet<Digest> {
        let digests = self.digests.into_inner();
        digests.unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, digest: &Digest) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(digest.clone());
    }
}

impl Blobs for Asked<'_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        self.record(digest);
        self.blobs.open(digest)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.record(digest);
        self.blobs.size(digest)
    }
}
