//! `moby.filesync.v1`: serves directories to the daemon, and receives its tar.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSync;
use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSend;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::context::{self, Filter};
use crate::output::TarSink;

/// Sends directories.
pub(super) struct Offered {
    pub(super) directories: HashMap<String, PathBuf>,
    pub(super) exclude: Vec<String>,
    pub(super) sent: Arc<AtomicU64>,
}

/// Returns the values of a key. One with `-encoded` beside it is percent-encoded, because headers
/// are ASCII (buildkit, `session/filesync`).
fn values(metadata: &MetadataMap, key: &str) -> Vec<String> {
    let encoded = metadata.get(format!("{key}-encoded")).is_some();
    let texts = metadata
        .get_all(key)
        .iter()
        .filter_map(|value| value.to_str().ok());
    texts
        .map(|text| {
            if encoded {
                percent_encoding::percent_decode_str(text)
                    .decode_utf8_lossy()
                    .into_owned()
            } else {
                text.to_owned()
            }
        })
        .collect()
}

#[async_trait]
impl FileSync for Offered {
    type DiffCopyStream = ReceiverStream<Result<Packet, Status>>;
    type TarStreamStream = ReceiverStream<Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let metadata = request.metadata();
        let name = values(metadata, "dir-name").pop().unwrap_or_default();
        let Some(root) = self.directories.get(&name).cloned() else {
            return Err(Status::not_found(format!(
                "there is no directory `{name}` for the daemon"
            )));
        };
        let filter = Filter {
            include: values(metadata, "include-patterns"),
            exclude: [values(metadata, "exclude-patterns"), self.exclude.clone()].concat(),
            follow: values(metadata, "followpaths"),
        };
        let (sender, receiver) = mpsc::channel(32);
        let asked = request.into_inner();
        tokio::spawn(context::send(
            root,
            filter,
            asked,
            sender,
            Arc::clone(&self.sent),
        ));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("only DiffCopy is served"))
    }
}

/// Receives the tar.
pub(super) struct Output {
    pub(super) tar: TarSink,
}

#[async_trait]
impl FileSend for Output {
    type DiffCopyStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let mut pieces = request.into_inner();
        while let Some(piece) = pieces.next().await {
            if !self.tar.put(piece?.data).await {
                return Err(Status::aborted("the root filesystem could not be taken"));
            }
        }
        self.tar.end().await;
        Ok(Response::new(Box::pin(futures_util::stream::empty())))
    }
}
