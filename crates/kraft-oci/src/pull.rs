//! Pulls images from a registry into a store.
//!
//! ```text
//! look ─► Remote ─ (the caller chooses) ─► pull: manifests, configurations ─► layers, several at a time
//!                                                 ─► documents ─► name
//! ```
//!
//! Existing blobs are not fetched, partial ones are resumed, and the name is added last: an image
//! with a name is complete.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kraft_core::event::Silent;
//! use kraft_core::reference::Reference;
//! use kraft_http::Policy;
//! use kraft_oci::credentials::Keyrings;
//! use kraft_oci::pull::{look, pull};
//! use kraft_oci::registry::Registry;
//! use kraft_oci::store::layout::Layout;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(Policy::new("example"), Arc::new(Keyrings::default()))?;
//! let store = Arc::new(Layout::open("/var/lib/images".as_ref())?);
//! let name: Reference = "unikraft.org/nginx:1.25".parse()?;
//! let remote = look(&registry, &name).await?;
//! let candidates = remote.candidates(&registry, &name).await?;
//! let chosen: Vec<_> = candidates.into_iter().map(|c| c.descriptor).collect();
//! pull(&registry, store, &name, &remote, &chosen, &Silent).await?;
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use kraft_core::event::{Event, Reporter};
use kraft_core::reference::{Digest, Reference};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::choose::{Candidate, candidates};
use crate::digest::Damage;
use crate::image::{
    BadDocument, Config, DEEPEST, Descriptor, Document, Index, LARGEST_DOCUMENT, Manifest,
    Platform, media,
};
use crate::package::linux_arch;
use crate::registry::{self, BlobSink, Fetched, Registry};
use crate::store::leaves::inherit;
use crate::store::{self, About, Expect, Ingest, Lease, Store};

/// Maximum number of concurrent blob transfers.
const AT_ONCE: usize = 4;
/// Number of buffered chunks; each has at most some hundred KiB.
const WAITING: usize = 6;
/// Maximum total size of the documents of one pull, in bytes: they are in memory until the last
/// layer is stored.
const LARGEST_DOCUMENTS: u64 = 32 << 20;
/// Maximum number of nested indexes in an index.
const MOST_INNER: usize = 64;
/// Maximum number of manifests without a platform in the index, whose configurations are fetched
/// for it.
const MOST_VAGUE: usize = 16;

/// The document of a name in a registry.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its descriptor.
    pub target: Descriptor,
    /// Its bytes.
    bytes: Bytes,
    /// The parsed document.
    document: Document,
    /// Nested indexes, outermost first: descriptors and bytes.
    inner: Vec<(Descriptor, Bytes)>,
    /// The manifests below it, in order and without duplicates, with their platforms as far as the
    /// indexes contain them; the document itself if it is a manifest.
    leaves: Vec<Descriptor>,
}

impl Remote {
    /// Returns the manifests of unikernels.
    pub async fn candidates(
        &self,
        registry: &Registry,
        name: &Reference,
    ) -> Result<Vec<Candidate>, PullError> {
        Ok(candidates(&self.manifests(registry, name).await?))
    }

    /// Returns the manifests with their platforms. For a manifest without a platform the
    /// configuration is fetched.
    pub async fn manifests(
        &self,
        registry: &Registry,
        name: &Reference,
    ) -> Result<Vec<Descriptor>, PullError> {
        let mut manifests = self.leaves.clone();
        let vague = manifests
            .iter_mut()
            .filter(|leaf| leaf.platform.is_none() && !leaf.is_attestation());
        for leaf in vague.take(MOST_VAGUE) {
            let asked = self.platform_of(registry, name, leaf).await;
            match (asked, self.leaves.len()) {
                (Ok(platform), _) => leaf.platform = Some(platform),
                // Among several, an unreadable manifest is skipped.
                (Err(PullError::Document { .. }), 2..) => {}
                (Err(error), _) => return Err(error),
            }
        }
        Ok(manifests)
    }

