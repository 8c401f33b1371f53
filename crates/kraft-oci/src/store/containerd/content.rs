//! Blobs in a containerd: held by a lease, read and written piece by piece.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream;
use http::uri::PathAndQuery;
use kraft_core::reference::{Digest, Reference};
use tokio::sync::mpsc;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::client::Client;
use super::messages::{self as m, Action};
use super::{Containerd, MARK, expiring};
use crate::digest::{Damage, Hasher};
use crate::image::{Document, LARGEST_DOCUMENT, media};
use crate::store::{About, Error, Ingest, Lease};
use crate::unique::unique;

/// The size of the pieces that are written, in bytes; a message has at most four times as many.
const PIECE: usize = 1 << 20;
/// Polling interval for a blob that another client is writing.
const PAUSE: Duration = Duration::from_millis(100);

/// A lease.
#[derive(Debug)]
pub(super) struct ContentLease {
    store: Containerd,
    id: String,
    lease: AsciiMetadataValue,
}

impl ContentLease {
    pub(super) fn begin(store: Containerd) -> Result<Self, Error> {
        let id = format!("kraft-{}", unique());
        let create = m::CreateLease {
            id: id.clone(),
            labels: expiring(),
        };
        let path = "/containerd.services.leases.v1.Leases/Create";
        let client = &store.client;
        client
            .ask::<_, m::Empty>(path, create, None)
            .map_err(|status| client.failed("give a lease", &status))?;
        let lease = id
            .parse()
            .map_err(|_| client.failed("give a lease", &Status::internal("its name is none")))?;
        Ok(Self { store, id, lease })
    }
}

impl Lease for ContentLease {
    fn keep(&self, digests: &[&Digest]) -> Result<(), Error> {
        let client = &self.store.client;
        for digest in digests {
            let resource = m::Resource {
                id: digest.to_string(),
                kind: "content".to_owned(),
            };
            let add = m::AddResource {
                id: self.id.clone(),
                resource: Some(resource),
            };
            client
                .ask::<_, m::Empty>(
                    "/containerd.services.leases.v1.Leases/AddResource",
                    add,
                    None,
                )
                .map_err(|status| client.failed("lease a blob", &status))?;
        }
        Ok(())
    }

    fn ingest(&self, about: &About<'_>) -> Result<Option<Box<dyn Ingest>>, Error> {
        if let Some(digest) = about.digest {
            self.keep(&[digest])?;
        }
        let ingest = ContentIngest::begin(self.store.clone(), self.lease.clone(), about)?;
        Ok(ingest.map(|ingest| Box::new(ingest) as Box<dyn Ingest>))
    }
}

impl Drop for ContentLease {
    fn drop(&mut self) {
        let delete = m::DeleteLease {
            id: self.id.clone(),
            sync: false,
        };
        // One that stays ends by itself.
        let path = "/containerd.services.leases.v1.Leases/Delete";
        let _ = self.store.client.ask::<_, m::Empty>(path, delete, None);
    }
}

/// Reads a blob.
pub(super) struct ContentReader {
    client: Arc<Client>,
    answers: Streaming<m::Data>,
    rest: Bytes,
}

impl ContentReader {
    pub(super) fn open(client: &Arc<Client>, digest: &Digest) -> Result<Self, Error> {
        let question = m::ReadContent {
            digest: digest.to_string(),
        };
        let path = "/containerd.services.content.v1.Content/Read";
        let answers = client
            .ask_many(path, question)
            .map_err(|status| client.failed("read a blob", &status))?;
        Ok(Self {
            client: Arc::clone(client),
            answers,
            rest: Bytes::new(),
        })
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.client.wait(self.answers.message()) {
                Ok(Some(answer)) => self.rest = answer.data,
                Ok(None) => return Ok(0),
                Err(status) => return Err(io::Error::other(status.message().to_owned())),
            }
        }
        let count = self.rest.len().min(buffer.len());
        if let Some(room) = buffer.get_mut(..count) {
            self.rest.copy_to_slice(room);
        }
        Ok(count)
    }
}

/// A conversation in which a blob is written: every request has its answer.
struct Conversation {
    requests: mpsc::Sender<m::WriteContent>,
    answers: Streaming<m::Written>,
}

/// A blob that is being imported.
pub(super) struct ContentIngest {
    store: Containerd,
    lease: AsciiMetadataValue,
    reference: String,
    digest: Option<Digest>,
    size: Option<u64>,
    labels: HashMap<String, String>,
    media_type: String,
    conversation: Option<Conversation>,
    /// Bytes that are there, those in `buffer` not counted.
    written: u64,
    buffer: Vec<u8>,
    /// The content of a document, for its references.
    document: Option<Vec<u8>>,
    /// What came through here; what came in an earlier try is only known to containerd.
    hasher: Hasher,
    offset: u64,
}

