//! Blobs: checks, downloads, mounts, uploads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kraft_archive::compression::read_full;
use kraft_core::reference::{Digest, Reference};
use kraft_http::redirect;
use kraft_http::{Body, Chunks, TransferError, Url, is_transient};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::call::{Call, Content, Target};
use super::documents::scope;
use super::error::Error;
use super::header::range_start;
use super::{BlobSink, BlobSource, Registry};
use crate::image::{Descriptor, LARGEST_DOCUMENT};

/// Size of upload chunks, in bytes.
const PIECE: usize = 512 << 10;
/// Number of buffered upload chunks.
const WAITING: usize = 4;
/// A connection that transferred fewer bytes counts as a failed attempt.
const PROGRESS: u64 = 64 << 10;

impl Registry {
    /// Returns whether a repository has a blob.
    pub async fn has_blob(&self, name: &Reference, digest: &Digest) -> Result<bool, Error> {
        let mut call = self.about(name, Method::HEAD, format!("look for a part of `{name}`"));
        call.headers.clear();
        // Called before a push: one token serves both.
        call.scopes = vec![scope(name, "pull,push")];
        let path = blob_path(name, digest);
        call.to = Target::Path(&path);
        match self.call(&call).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Downloads a blob, resuming after the content of the sink, and again after interruptions
    /// while there is progress. The sink gets exactly the stated number of bytes, and verifies the
    /// digest.
    pub async fn fetch_blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        sink: &mut dyn BlobSink,
    ) -> Result<(), Error> {
        if sink.offset() > blob.size {
            // Local data is not the beginning of the blob.
            sink.restart().await.map_err(|source| Error::Local {
                doing: format!("store {}", blob.digest),
                source,
            })?;
        }
        let mut retry = self.policy().retry();
        // Only bytes beyond the furthest position are progress: a restarted download repeats them.
        let mut furthest = sink.offset();
        loop {
            if sink.offset() == blob.size && blob.size > 0 {
                return Ok(());
            }
            let Some(source) = self.fetch_rest(name, blob, sink).await? else {
                return Ok(());
            };
            if sink.offset() >= furthest.saturating_add(PROGRESS) {
                furthest = sink.offset();
                retry = self.policy().retry();
            }
            let Some(delay) = retry.next_delay() else {
                return Err(Error::Broken {
                    host: name.host().to_owned(),
                    doing: format!("fetch {} of `{name}`", blob.digest),
                    source,
                });
            };
            sleep(delay).await;
        }
    }