    async fn platform_of(
        &self,
        registry: &Registry,
        name: &Reference,
        leaf: &Descriptor,
    ) -> Result<Platform, PullError> {
        let fetched;
        let document = if leaf.digest == self.target.digest {
            &self.document
        } else {
            fetched = fetch(registry, &name.with_digest(&leaf.digest)).await?.2;
            &fetched
        };
        let Document::Manifest(manifest) = document else {
            return Ok(Platform::default());
        };
        if let Some(platform) = &manifest.config.platform {
            return Ok(platform.clone());
        }
        let config = &manifest.config;
        let bytes = registry.small_blob(name, &config.digest).await?;
        Ok(parse_config(name, config, &bytes)?.platform)
    }
}

fn parse_config(name: &Reference, blob: &Descriptor, bytes: &[u8]) -> Result<Config, PullError> {
    Config::parse(bytes).map_err(|source| PullError::Document {
        name: name.with_digest(&blob.digest),
        source,
    })
}

/// Fetches the document of a full name, including nested indexes.
pub async fn look(registry: &Registry, name: &Reference) -> Result<Remote, PullError> {
    let (target, bytes, document) = fetch(registry, name).await?;
    let mut descent = Descent {
        seen: BTreeSet::from([target.digest.clone()]),
        inner: Vec::new(),
        leaves: Vec::new(),
    };
    match &document {
        Document::Manifest(manifest) => {
            let mut alone = target.clone();
            alone.platform.clone_from(&manifest.config.platform);
            descent.leaves.push(alone);
        }
        Document::Index(index) => {
            // Level by level, in the order of the entries.
            let mut level = vec![(index.clone(), None)];
            for depth in 1.. {
                level = descent.level(registry, name, level).await?;
                if level.is_empty() {
                    break;
                }
                if depth == DEEPEST {
                    let (name, source) = (name.clone(), BadDocument::TooDeep);
                    return Err(PullError::Document { name, source });
                }
            }
        }
    }
    Ok(Remote {
        target,
        bytes,
        document,
        inner: descent.inner,
        leaves: descent.leaves,
    })
}

/// The traversal of an index.
struct Descent {
    seen: BTreeSet<Digest>,
    inner: Vec<(Descriptor, Bytes)>,
    leaves: Vec<Descriptor>,
}

/// Indexes, each with the platform of its entry.
type Level = Vec<(Index, Option<Platform>)>;

impl Descent {
    /// Processes the entries of indexes; returns the nested indexes.
    async fn level(
        &mut self,
        registry: &Registry,
        name: &Reference,
        indexes: Level,
    ) -> Result<Level, PullError> {
        let mut below = Vec::new();
        for (index, around) in indexes {
            for mut child in index.manifests {
                if !media::is_document(&child.media_type) || !self.seen.insert(child.digest.clone())
                {
                    continue;
                }
                inherit(&mut child, around.as_ref());
                if media::is_manifest(&child.media_type) {
                    self.leaves.push(child);
                    continue;
                }
                let by_digest = name.with_digest(&child.digest);
                if self.inner.len() == MOST_INNER {
                    let source = BadDocument::TooMany(self.inner.len() + 1);
                    return Err(PullError::Document {
                        name: by_digest,
                        source,
                    });
                }
                let (found, bytes, document) = fetch(registry, &by_digest).await?;
                match document {
                    Document::Index(index) => {
                        below.push((index, child.platform));
                        self.inner.push((found, bytes));
                    }
                    Document::Manifest(_) => {
                        child.media_type = found.media_type;
                        self.leaves.push(child);
                    }
                }
            }
        }
        Ok(below)
    }
}

/// Fetches one document.
async fn fetch(
    registry: &Registry,
    name: &Reference,
) -> Result<(Descriptor, Bytes, Document), PullError> {
    let fetched = registry.manifest(name, None).await?;
    let Fetched::Document {
        bytes,
        media_type,
        digest,
        ..
    } = fetched
    else {
        return Err(PullError::Unasked(name.clone()));
    };
    let document = Document::parse(&media_type, &bytes).map_err(|source| PullError::Document {
        name: name.clone(),
        source,
    })?;
    let media_type = document.media_type(&media_type);
    let target = Descriptor::new(media_type, digest, bytes.len() as u64);
    Ok((target, bytes, document))
}

