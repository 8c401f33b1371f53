//! Local stores of images.
//!
//! A store contains blobs by digest, and names that refer to some of them. There are two
//! implementations of one trait: a directory ([`layout`]) and containerd. Both guarantee:
//!
//! - Content read under a digest matches the digest.
//! - A name refers to a complete image: everything below it is stored before the name.
//! - [Leased](Store::lease) blobs are not garbage-collected, whether they are referenced or not.
//! - A killed process leaves the store consistent.
//!
//! All of it blocks: call it from a thread that may.
//!
//! ```
//! use kraft_oci::image::{Descriptor, media};
//! use kraft_oci::store::{Store, layout::Layout, put, read};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Layout::open(dir.path())?;
//! let lease = store.lease()?;
//! let layer = put(&*lease, media::LAYER, b"bytes", None)?;
//! assert_eq!(read(&store, &layer)?, b"bytes");
//! assert!(store.collect()?.blobs.is_empty(), "leased blobs are kept");
//! drop(lease);
//! assert_eq!(store.collect()?.blobs.len(), 1);
//! assert!(read(&store, &layer).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod containerd;
mod documents;
pub mod layout;
pub mod leaves;
pub mod reach;
pub mod verify;

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};

use crate::digest::{Damage, Verified};
use crate::image::{BadDocument, Config, Descriptor, Document, LARGEST_DOCUMENT};

/// A name and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The full name.
    pub name: Reference,
    /// The index or manifest.
    pub target: Descriptor,
    /// When the name was given to it, if that is known.
    pub since: Option<Timestamp>,
}

/// What a name must point to for a change to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Anything,
    /// Nothing: the name must be free.
    Nothing,
    /// This.
    This(Digest),
}

/// A blob to import.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// What it is; some stores treat documents in their own way.
    pub media_type: &'a str,
    /// Its digest, if known: then it can be continued after an interruption.
    pub digest: Option<&'a Digest>,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// The image it belongs to, if known.
    pub source: Option<&'a Reference>,
}

impl<'a> About<'a> {
    /// Derives it from a descriptor.
    pub fn blob(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            digest: Some(&descriptor.digest),
            size: Some(descriptor.size),
            source: None,
        }
    }

    /// Adds the image it belongs to.
    #[must_use]
    pub fn of(mut self, source: &'a Reference) -> Self {
        self.source = Some(source);
        self
    }
}

/// Garbage that was or would be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs.
    pub blobs: Vec<(Digest, u64)>,
    /// Bytes of other things: parts of downloads, unpacked copies.
    pub other: u64,
}

impl Swept {
    /// Returns how many bytes all of it has.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, size)| size).sum::<u64>() + self.other
    }
}

/// Where a listing of a store may be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingCache {
    /// The file.
    pub path: PathBuf,
    /// The state of names and blobs: another one after each change of a name and each blob that was
    /// added or removed. `None` if the last change was so recent that the next one might not show.
    pub state: Option<String>,
}

/// Blobs by their digest: all that a walk over an image needs of a store.
pub trait Blobs: Debug + Send + Sync {
    /// Returns the size of a blob in bytes, if it exists.
    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error>;

    /// Opens a blob without verification; [`Error::Damaged`] if it does not exist.
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error>;
}

/// A place for images.
pub trait Store: Blobs {
    /// Returns its path or address, for messages.
    fn place(&self) -> String;

    /// Starts a lease, which keeps blobs from being removed.
    fn lease(&self) -> Result<Box<dyn Lease>, Error>;

    /// Starts a lease for many blobs: where the store supports it, [`Lease::flush`] flushes them
    /// together, which is much faster than one by one.
    fn lease_many(&self) -> Result<Box<dyn Lease>, Error> {
        self.lease()
    }

    /// Returns every name, sorted.
    fn names(&self) -> Result<Vec<Named>, Error>;

    /// Returns what a full name points to.
    fn find(&self, name: &Reference) -> Result<Option<Named>, Error> {
        Ok(self.names()?.into_iter().find(|named| named.name == *name))
    }