    /// Downloads the rest of a blob; returns why the connection was interrupted.
    async fn fetch_rest(
        &self,
        name: &Reference,
        blob: &Descriptor,
        sink: &mut dyn BlobSink,
    ) -> Result<Option<TransferError>, Error> {
        let offset = sink.offset();
        let doing = format!("fetch {} of `{name}`", blob.digest);
        let mut call = self.about(name, Method::GET, doing);
        call.headers.clear();
        call.what = format!("blob {} of `{name}`", blob.digest);
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            call.headers.insert(RANGE, range);
        }
        let path = blob_path(name, &blob.digest);
        call.to = Target::Path(&path);
        let answer = self.call(&call).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let start = answer
                    .headers()
                    .get(CONTENT_RANGE)
                    .and_then(|value| value.to_str().ok())
                    .and_then(range_start);
                if start != Some(offset) {
                    return Err(call
                        .at()
                        .protocol("it sent another part than was asked for"));
                }
            }
            StatusCode::OK if offset > 0 => {
                // The server does not support ranges, and sends the whole blob.
                restart(sink, &call).await?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                restart(sink, &call).await?;
                return Ok(Some(TransferError::Short {
                    came: offset,
                    promised: blob.size,
                }));
            }
            _ => {}
        }
        let missing = blob.size.saturating_sub(sink.offset());
        if answer
            .content_length()
            .is_some_and(|length| length > missing)
        {
            return Err(too_long(&call, blob));
        }
        let chunks = Chunks::of(answer, self.policy().idle);
        drain(chunks, &call, blob, sink).await
    }

    /// Downloads a configuration into memory, regardless of its stated size: its digest is
    /// verified.
    pub async fn small_blob(&self, name: &Reference, digest: &Digest) -> Result<Bytes, Error> {
        let mut call = self.about(name, Method::GET, format!("fetch {digest} of `{name}`"));
        call.headers.clear();
        call.what = format!("blob {digest} of `{name}`");
        let path = blob_path(name, digest);
        call.to = Target::Path(&path);
        let limit = usize::try_from(LARGEST_DOCUMENT).unwrap_or(usize::MAX);
        let mut retry = self.policy().retry();
        let bytes = loop {
            let answer = self.call(&call).await?;
            let error = match self.body(&call, answer, limit).await {
                Ok(bytes) => break bytes,
                Err(error) => error,
            };
            match retry.next_delay() {
                Some(delay) if matches!(error, Error::Broken { .. }) => sleep(delay).await,
                _ => return Err(error),
            }
        };
        let found = crate::digest::of(&bytes);
        if found != *digest {
            return Err(Error::WrongDigest {
                host: name.host().to_owned(),
                name: Box::new(name.with_digest(digest)),
                found,
            });
        }
        Ok(bytes)
    }

    /// Mounts a blob from another repository of the registry. Returns `false` if the registry does
    /// not support or allow it.
    pub async fn mount(
        &self,
        to: &Reference,
        from: &Reference,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let doing = format!("mount a part of `{from}` into `{to}`");
        let mut call = self.about(to, Method::POST, doing);
        call.headers.clear();
        call.scopes = vec![scope(to, "pull,push"), scope(from, "pull")];
        call.content = Content::Bytes(Bytes::new());
        let path = format!(
            "/v2/{}/blobs/uploads/?mount={digest}&from={}",
            to.repository(),
            from.repository()
        );
        call.to = Target::Path(&path);
        let answer = match self.call(&call).await {
            Ok(answer) => answer,
            Err(
                error @ (Error::Offline { .. }
                | Error::Unreachable { .. }
                | Error::Busy { .. }
                | Error::Broken { .. }),
            ) => return Err(error),
            // Most likely no permission to read there, or a registry without mounts.
            Err(_) => return Ok(false),
        };
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::ACCEPTED => {
                // It started an upload instead, which is cancelled.
                if let Ok(upload) = redirect::target(answer.headers(), answer.url()) {
                    let mut cancel = self.about(to, Method::DELETE, "cancel an upload".to_owned());
                    cancel.scopes = vec![scope(to, "pull,push")];
                    cancel.to = Target::Given(&upload);
                    let _ = self.call(&cancel).await;
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Uploads a blob. `progress` gets the number of bytes sent; it restarts at zero for a retry.
    pub async fn push_blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        source: Arc<dyn BlobSource>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Error> {
        let mut retry = self.policy().retry();
        loop {
            let upload = self.begin_upload(name, blob).await?;
            let outcome = self.send_blob(name, blob, &upload, &source, progress).await;
            let error = match outcome {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A retry starts another upload, because this one may contain a part of the blob. 404
            // means that the upload expired, or is on another server; 416 that it contains such a
            // part (OCI distribution specification, "Pushing a blob in chunks").
            let may_pass = match &error {
                Error::Unreachable { source, .. } => !source.is_permanent(),
                Error::Broken { .. } | Error::NotFound { .. } => true,
                Error::Server { status, .. } => *status == 416 || is_transient(*status),
                _ => false,
            };
            match retry.next_delay() {
                Some(delay) if may_pass => sleep(delay).await,
                _ => return Err(error),
            }
        }
    }

    /// Starts an upload, and returns its URL.
    async fn begin_upload(&self, name: &Reference, blob: &Descriptor) -> Result<Url, Error> {
        let doing = format!("push {} of `{name}`", blob.digest);
        let mut call = self.about(name, Method::POST, doing);
        call.headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        call.scopes = vec![scope(name, "pull,push")];
        call.what = format!("repository `{}` to push to", name.repository());
        let path = format!("/v2/{}/blobs/uploads/", name.repository());
        call.to = Target::Path(&path);
        let answer = self.call(&call).await?;
        let mut upload = redirect::target(answer.headers(), answer.url())
            .map_err(|error| call.at().protocol(&error.to_string()))?;
        upload
            .query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        Ok(upload)
    }

    async fn send_blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        upload: &Url,
        source: &Arc<dyn BlobSource>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Error> {
        let doing = format!("push {} of `{name}`", blob.digest);
        let failed: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let sent = Arc::new(AtomicU64::new(0));
        let make = || body(Arc::clone(source), Arc::clone(&failed), Arc::clone(&sent));
        let mut call = self.about(name, Method::PUT, doing.clone());
        call.scopes = vec![scope(name, "pull,push")];
        call.headers = HeaderMap::from_iter([
            (
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            ),
            (CONTENT_LENGTH, HeaderValue::from(blob.size)),
        ]);
        call.to = Target::Given(upload);
        call.content = Content::Made(&make);
        let call_done = self.call(&call);
        tokio::pin!(call_done);
        let outcome = loop {
            match timeout(TICK, &mut call_done).await {
                Ok(outcome) => break outcome,
                Err(_) => progress(sent.load(Ordering::Relaxed)),
            }
        };
        // A local read error takes precedence over the registry's response.
        let local = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(source) = local {
            return Err(Error::Local { doing, source });
        }
        outcome.map(drop)
    }
}

/// Interval of progress updates.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Writes a response body to the sink; returns why it was interrupted.
async fn drain(
    mut chunks: Chunks,
    call: &Call<'_>,
    blob: &Descriptor,
    sink: &mut dyn BlobSink,
) -> Result<Option<TransferError>, Error> {
    loop {
        let piece = match chunks.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) if sink.offset() == blob.size => return Ok(None),
            Ok(None) => {
                return Ok(Some(TransferError::Short {
                    came: sink.offset(),
                    promised: blob.size,
                }));
            }
            Err(trouble) => return Ok(Some(trouble)),
        };
        if sink.offset().saturating_add(piece.len() as u64) > blob.size {
            return Err(too_long(call, blob));
        }
        sink.chunk(piece).await.map_err(|source| Error::Local {
            doing: format!("store {}", blob.digest),
            source,
        })?;
    }
}

async fn restart(sink: &mut dyn BlobSink, call: &Call<'_>) -> Result<(), Error> {
    sink.restart().await.map_err(|source| Error::Local {
        doing: call.doing.clone(),
        source,
    })
}

fn too_long(call: &Call<'_>, blob: &Descriptor) -> Error {
    call.at()
        .protocol(&format!("the blob has more than {} bytes", blob.size))
}

/// Returns a request body that is read in a separate thread.
fn body(
    source: Arc<dyn BlobSource>,
    failed: Arc<Mutex<Option<io::Error>>>,
    sent: Arc<AtomicU64>,
) -> (Body, Arc<AtomicU64>) {
    sent.store(0, Ordering::Relaxed);
    let (pieces, incoming) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_into(&*source, &pieces) {
            let kind = error.kind();
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // The receiver may have been dropped.
            let _ = pieces.blocking_send(Err(kind.into()));
        }
    });
    let counter = Arc::clone(&sent);
    let pieces = stream::unfold((incoming, counter), |(mut incoming, counter)| async move {
        let piece = incoming.recv().await?;
        if let Ok(bytes) = &piece {
            counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Some((piece, (incoming, counter)))
    });
    (Body::wrap_stream(pieces), sent)
}

fn read_into(source: &dyn BlobSource, pieces: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut reader = source.open()?;
    loop {
        let mut piece = vec![0; PIECE];
        let filled = read_full(&mut *reader, &mut piece)?;
        piece.truncate(filled);
        let ends = filled < PIECE;
        if filled > 0 && pieces.blocking_send(Ok(piece.into())).is_err() {
            // The transfer was cancelled.
            return Ok(());
        }
        if ends {
            return Ok(());
        }
    }
}

fn blob_path(name: &Reference, digest: &Digest) -> String {
    format!("/v2/{}/blobs/{digest}", name.repository())
}