/// The result of a pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Number of documents with a wrong stated size.
    pub misstated: usize,
}

/// Pulls the chosen manifests, and adds the name.
///
/// Invalid documents are rejected before layers are fetched, and the name is unchanged.
pub async fn pull(
    registry: &Registry,
    store: Arc<dyn Store>,
    name: &Reference,
    remote: &Remote,
    chosen: &[Descriptor],
    reporter: &dyn Reporter,
) -> Result<Pulled, PullError> {
    let mut pull = Pull {
        registry,
        name,
        lease: blocking({
            let store = Arc::clone(&store);
            move || store.lease()
        })
        .await?
        .into(),
        reporter,
        tasks: AtomicU64::new(1),
        in_memory: 0,
        pulled: Pulled::default(),
    };
    let mut documents = Vec::new();
    let mut layers: BTreeMap<_, Descriptor> = BTreeMap::new();
    for descriptor in wanted(&remote.leaves, chosen) {
        let (found, bytes, manifest) = pull.manifest(remote, &descriptor).await?;
        if let Some(config) = pull.config(&store, &manifest.config).await? {
            documents.push((manifest.config.media_type.clone(), config));
        } else if !media::is_config(&manifest.config.media_type) {
            layers.insert(manifest.config.digest.clone(), manifest.config);
        }
        for layer in manifest.layers {
            layers.insert(layer.digest.clone(), layer);
        }
        documents.push((found.media_type, bytes));
    }
    // Lease all blobs before checking which exist.
    let digests: Vec<_> = layers.keys().cloned().collect();
    let lease = Arc::clone(&pull.lease);
    blocking(move || lease.keep(&digests.iter().collect::<Vec<_>>())).await?;
    stream::iter(layers.into_values())
        .map(|blob| pull.blob(blob))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    // Nested documents are stored before those that refer to them.
    let inner = remote.inner.iter().rev().cloned();
    documents.extend(inner.map(|(descriptor, bytes)| (descriptor.media_type, bytes)));
    documents.push((remote.target.media_type.clone(), remote.bytes.clone()));
    for (media_type, bytes) in documents {
        pull.put(media_type, bytes).await?;
    }
    let (name, target) = (name.clone(), remote.target.clone());
    blocking(move || store.tag(&name, &target, &Expect::Anything)).await?;
    Ok(pull.pulled)
}

/// Returns the manifests to fetch, without duplicates: the chosen ones, and their Linux manifests
/// for containers.
fn wanted(leaves: &[Descriptor], chosen: &[Descriptor]) -> Vec<Descriptor> {
    let mut wanted = chosen.to_vec();
    wanted.extend(linux_sides(leaves, chosen));
    let mut seen = BTreeSet::new();
    wanted.retain(|descriptor| seen.insert(descriptor.digest.clone()));
    wanted
}

/// Returns the index entries for container engines of the chosen manifests: small documents over
/// the same layers, needed to push the complete image.
fn linux_sides(leaves: &[Descriptor], chosen: &[Descriptor]) -> Vec<Descriptor> {
    let archs: Vec<&str> = chosen
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .filter(|platform| platform.is_unikernel())
        .filter_map(|platform| linux_arch(&platform.architecture))
        .collect();
    let is_side = |descriptor: &&Descriptor| {
        descriptor.platform.as_ref().is_some_and(|platform| {
            platform.os == "linux" && archs.contains(&platform.architecture.as_str())
        })
    };
    leaves.iter().filter(is_side).cloned().collect()
}

struct Pull<'a> {
    registry: &'a Registry,
    name: &'a Reference,
    lease: Arc<dyn Lease>,
    reporter: &'a dyn Reporter,
    tasks: AtomicU64,
    /// Size of the documents, which are in memory until the last layer is stored.
    in_memory: u64,
    pulled: Pulled,
}

