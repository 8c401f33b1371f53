//! From a registry into a store.
//!
//! ```text
//! look ─► Remote ─ (the caller chooses) ─► pull: manifests ─► blobs, several at a time ─► documents ─► name
//! ```
//!
//! What is here is not fetched, what came halfway is gone on with, and the name is given last: an
//! image that has its name is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use kraft_core::event::{Event, Reporter};
use kraft_core::reference::Reference;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::choose::{Candidate, candidates};
use crate::digest::Damage;
use crate::image::{BadDocument, Config, Descriptor, Document, LARGEST_DOCUMENT, Manifest};
use crate::package::linux_arch;
use crate::registry::{self, BlobSink, Fetched, Registry};
use crate::store::{self, About, Expect, Hold, Ingest, Store};

/// Blobs that are fetched at the same time.
const AT_ONCE: usize = 4;
/// Pieces that may wait for the disk; each is at most some hundred KiB.
const WAITING: usize = 6;
/// The manifests of one pull have at most so many bytes together: they are in memory until the last.
const LARGEST_DOCUMENTS: u64 = 32 << 20;

/// What a registry has under a name.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Points to the document.
    pub target: Descriptor,
    /// Its bytes.
    bytes: Bytes,
    /// What it says.
    pub document: Document,
}

impl Remote {
    /// Returns the manifests on which a unikernel could run. A lone manifest that does not say what
    /// it is for is asked for its configuration.
    pub async fn candidates(
        &self,
        registry: &Registry,
        name: &Reference,
    ) -> Result<Vec<Candidate>, PullError> {
        let manifest = match &self.document {
            Document::Index(index) => return Ok(candidates(&index.manifests)),
            Document::Manifest(manifest) => manifest,
        };
        let mut alone = self.target.clone();
        alone.platform.clone_from(&manifest.config.platform);
        if alone.platform.is_none() {
            let config = small_config(registry, name, &manifest.config).await?;
            alone.platform = Some(config.platform);
        }
        Ok(candidates(&[alone]))
    }
}

/// Fetches a configuration into memory, and holds it against its digest.
async fn small_config(
    registry: &Registry,
    name: &Reference,
    blob: &Descriptor,
) -> Result<Config, PullError> {
    let bad = |source| PullError::Document {
        name: name.clone(),
        source,
    };
    if blob.size > LARGEST_DOCUMENT {
        return Err(bad(BadDocument::TooLong(blob.size)));
    }
    let mut sink = Memory::default();
    registry.fetch_blob(name, blob, &mut sink).await?;
    let found = crate::digest::of(&sink.0);
    if found != blob.digest {
        return Err(store::Error::damaged(&blob.digest, Damage::Digest { found }).into());
    }
    Config::parse(&sink.0).map_err(bad)
}

/// Asks a registry what it has under a full name.
pub async fn look(registry: &Registry, name: &Reference) -> Result<Remote, PullError> {
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
    let target = Descriptor::new(&media_type, digest, bytes.len() as u64);
    Ok(Remote {
        target,
        bytes,
        document,
    })
}

/// Pulls the chosen manifests of what was looked at, and gives the name to it.
pub async fn pull(
    registry: &Registry,
    store: Arc<dyn Store>,
    name: &Reference,
    remote: &Remote,
    chosen: &[Descriptor],
    reporter: &dyn Reporter,
) -> Result<(), PullError> {
    let pull = Pull {
        registry,
        name,
        hold: blocking({
            let store = Arc::clone(&store);
            move || store.hold()
        })
        .await?
        .into(),
        reporter,
        tasks: AtomicU64::new(1),
    };
    let wanted = wanted(name, remote, chosen)?;
    let mut manifests: Vec<(Descriptor, Bytes, Manifest)> = Vec::new();
    let mut blobs: BTreeMap<_, Descriptor> = BTreeMap::new();
    for descriptor in wanted {
        let (bytes, manifest) = pull.manifest(remote, &descriptor).await?;
        for blob in manifest.blobs() {
            blobs.insert(blob.digest.clone(), blob.clone());
        }
        manifests.push((descriptor, bytes, manifest));
    }
    // All of it is held before the first is looked for.
    let digests: Vec<_> = blobs.keys().cloned().collect();
    let hold = Arc::clone(&pull.hold);
    blocking(move || hold.keep(&digests.iter().collect::<Vec<_>>())).await?;
    stream::iter(blobs.into_values())
        .map(|blob| pull.blob(blob))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for (descriptor, bytes, _) in manifests {
        pull.put(descriptor.media_type, bytes).await?;
    }
    pull.put(remote.target.media_type.clone(), remote.bytes.clone())
        .await?;
    let (name, target) = (name.clone(), remote.target.clone());
    blocking(move || store.tag(&name, &target, &Expect::Anything)).await?;
    Ok(())
}