    /// Sets a full name to an existing document, atomically.
    ///
    /// Errors: [`Error::Moved`] if the name does not point to what is expected.
    fn tag(&self, name: &Reference, target: &Descriptor, expect: &Expect) -> Result<(), Error>;

    /// Gives several names, each with the time it was given if that is known; where the store can, in
    /// one step. Returns those that do not point to what is expected, which stay as they are.
    fn tag_many(&self, names: &[(Named, Expect)]) -> Result<Vec<Reference>, Error> {
        let mut moved = Vec::new();
        for (named, expect) in names {
            match self.tag(&named.name, &named.target, expect) {
                Err(Error::Moved(name)) => moved.push(name),
                outcome => outcome?,
            }
        }
        Ok(moved)
    }

    /// Removes a name and returns its target. The blobs stay until garbage collection.
    fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, Error>;

    /// Removes several names; where the store can, in one step. Returns what they pointed to.
    fn untag_many(&self, names: &[Reference]) -> Result<Vec<Descriptor>, Error> {
        let mut removed = Vec::new();
        for name in names {
            removed.extend(self.untag(name)?);
        }
        Ok(removed)
    }

    /// Returns every blob with its size in bytes.
    fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error>;

    /// Removes a blob that is damaged.
    fn discard(&self, digest: &Digest) -> Result<(), Error>;

    /// Removes all unreachable blobs without a lease; with `dry_run`, only lists them.
    fn sweep(&self, dry_run: bool) -> Result<Swept, Error>;

    /// Returns where a listing of the images may be cached, if the store has a place for it.
    fn listing_cache(&self) -> Option<ListingCache> {
        None
    }

    /// Removes what changed and removed names led to, and what writers left that have ended; where
    /// the store can, without a look at other images.
    fn collect(&self) -> Result<Swept, Error> {
        self.sweep(false)
    }
}

/// A lease that keeps blobs from garbage collection until it is dropped.
pub trait Lease: Debug + Send + Sync {
    /// Leases blobs, whether they exist or not. Check for their existence only afterwards.
    fn keep(&self, digests: &[&Digest]) -> Result<(), Error>;

    /// Starts to import a blob, and leases it. Waits while another process imports the same one;
    /// `None` if it already exists.
    fn ingest(&self, about: &About<'_>) -> Result<Option<Box<dyn Ingest>>, Error>;

    /// Puts what was committed so far in its place and on disk, if that was put off
    /// ([`Store::lease_many`]).
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A blob that is being imported. When it is dropped before the commit, partial data is kept for
/// the next attempt if its digest is known.
pub trait Ingest: Write + Debug + Send {
    /// Returns the number of bytes from an earlier attempt: continue after them.
    fn offset(&self) -> u64;

    /// Discards the data and starts again.
    fn restart(&mut self) -> io::Result<()>;

    /// Puts the blob in its place, if it is what it should be; else forgets it.
    fn commit(self: Box<Self>) -> Result<(Digest, u64), Error>;
}

/// Opens a blob; its last read fails if it is not what its descriptor says.
pub fn open_verified(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
) -> Result<Verified<Box<dyn Read + Send>>, Error> {
    let raw = blobs.open(&descriptor.digest)?;
    Ok(Verified::new(
        raw,
        descriptor.digest.clone(),
        descriptor.size,
    ))
}

/// Reads a document or a configuration. The digest alone decides whether it is whole: the size that
/// a descriptor states may be wrong.
pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    read_document(blobs.open(&descriptor.digest)?, descriptor)
}

/// Reads a document or a configuration from where it lies, verified by its digest.
pub(crate) fn read_document(reader: impl Read, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let digest = &descriptor.digest;
    // Room for all of it and one more, so that one read gets it and the next one sees the end: a list
    // of many images consists of little else.
    let room = usize::try_from(descriptor.size.min(LARGEST_DOCUMENT)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room.saturating_add(1));
    reader
        .take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::reading(digest, error))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(Error::bad(digest, BadDocument::TooLong(bytes.len() as u64)));
    }
    let found = crate::digest::of(&bytes);
    if found != *digest {
        return Err(Error::damaged(digest, Damage::Digest { found }));
    }
    Ok(bytes)
}