impl Pull<'_> {
    /// Fetches a manifest, unless it was already fetched. Its digest is verified, but not the
    /// stated size.
    async fn manifest(
        &mut self,
        remote: &Remote,
        descriptor: &Descriptor,
    ) -> Result<(Descriptor, Bytes, Manifest), PullError> {
        if descriptor.digest == remote.target.digest
            && let Document::Manifest(manifest) = &remote.document
        {
            return Ok((
                remote.target.clone(),
                remote.bytes.clone(),
                manifest.clone(),
            ));
        }
        let name = self.name.with_digest(&descriptor.digest);
        let (found, bytes, document) = fetch(self.registry, &name).await?;
        let Document::Manifest(manifest) = document else {
            return Err(PullError::NotAManifest(name));
        };
        self.count(descriptor, bytes.len())?;
        Ok((found, bytes, manifest))
    }

    /// Fetches the configuration of an image, unless it exists locally; `None` for one of another
    /// type. An invalid one is rejected.
    async fn config(
        &mut self,
        store: &Arc<dyn Store>,
        config: &Descriptor,
    ) -> Result<Option<Bytes>, PullError> {
        if !media::is_config(&config.media_type) {
            return Ok(None);
        }
        let (from, lease, wanted) = (Arc::clone(store), Arc::clone(&self.lease), config.clone());
        let here = blocking(move || {
            lease.keep(&[&wanted.digest])?;
            match store::read(&*from, &wanted) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                // A damaged one is replaced.
                Err(store::Error::Damaged { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let bytes = match here.await? {
            Some(bytes) => bytes,
            None => self.small_blob(config).await?,
        };
        parse_config(self.name, config, &bytes)?;
        self.count(config, bytes.len())?;
        Ok(Some(bytes))
    }

    async fn small_blob(&self, config: &Descriptor) -> Result<Bytes, PullError> {
        match self.registry.small_blob(self.name, &config.digest).await {
            // The stated size is correct, so the image is invalid, not the response.
            Err(registry::Error::Protocol { .. }) if config.size > LARGEST_DOCUMENT => {
                Err(PullError::Document {
                    name: self.name.with_digest(&config.digest),
                    source: BadDocument::TooLong(config.size),
                })
            }
            fetched => Ok(fetched?),
        }
    }

    /// Counts the size of a document, which may differ from the stated size.
    ///
    /// Errors: the total exceeds the limit.
    fn count(&mut self, stated: &Descriptor, bytes: usize) -> Result<(), PullError> {
        let bytes = bytes as u64;
        if bytes != stated.size {
            self.pulled.misstated += 1;
        }
        self.in_memory += bytes;
        if self.in_memory > LARGEST_DOCUMENTS {
            let name = self.name.clone();
            return Err(PullError::TooMuch { name });
        }
        Ok(())
    }

    /// Fetches a blob that does not exist locally.
    async fn blob(&self, blob: Descriptor) -> Result<(), PullError> {
        if !self.fetch(&blob).await? {
            return Ok(());
        }
        // The partial blob of an earlier attempt was not its beginning.
        if self.fetch(&blob).await? {
            return Err(store::Error::damaged(&blob.digest, Damage::Missing).into());
        }
        Ok(())
    }

    /// Fetches a blob; returns whether it must be fetched again from the beginning.
    async fn fetch(&self, blob: &Descriptor) -> Result<bool, PullError> {
        let (lease, about, name) = (Arc::clone(&self.lease), blob.clone(), self.name.clone());
        let ingest = blocking(move || lease.ingest(&About::blob(&about).of(&name))).await?;
        let Some(ingest) = ingest else {
            return Ok(false);
        };
        let resumed = ingest.offset() > 0;
        let task = self.tasks.fetch_add(1, Ordering::Relaxed);
        self.reporter.report(Event::Started {
            task,
            what: format!("pulling {}", blob.digest.short()),
            total: Some(blob.size),
        });
        let fetched = self.stream(blob, ingest, task).await;
        self.reporter.report(match &fetched {
            Ok(()) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        match fetched {
            Err(PullError::Store(store::Error::Damaged { .. })) if resumed => Ok(true),
            other => other.map(|()| false),
        }
    }

    async fn stream(
        &self,
        blob: &Descriptor,
        ingest: Box<dyn Ingest>,
        task: u64,
    ) -> Result<(), PullError> {
        let (mut sink, writer) = Sink::start(ingest, self.reporter, task);
        let fetched = self.registry.fetch_blob(self.name, blob, &mut sink).await;
        drop(sink);
        let written = writer.await.unwrap_or_else(|_| Err(stopped()));
        match (fetched, written) {
            // A failed disk write takes precedence: it interrupted the transfer.
            (_, Err(error)) => Err(store::Error::reading_or_writing(blob, error).into()),
            (Err(error), Ok(_)) => Err(error.into()),
            (Ok(()), Ok(ingest)) => {
                let committed = blocking(move || ingest.commit()).await;
                committed.map(drop)
            }
        }
    }

    async fn put(&self, media_type: String, bytes: Bytes) -> Result<(), PullError> {
        let (lease, name) = (Arc::clone(&self.lease), self.name.clone());
        blocking(move || store::put(&*lease, &media_type, &bytes, Some(&name)).map(drop)).await?;
        Ok(())
    }
}

/// Runs a blocking operation on a suitable thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, store::Error> + Send + 'static,
) -> Result<T, PullError> {
    match spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(PullError::Stopped),
    }
}

fn stopped() -> io::Error {
    io::Error::other("the writer stopped")
}

/// Passes chunks to a thread that hashes and writes them, with back-pressure.
struct Sink<'a> {
    offset: u64,
    pieces: mpsc::Sender<Piece>,
    reporter: &'a dyn Reporter,
    task: u64,
}

enum Piece {
    Bytes(Bytes),
    Restart(oneshot::Sender<io::Result<()>>),
}

type Writer = JoinHandle<io::Result<Box<dyn Ingest>>>;

impl<'a> Sink<'a> {
    fn start(mut ingest: Box<dyn Ingest>, reporter: &'a dyn Reporter, task: u64) -> (Self, Writer) {
        let (pieces, mut incoming) = mpsc::channel(WAITING);
        let offset = ingest.offset();
        let writer = spawn_blocking(move || {
            while let Some(piece) = incoming.blocking_recv() {
                match piece {
                    Piece::Bytes(bytes) => ingest.write_all(&bytes)?,
                    Piece::Restart(done) => {
                        // The receiver may have been dropped.
                        let _ = done.send(ingest.restart());
                    }
                }
            }
            Ok(ingest)
        });
        let sink = Self {
            offset,
            pieces,
            reporter,
            task,
        };
        (sink, writer)
    }
}

impl BlobSink for Sink<'_> {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn restart(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let (done, answer) = oneshot::channel();
            let asked = self.pieces.send(Piece::Restart(done)).await;
            asked.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())??;
            self.offset = 0;
            Ok(())
        })
    }

    fn chunk(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            self.offset += bytes.len() as u64;
            let sent = self.pieces.send(Piece::Bytes(bytes)).await;
            self.reporter.report(Event::Advanced {
                task: self.task,
                done: self.offset,
            });
            sent.map_err(|_| stopped())
        })
    }
}

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store failed, or a blob is damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The registry's document is invalid.
    #[error("cannot use what the registry serves as `{name}`")]
    Document {
        /// The image.
        name: Reference,
        /// The reason.
        source: BadDocument,
    },
    /// The document is an index instead of a manifest.
    #[error("`{0}` is not a manifest, but an index")]
    NotAManifest(Reference),
    /// The documents exceed the limit.
    #[error(
        "the documents of `{name}` have more than {} bytes together, the limit",
        LARGEST_DOCUMENTS
    )]
    TooMuch {
        /// The image.
        name: Reference,
    },
    /// The registry returned 304 for an unconditional request.
    #[error("the registry returned 304 for `{0}` without a condition")]
    Unasked(Reference),
    /// The program is terminating.
    #[error("the transfer was stopped")]
    Stopped,
}
