//! Records what a walk over an image depends on.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use kraft_core::reference::{Digest, Reference};

use crate::image::Descriptor;
use crate::store::{Error, Expect, Lease, Named, Store, Swept};

/// A store that records which blobs it was asked for, whether they exist or not.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    store: &'a dyn Store,
    digests: Mutex<BTreeSet<Digest>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
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

impl Store for Asked<'_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        self.record(digest);
        self.store.open(digest)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.record(digest);
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