/// Reads an index or a manifest, verified.
pub fn document(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Document, Error> {
    let bytes = read(blobs, descriptor)?;
    Document::parse(&descriptor.media_type, &bytes)
        .map_err(|source| Error::bad(&descriptor.digest, source))
}

/// Reads a configuration, verified.
pub fn config(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Config, Error> {
    let bytes = read(blobs, descriptor)?;
    Config::parse(&bytes).map_err(|source| Error::bad(&descriptor.digest, source))
}

/// Takes in bytes that are at hand, and returns what points to them.
pub fn put(
    lease: &dyn Lease,
    media_type: &str,
    bytes: &[u8],
    source: Option<&Reference>,
) -> Result<Descriptor, Error> {
    let descriptor = Descriptor::of(media_type, bytes);
    let about = About {
        source,
        ..About::blob(&descriptor)
    };
    if let Some(mut ingest) = lease.ingest(&about)? {
        // A part from an earlier try is not worth its trouble here.
        ingest
            .restart()
            .and_then(|()| ingest.write_all(bytes))
            .map_err(|error| Error::writing(&format!("the blob {}", descriptor.digest), error))?;
        ingest.commit()?;
    }
    Ok(descriptor)
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the store.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// A blob is not what it should be, or not there.
    #[error("the blob {digest} is damaged")]
    Damaged {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        source: Damage,
    },
    /// An image states another size for a blob than the blob of that digest has.
    #[error("the blob {digest} has {found} bytes, and the image states {stated}")]
    Size {
        /// Its digest.
        digest: Digest,
        /// What the image states, in bytes.
        stated: u64,
        /// What it has, in bytes.
        found: u64,
    },
    /// A blob cannot be read.
    #[error("cannot read the blob {digest}")]
    Read {
        /// Its digest.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// A blob cannot be written.
    #[error("cannot store {what}")]
    Write {
        /// The blob, as it is known so far.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A document makes no sense.
    #[error("the document {digest} cannot be used")]
    Document {
        /// Its digest.
        digest: Digest,
        /// Why not.
        source: BadDocument,
    },
    /// The list of names makes no sense.
    #[error("the list of images `{path}` cannot be used")]
    Names {
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The place is written by a newer program, or is something else.
    #[error("`{place}` is not a store of images that we know: {why}")]
    Foreign {
        /// The place.
        place: String,
        /// What it lacks or says.
        why: String,
    },
    /// Another process changed a name meanwhile.
    #[error("the image `{0}` was changed by another process meanwhile")]
    Moved(Reference),
    /// Garbage collection would remove blobs that a damaged document refers to.
    #[error(
        "nothing was removed, because the image `{name}` is damaged and what belongs to it is not known"
    )]
    Unsure {
        /// The image.
        name: Reference,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// The containerd did not do it.
    #[error("containerd at `{address}` cannot {doing}")]
    Containerd {
        /// Its address.
        address: String,
        /// What was attempted, as it follows "cannot".
        doing: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A blob that is there and wrong, or not there.
    pub(crate) fn damaged(digest: &Digest, source: Damage) -> Self {
        Self::Damaged {
            digest: digest.clone(),
            source,
        }
    }

    pub(crate) fn bad(digest: &Digest, source: BadDocument) -> Self {
        Self::Document {
            digest: digest.clone(),
            source,
        }
    }

    /// Separates damage, which [`Verified`] reports as an I/O error, from real I/O errors.
    pub(crate) fn reading(digest: &Digest, error: io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Damage>())
        {
            Some(damage) => Self::damaged(digest, damage.clone()),
            None => Self::Read {
                digest: digest.clone(),
                source: error,
            },
        }
    }

    /// Separates damage, disk and transfer errors when a blob is copied between stores.
    pub(crate) fn reading_or_writing(blob: &Descriptor, error: io::Error) -> Self {
        match Self::reading(&blob.digest, error) {
            Self::Read { digest, source } => Self::writing(&format!("the blob {digest}"), source),
            damaged => damaged,
        }
    }

    pub(crate) fn writing(what: &dyn std::fmt::Display, source: io::Error) -> Self {
        Self::Write {
            what: what.to_string(),
            source,
        }
    }
}