impl std::fmt::Debug for ContentIngest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentIngest")
            .field("reference", &self.reference)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl ContentIngest {
    /// Returns `None` if the blob already exists.
    fn begin(
        store: Containerd,
        lease: AsciiMetadataValue,
        about: &About<'_>,
    ) -> Result<Option<Self>, Error> {
        let reference = match about.digest {
            Some(digest) => format!("kraft-{digest}"),
            None => format!("kraft-new-{}", unique()),
        };
        let is_document = media::is_index(about.media_type) || media::is_manifest(about.media_type);
        let mut ingest = Self {
            store,
            lease,
            reference,
            digest: about.digest.cloned(),
            size: about.size,
            labels: labels(about.media_type, about.source),
            media_type: about.media_type.to_owned(),
            conversation: None,
            written: 0,
            buffer: Vec::with_capacity(PIECE),
            document: is_document.then(Vec::new),
            hasher: Hasher::default(),
            offset: 0,
        };
        loop {
            if let Some(digest) = about.digest
                && let Some(info) = ingest.store.info(digest)?
            {
                ingest.adopt(info)?;
                return Ok(None);
            }
            match ingest.open() {
                Ok(()) => return Ok(Some(ingest)),
                Err(status) if is_busy(&status) => std::thread::sleep(PAUSE),
                Err(status) if status.code() == Code::AlreadyExists => {}
                Err(status) => return Err(ingest.failed(&status)),
            }
        }
    }

    /// Adds kraft's labels to a blob written by another client.
    fn adopt(&self, mut info: m::Info) -> Result<(), Error> {
        if info.labels.contains_key(MARK) {
            return Ok(());
        }
        info.labels.extend(self.labels.clone());
        if self.document.is_some()
            && let Some(digest) = &self.digest
        {
            let mut bytes = Vec::new();
            ContentReader::open(&self.store.client, digest)?
                .take(LARGEST_DOCUMENT)
                .read_to_end(&mut bytes)
                .map_err(|error| Error::reading(digest, error))?;
            info.labels.extend(leads_to(&self.media_type, &bytes));
        }
        let update = m::UpdateInfo {
            info: Some(info),
            update_mask: Some(m::FieldMask {
                paths: vec!["labels".to_owned()],
            }),
        };
        let path = "/containerd.services.content.v1.Content/Update";
        self.store
            .client
            .ask::<_, m::OneInfo>(path, update, Some(&self.lease))
            .map(drop)
            .map_err(|status| self.failed(&status))
    }

    /// Starts to write, or resumes.
    fn open(&mut self) -> Result<(), Status> {
        let client = Arc::clone(&self.store.client);
        let (requests, incoming) = mpsc::channel::<m::WriteContent>(1);
        let incoming = stream::unfold(incoming, |mut incoming| async {
            incoming.recv().await.map(|request| (request, incoming))
        });
        let first = self.message(Action::Stat, Bytes::new());
        let request = client.request(incoming, Some(&self.lease));
        let conversation = client.wait(async {
            let mut grpc = client.ready().await?;
            requests
                .send(first)
                .await
                .map_err(|_| Status::cancelled("the connection was given up"))?;
            let codec = ProstCodec::<m::WriteContent, m::Written>::default();
            let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/Write");
            let answers = grpc.streaming(request, path, codec).await?.into_inner();
            Ok(Conversation { requests, answers })
        })?;
        self.conversation = Some(conversation);
        let there = self.answer()?;
        self.written = u64::try_from(there.offset).unwrap_or_default();
        self.offset = self.written;
        Ok(())
    }

    fn message(&self, action: Action, data: Bytes) -> m::WriteContent {
        let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        m::WriteContent {
            action: action as i32,
            reference: self.reference.clone(),
            total: number(self.size.unwrap_or_default()),
            expected: self
                .digest
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            offset: number(self.written),
            data,
            labels: HashMap::new(),
        }
    }

    fn answer(&mut self) -> Result<m::Written, Status> {
        let gone = || Status::cancelled("the blob was given up");
        let conversation = self.conversation.as_mut().ok_or_else(gone)?;
        self.store
            .client
            .wait(conversation.answers.message())?
            .ok_or_else(gone)
    }

    fn say(&mut self, message: m::WriteContent) -> Result<m::Written, Status> {
        let gone = || Status::cancelled("the blob was given up");
        let conversation = self.conversation.as_ref().ok_or_else(gone)?;
        self.store.client.wait(async {
            conversation
                .requests
                .send(message)
                .await
                .map_err(|_| gone())
        })?;
        self.answer()
    }

    fn write_out(&mut self) -> Result<(), Status> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let data = Bytes::from(std::mem::replace(
            &mut self.buffer,
            Vec::with_capacity(PIECE),
        ));
        let count = data.len() as u64;
        self.say(self.message(Action::Write, data))?;
        self.written += count;
        Ok(())
    }

    fn finish(&mut self) -> Result<Digest, Status> {
        self.write_out()?;
        let mut message = self.message(Action::Commit, Bytes::new());
        message.total = i64::try_from(self.written).unwrap_or(i64::MAX);
        message.labels.clone_from(&self.labels);
        if let Some(bytes) = &self.document {
            message.labels.extend(leads_to(&self.media_type, bytes));
        }
        let written = self.say(message)?;
        written
            .digest
            .parse()
            .map_err(|_| Status::internal("it named no digest"))
    }

    /// Forgets what was written.
    fn abort(&mut self) {
        self.conversation = None;
        let abort = m::ByRef {
            reference: self.reference.clone(),
        };
        // containerd forgets it by itself after a day.
        let path = "/containerd.services.content.v1.Content/Abort";
        let _ = self.store.client.ask::<_, m::Empty>(path, abort, None);
    }

    fn failed(&self, status: &Status) -> Error {
        self.store.client.failed("store a blob", status)
    }
}