/// Returns the manifests to fetch, each once: the chosen ones, and their sides for containers.
///
/// Errors: they promise to be more than is kept in memory.
fn wanted(
    name: &Reference,
    remote: &Remote,
    chosen: &[Descriptor],
) -> Result<Vec<Descriptor>, PullError> {
    let mut wanted = chosen.to_vec();
    wanted.extend(linux_sides(&remote.document, chosen));
    let mut seen = BTreeSet::new();
    wanted.retain(|descriptor| seen.insert(descriptor.digest.clone()));
    let sizes = wanted.iter().map(|descriptor| descriptor.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    // One alone is held against its own limit when it comes.
    if bytes > LARGEST_DOCUMENTS && wanted.len() > 1 {
        let name = name.clone();
        return Err(PullError::TooMuch { name, bytes });
    }
    Ok(wanted)
}

/// Returns the entries of an index with which engines of containers take the chosen ones: small
/// documents over the same layers, without which the image could not be pushed elsewhere whole.
fn linux_sides(document: &Document, chosen: &[Descriptor]) -> Vec<Descriptor> {
    let Document::Index(index) = document else {
        return Vec::new();
    };
    let archs: Vec<&str> = chosen
        .iter()
        .filter_map(|descriptor| linux_arch(&descriptor.platform.as_ref()?.architecture))
        .collect();
    let is_side = |descriptor: &&Descriptor| {
        descriptor.platform.as_ref().is_some_and(|platform| {
            platform.os == "linux" && archs.contains(&platform.architecture.as_str())
        })
    };
    index.manifests.iter().filter(is_side).cloned().collect()
}

struct Pull<'a> {
    registry: &'a Registry,
    name: &'a Reference,
    hold: Arc<dyn Hold>,
    reporter: &'a dyn Reporter,
    tasks: AtomicU64,
}

impl Pull<'_> {
    /// Fetches a manifest, unless it is what was looked at.
    async fn manifest(
        &self,
        remote: &Remote,
        descriptor: &Descriptor,
    ) -> Result<(Bytes, Manifest), PullError> {
        if descriptor.digest == remote.target.digest
            && let Document::Manifest(manifest) = &remote.document
        {
            return Ok((remote.bytes.clone(), manifest.clone()));
        }
        let name = self.name.with_digest(&descriptor.digest);
        let fetched = look(self.registry, &name).await?;
        let (promised, came) = (descriptor.size, fetched.target.size);
        match fetched.document {
            // Whoever looks at the index later would take the manifest for damaged.
            Document::Manifest(_) if promised != came => Err(PullError::Size {
                name,
                promised,
                came,
            }),
            Document::Manifest(manifest) => Ok((fetched.bytes, manifest)),
            Document::Index(_) => Err(PullError::NotAManifest(name)),
        }
    }

    /// Fetches a blob that is not here.
    async fn blob(&self, blob: Descriptor) -> Result<(), PullError> {
        if !self.fetch(&blob).await? {
            return Ok(());
        }
        // What was here from an earlier try was not the beginning of it.
        if self.fetch(&blob).await? {
            return Err(store::Error::damaged(&blob.digest, Damage::Missing).into());
        }
        Ok(())
    }

    /// Fetches a blob; returns whether it has to be fetched again from its beginning.
    async fn fetch(&self, blob: &Descriptor) -> Result<bool, PullError> {
        let (hold, about, name) = (Arc::clone(&self.hold), blob.clone(), self.name.clone());
        let ingest = blocking(move || hold.ingest(&About::blob(&about).of(&name))).await?;
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
            // The disk is to blame if it failed: the transfer only ended because of it.
            (_, Err(error)) => Err(store::Error::reading_or_writing(blob, error).into()),
            (Err(error), Ok(_)) => Err(error.into()),
            (Ok(()), Ok(ingest)) => {
                let committed = blocking(move || ingest.commit()).await;
                committed.map(drop)
            }
        }
    }

    async fn put(&self, media_type: String, bytes: Bytes) -> Result<(), PullError> {
        let (hold, name) = (Arc::clone(&self.hold), self.name.clone());
        blocking(move || store::put(&*hold, &media_type, &bytes, Some(&name)).map(drop)).await?;
        Ok(())
    }
}

/// Does what blocks where it may.
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

/// Hands pieces to a thread that hashes and writes them, and waits while that is behind.
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
                        // Whoever asked may have gone.
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

/// A small blob in memory.
#[derive(Default)]
struct Memory(Vec<u8>);

impl BlobSink for Memory {
    fn offset(&self) -> u64 {
        self.0.len() as u64
    }

    fn restart(&mut self) -> BoxFuture<'_, io::Result<()>> {
        self.0.clear();
        Box::pin(async { Ok(()) })
    }

    fn chunk(&mut self, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        self.0.extend(&bytes);
        Box::pin(async { Ok(()) })
    }
}

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store, or a blob that is not what it should be.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What the registry has makes no sense.
    #[error("what the registry has as `{name}` cannot be used")]
    Document {
        /// The image.
        name: Reference,
        /// Why not.
        source: BadDocument,
    },
    /// An index stands where a manifest should.
    #[error("`{0}` is an index inside an index, which no unikernel has")]
    NotAManifest(Reference),
    /// An index lies about the size of a manifest.
    #[error("the index promises {promised} bytes for `{name}`, which has {came}")]
    Size {
        /// The manifest.
        name: Reference,
        /// What the index says, in bytes.
        promised: u64,
        /// What came, in bytes.
        came: u64,
    },
    /// The manifests are more than is kept in memory.
    #[error(
        "the documents of `{name}` have {bytes} bytes together, and at most {} are taken",
        LARGEST_DOCUMENTS
    )]
    TooMuch {
        /// The image.
        name: Reference,
        /// What the index promises, in bytes.
        bytes: u64,
    },
    /// The registry answered a question that was not asked.
    #[error("the registry says that `{0}` did not change, and nobody asked")]
    Unasked(Reference),
    /// The program is being ended.
    #[error("the transfer was stopped")]
    Stopped,
}
