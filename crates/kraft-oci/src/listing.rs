//! What a store holds, one row per platform of an image: what `kraft pkg ls` prints.

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};

use crate::choose::{Candidate, candidates};
use crate::digest::Damage;
use crate::image::{Descriptor, Document, Manifest, Platform};
use crate::store::leaves::leaves;
use crate::store::{self, Error, Named, Store};

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The full name.
    pub name: Reference,
    /// The index, or the manifest where there is no index.
    pub index: Digest,
    /// The manifest.
    pub manifest: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// All layers, in bytes; `None` if the manifest is not here.
    pub size: Option<u64>,
    /// Since when it is here, if that is known and it is.
    pub pulled: Option<Timestamp>,
    /// Whether its manifest is here, and so all of it.
    pub here: bool,
}

/// With so many images two threads are faster than one.
const WORTH_A_THREAD: usize = 64;

/// All of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// The rows of every image that can be read.
    pub rows: Vec<Row>,
    /// The images that cannot, and why.
    pub unreadable: Vec<(Reference, Error)>,
}

/// Lists every image.
pub fn list(store: &dyn Store) -> Result<Listing, Error> {
    let names = store.names()?;
    let list = |names: &[Named]| {
        let mut listing = Listing::default();
        for named in names {
            match rows_of(store, named) {
                Ok(found) => listing.rows.extend(found),
                Err(error) => listing.unreadable.push((named.name.clone(), error)),
            }
        }
        listing
    };
    if names.len() < WORTH_A_THREAD {
        return Ok(list(&names));
    }
    let (first, second) = names.split_at(names.len() / 2);
    let mut listing = Listing::default();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| list(second));
        listing = list(first);
        // One that panicked has nothing to tell.
        let other = other.join().unwrap_or_default();
        listing.rows.extend(other.rows);
        listing.unreadable.extend(other.unreadable);
    });
    Ok(listing)
}

/// Returns the rows of one image.
pub fn rows_of(store: &dyn Store, named: &Named) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for candidate in candidates_of(store, &named.target)? {
        // Its absence is learnt by reading it: asking first would be one more call for every row.
        let manifest = match manifest(store, &candidate.descriptor) {
            Ok(manifest) => Some(manifest),
            // It is not here; or what is here is a part of another image, and the index lies.
            Err(
                Error::Damaged {
                    source: Damage::Missing,
                    ..
                }
                | Error::Document { .. },
            ) => None,
            Err(error) => return Err(error),
        };
        let here = manifest.is_some();
        let size = manifest.map(|manifest| manifest.layers.iter().map(|l| l.size).sum());
        rows.push(Row {
            name: named.name.clone(),
            index: named.target.digest.clone(),
            manifest: candidate.descriptor.digest,
            platform: candidate.platform,
            size,
            pulled: named.since.filter(|_| here),
            here,
        });
    }
    Ok(rows)
}

/// Returns the manifests of an image on which a unikernel could run, whether they are here or not.
pub fn candidates_of(store: &dyn Store, target: &Descriptor) -> Result<Vec<Candidate>, Error> {
    Ok(candidates(&leaves(store, target)?))
}

/// Reads a manifest.
pub fn manifest(store: &dyn Store, descriptor: &Descriptor) -> Result<Manifest, Error> {
    match store::document(store, descriptor)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(Error::bad(
            &descriptor.digest,
            crate::image::BadDocument::Neither,
        )),
    }
}