impl Write for ContentIngest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.buffer.len());
        let taken = bytes.get(..count).unwrap_or_default();
        self.hasher.update(taken);
        if let Some(expected) = self.size
            && self.offset + self.hasher.size() > expected
        {
            self.abort();
            return Err(io::Error::other(Damage::Longer { expected }));
        }
        if let Some(document) = &mut self.document
            && (document.len() as u64) < LARGEST_DOCUMENT
        {
            document.extend(taken);
        }
        self.buffer.extend(taken);
        if self.buffer.len() == PIECE {
            self.write_out()
                .map_err(|status| io::Error::other(status.message().to_owned()))?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for ContentIngest {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn restart(&mut self) -> io::Result<()> {
        if self.written == 0 && self.buffer.is_empty() {
            return Ok(());
        }
        self.abort();
        self.buffer.clear();
        self.hasher = Hasher::default();
        if let Some(document) = &mut self.document {
            document.clear();
        }
        loop {
            match self.open() {
                Ok(()) if self.written == 0 => return Ok(()),
                Ok(()) => self.abort(),
                Err(status) if is_busy(&status) => {}
                Err(status) => return Err(io::Error::other(status.message().to_owned())),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn commit(mut self: Box<Self>) -> Result<(Digest, u64), Error> {
        let size = self.offset + self.hasher.size();
        if let (Some(digest), Some(expected)) = (self.digest.clone(), self.size)
            && size < expected
        {
            self.abort();
            let damage = Damage::Shorter {
                expected,
                found: size,
            };
            return Err(Error::damaged(&digest, damage));
        }
        match self.finish() {
            Ok(digest) => Ok((digest, size)),
            Err(status) if status.code() == Code::AlreadyExists => {
                let digest = match self.digest.clone() {
                    Some(digest) => digest,
                    None => self.hasher.clone().finish(),
                };
                self.abort();
                Ok((digest, size))
            }
            Err(status) => {
                // It reports a wrong digest like any other failed precondition.
                let wrong = matches!(status.code(), Code::FailedPrecondition);
                let found = self.hasher.clone().finish();
                self.abort();
                match self.digest.clone().filter(|_| wrong) {
                    Some(digest) => Err(Error::damaged(&digest, Damage::Digest { found })),
                    None => Err(self.failed(&status)),
                }
            }
        }
    }
}

impl Drop for ContentIngest {
    fn drop(&mut self) {
        if self.conversation.is_none() {
            return;
        }
        if self.digest.is_none() {
            self.abort();
        } else {
            // What came so far is kept for the next try.
            let _ = self.write_out();
        }
    }
}

/// Another client is writing the same blob.
fn is_busy(status: &Status) -> bool {
    status.code() == Code::Unavailable && status.message().contains("locked")
}

/// Returns the labels of a blob.
fn labels(media_type: &str, source: Option<&Reference>) -> HashMap<String, String> {
    let mut labels = HashMap::from([(MARK.to_owned(), media_type.to_owned())]);
    if let Some(source) = source {
        labels.insert(
            format!("containerd.io/distribution.source.{}", source.host()),
            source.repository().to_owned(),
        );
    }
    labels
}

/// Returns the labels with a document's references for containerd (docs/garbage-collection.md).
fn leads_to(media_type: &str, bytes: &[u8]) -> HashMap<String, String> {
    match Document::parse(media_type, bytes) {
        Ok(Document::Index(index)) => index
            .manifests
            .iter()
            .enumerate()
            .map(|(at, child)| {
                let key = format!("containerd.io/gc.ref.content.m.{at}");
                (key, child.digest.to_string())
            })
            .collect(),
        Ok(Document::Manifest(manifest)) => manifest
            .blobs()
            .enumerate()
            .map(|(at, child)| {
                let key = format!("containerd.io/gc.ref.content.l.{at}");
                (key, child.digest.to_string())
            })
            .collect(),
        Err(_) => HashMap::new(),
    }
}
