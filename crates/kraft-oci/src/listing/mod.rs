//! Lists the images of a store, one row per platform: the output of `kraft pkg ls`.
//!
//! ```
//! use kraft_oci::listing::list;
//! use kraft_oci::store::layout::Layout;
//!
//! let dir = tempfile::tempdir()?;
//! let listing = list(&Layout::open(dir.path())?, &|_, _| true)?;
//! assert!(listing.rows.is_empty() && listing.unreadable.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asked;
mod cache;

use std::panic::resume_unwind;

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};

use self::asked::Asked;
use self::cache::{Cache, Known};
use crate::choose::{Candidate, candidates};
use crate::digest::Damage;
use crate::image::{Descriptor, Document, Manifest, Platform};
use crate::store::leaves::leaves;
use crate::store::{self, Blobs, Error, Named, Store};

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The full name.
    pub name: Reference,
    /// The index, or the manifest if there is no index.
    pub index: Digest,
    /// The manifest.
    pub manifest: Digest,
    /// Its platform.
    pub platform: Platform,
    /// Total size of all layers, in bytes; `None` if the manifest does not exist locally.
    pub size: Option<u64>,
    /// When it was pulled, if known.
    pub pulled: Option<Timestamp>,
    /// Whether the manifest, and so the whole image, exists locally.
    pub here: bool,
}

/// Number of images from which a second thread is faster.
const WORTH_A_THREAD: usize = 64;
/// Number of images from which their rows are cached.
const WORTH_A_CACHE: usize = 64;

/// The content of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// The rows of all readable images.
    pub rows: Vec<Row>,
    /// Unreadable images, and why.
    pub unreadable: Vec<(Reference, Error)>,
}

/// Returns whether a platform is wanted, by its name and architecture.
pub type Wanted<'a> = dyn Fn(&str, &str) -> bool + 'a;

/// Lists the wanted platforms of every image, from the store's cache as far as it holds.
pub fn list(store: &dyn Store, wanted: &Wanted<'_>) -> Result<Listing, Error> {
    let place = store.listing_cache();
    if place
        .as_ref()
        .is_some_and(|place| cache::has_none(place, wanted))
    {
        return Ok(Listing::default());
    }
    let cache = place.as_ref().map(Cache::load);
    if let Some(rows) = cache.as_ref().and_then(|cache| cache.rows(wanted)) {
        let unreadable = Vec::new();
        return Ok(Listing { rows, unreadable });
    }
    let names = store.names()?;
    let known = cache.as_ref().map(Cache::known).unwrap_or_default();
    let images = read(store, &names, &known);
    if let Some(cache) = cache.filter(|_| names.len() >= WORTH_A_CACHE) {
        cache.replace(names.iter().zip(&images));
    }
    let mut listing = Listing::default();
    for (named, image) in names.into_iter().zip(images) {
        match image {
            Ok(image) => listing.rows.extend(image.rows),
            Err(error) => listing.unreadable.push((named.name, error)),
        }
    }
    listing
        .rows
        .retain(|row| wanted(&row.platform.os, &row.platform.architecture));
    Ok(listing)
}

/// The rows of an image.
#[derive(Debug)]
struct Image {
    rows: Vec<Row>,
    /// Whether they depend on nothing but the image's target and the manifests of the rows.
    plain: bool,
}

/// Reads images, those that are not known from their documents.
fn read(store: &dyn Store, names: &[Named], known: &Known<'_>) -> Vec<Result<Image, Error>> {
    let read = |names: &[Named]| -> Vec<_> {
        let images = names.iter().map(|named| read_one(store, named, known));
        images.collect()
    };
    if names.len() < WORTH_A_THREAD {
        return read(names);
    }
    let (first, second) = names.split_at(names.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| read(second));
        let mut images = read(first);
        images.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        images
    })
}

fn read_one(store: &dyn Store, named: &Named, known: &Known<'_>) -> Result<Image, Error> {
    if let Some(rows) = known.rows(store, named)? {
        return Ok(Image { rows, plain: true });
    }
    let asked = Asked::new(store);
    let rows = rows_of(&asked, named)?;
    let mut digests = asked.into_digests();
    digests.remove(&named.target.digest);
    for row in &rows {
        digests.remove(&row.manifest);
    }
    Ok(Image {
        rows,
        plain: digests.is_empty(),
    })
}

/// Returns the rows of one image.
pub fn rows_of(blobs: &dyn Blobs, named: &Named) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for candidate in candidates_of(blobs, &named.target)? {
        // Reading it shows whether it exists: a separate check would double the calls.
        let manifest = match manifest(blobs, &candidate.descriptor) {
            Ok(manifest) => Some(manifest),
            // It does not exist; or it belongs to another image, and the index is wrong.
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

/// Returns the manifests of unikernels in an image, whether they exist locally or not.
pub fn candidates_of(blobs: &dyn Blobs, target: &Descriptor) -> Result<Vec<Candidate>, Error> {
    Ok(candidates(&leaves(blobs, target)?))
}

/// Reads a manifest.
pub fn manifest(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Manifest, Error> {
    match store::document(blobs, descriptor)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(Error::bad(
            &descriptor.digest,
            crate::image::BadDocument::Neither,
        )),
    }
}

#[cfg(test)]
mod tests;
