//! Pushes images from a store to a registry.
//!
//! Blobs first, then manifests, then the target of the name, so that no concurrent pull gets an
//! incomplete image. Existing blobs are not sent; those in other repositories of the registry are
//! mounted.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kraft_core::event::Silent;
//! use kraft_http::Policy;
//! use kraft_oci::credentials::Keyrings;
//! use kraft_oci::push::push;
//! use kraft_oci::registry::Registry;
//! use kraft_oci::store::{Store, layout::Layout};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(Policy::new("example"), Arc::new(Keyrings::default()))?;
//! let store = Arc::new(Layout::open("/var/lib/images".as_ref())?);
//! let name = "registry.example/web:1.0".parse()?;
//! let image = store.find(&name)?.ok_or("no such image")?;
//! let digest = push(&registry, store, &name, &image.target, &Silent).await?;
//! assert_eq!(digest, image.target.digest);
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use kraft_core::event::{Event, Reporter};
use kraft_core::reference::{Digest, Reference};
use tokio::task::spawn_blocking;

use crate::digest::Damage;
use crate::image::{DEEPEST, Descriptor, Document, Index, Platform};
use crate::registry::{self, BlobSource, Registry};
use crate::store::reach::{Part, digests, parts};
use crate::store::{self, Store};

/// Maximum number of concurrent uploads.
const AT_ONCE: usize = 4;

/// Pushes the target of a name.
pub async fn push(
    registry: &Registry,
    store: Arc<dyn Store>,
    name: &Reference,
    target: &Descriptor,
    reporter: &dyn Reporter,
) -> Result<Digest, PushError> {
    let plan = {
        let (store, target, name) = (Arc::clone(&store), target.clone(), name.clone());
        spawn_blocking(move || Plan::make(&*store, &name, &target))
            .await
            .map_err(|_| PushError::Stopped)??
    };
    let push = Push {
        registry,
        store,
        name,
        reporter,
        tasks: AtomicU64::new(1),
        elsewhere: &plan.elsewhere,
    };
    stream::iter(plan.blobs.iter())
        .map(|part| push.blob(part))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for (descriptor, bytes) in &plan.manifests {
        let by_digest = name.with_digest(&descriptor.digest);
        registry
            .push_manifest(&by_digest, &descriptor.media_type, bytes.clone())
            .await?;
    }
    for absent in &plan.absent {
        let by_digest = name.with_digest(&absent.digest);
        if registry.head(&by_digest).await?.is_none() {
            return Err(PushError::Incomplete {
                name: name.clone(),
                platform: absent
                    .platform
                    .as_ref()
                    .map_or_else(|| absent.digest.to_string(), Platform::pair),
            });
        }
    }
    let pushed = registry
        .push_manifest(name, &target.media_type, plan.target.clone())
        .await?;
    Ok(pushed)
}

/// The blobs and documents to send.
struct Plan {
    /// Configurations and layers.
    blobs: Vec<Part>,
    /// Manifests and indexes below the target, with their media types, in dependency order.
    manifests: Vec<(Descriptor, Bytes)>,
    /// Those that do not exist locally.
    absent: Vec<Descriptor>,
    /// The target.
    target: Bytes,
    /// Names in the same registry that have a blob.
    elsewhere: BTreeMap<Digest, Vec<Reference>>,
}

impl Plan {
    fn make(
        store: &dyn Store,
        name: &Reference,
        target: &Descriptor,
    ) -> Result<Self, store::Error> {
        let bytes = store::read(store, target)?;
        let document = Document::parse(&target.media_type, &bytes)
            .map_err(|source| store::Error::bad(&target.digest, source))?;
        let mut below = Below {
            store,
            documents: BTreeSet::from([target.digest.clone()]),
            manifests: Vec::new(),
            absent: Vec::new(),
        };
        if let Document::Index(index) = document {
            below.index(index, DEEPEST)?;
        }
        let Below {
            documents,
            manifests,
            absent,
            ..
        } = below;
        let mut blobs: BTreeMap<Digest, Part> = BTreeMap::new();
        for part in parts(store, target)? {
            if !documents.contains(&part.blob.digest) {
                blobs.insert(part.blob.digest.clone(), part);
            }
        }
        let elsewhere = elsewhere(store, name, &blobs).unwrap_or_default();
        Ok(Self {
            blobs: blobs.into_values().collect(),
            manifests,
            absent,
            target: bytes.into(),
            elsewhere,
        })
    }
}

/// Returns other repositories of the registry that have some of the blobs, according to the store,
/// so that they can be mounted.
fn elsewhere(
    store: &dyn Store,
    name: &Reference,
    blobs: &BTreeMap<Digest, Part>,
) -> Result<BTreeMap<Digest, Vec<Reference>>, store::Error> {
    let mut elsewhere: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
    let names = store.names()?;
    let others = names.iter().filter(|other| {
        other.name.host() == name.host() && other.name.repository() != name.repository()
    });
    for other in others {
        for (digest, _) in digests(store, &other.target)? {
            if !blobs.contains_key(&digest) {
                continue;
            }
            let names = elsewhere.entry(digest).or_default();
            let last = names.last().map(Reference::repository);
            if last != Some(other.name.repository()) {
                names.push(other.name.clone());
            }
        }
    }
    Ok(elsewhere)
}

/// The documents below the target.
struct Below<'a> {
    store: &'a dyn Store,
    /// Without duplicates, since they are in memory.
    documents: BTreeSet<Digest>,
    manifests: Vec<(Descriptor, Bytes)>,
    absent: Vec<Descriptor>,
}

impl Below<'_> {
    fn index(&mut self, index: Index, depth: usize) -> Result<(), store::Error> {
        for mut child in index.manifests {
            if !self.documents.insert(child.digest.clone()) {
                continue;
            }
            if self.store.size(&child.digest)?.is_none() {
                self.absent.push(child);
                continue;
            }
            let bytes = store::read(self.store, &child)?;
            let document = Document::parse(&child.media_type, &bytes);
            if let Ok(document) = document {
                let media_type = document.media_type(&child.media_type).to_owned();
                child.media_type = media_type;
                if let Document::Index(index) = document
                    && depth > 1
                {
                    self.index(index, depth - 1)?;
                }
            }
            self.manifests.push((child, bytes.into()));
        }
        Ok(())
    }
}

struct Push<'a> {
    registry: &'a Registry,
    store: Arc<dyn Store>,
    name: &'a Reference,
    reporter: &'a dyn Reporter,
    tasks: AtomicU64,
    elsewhere: &'a BTreeMap<Digest, Vec<Reference>>,
}

impl Push<'_> {
    async fn blob(&self, part: &Part) -> Result<(), PushError> {
        let blob = &part.blob;
        if self.registry.has_blob(self.name, &blob.digest).await? {
            return Ok(());
        }
        for from in self
            .elsewhere
            .get(&blob.digest)
            .into_iter()
            .flatten()
            .take(3)
        {
            if self.registry.mount(self.name, from, &blob.digest).await? {
                return Ok(());
            }
        }
        let damage = match part.stored {
            None => Some(Damage::Missing),
            Some(found) if found < blob.size => Some(Damage::Shorter {
                expected: blob.size,
                found,
            }),
            Some(found) if found > blob.size => Some(Damage::Longer {
                expected: blob.size,
            }),
            Some(_) => None,
        };
        if let Some(damage) = damage {
            return Err(store::Error::damaged(&blob.digest, damage).into());
        }
        let task = self.tasks.fetch_add(1, Ordering::Relaxed);
        self.reporter.report(Event::Started {
            task,
            what: format!("pushing {}", blob.digest.short()),
            total: Some(blob.size),
        });
        let source = Stored {
            store: Arc::clone(&self.store),
            blob: blob.clone(),
        };
        let pushed = self
            .registry
            .push_blob(self.name, blob, Arc::new(source), &|done| {
                self.reporter.report(Event::Advanced { task, done });
            })
            .await;
        self.reporter.report(match pushed {
            Ok(()) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        let Err(error) = pushed else { return Ok(()) };
        // The registry reports that it is invalid or incomplete.
        Err(
            match damage_of(Arc::clone(&self.store), blob.clone()).await {
                Some(damage) => damage.into(),
                None => error.into(),
            },
        )
    }
}

/// A blob of the store. It is not hashed while it is sent: the registry does that.
struct Stored {
    store: Arc<dyn Store>,
    blob: Descriptor,
}

impl BlobSource for Stored {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let blob = self.store.open(&self.blob.digest);
        blob.map_err(io::Error::other)
    }
}

/// Returns the damage of a blob that a registry rejected, if there is any.
async fn damage_of(store: Arc<dyn Store>, blob: Descriptor) -> Option<store::Error> {
    let read = move || {
        let mut reader = store::open_verified(&*store, &blob)?;
        io::copy(&mut reader, &mut io::sink())
            .map_err(|error| store::Error::reading(&blob.digest, error))
    };
    match spawn_blocking(read).await {
        Ok(Err(error @ store::Error::Damaged { .. })) => Some(error),
        _ => None,
    }
}

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store failed, or a blob is damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A manifest exists neither locally nor in the registry.
    #[error("the part of `{name}` for {platform} exists neither locally nor in the registry")]
    Incomplete {
        /// The image.
        name: Reference,
        /// The missing part.
        platform: String,
    },
    /// The program is terminating.
    #[error("the transfer was stopped")]
    Stopped,
}
