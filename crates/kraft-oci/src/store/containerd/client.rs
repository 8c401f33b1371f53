//! The connection to a containerd, for callers that block.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::runtime::{Handle, Runtime};
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::store::Error;

/// How long a connection may take to come about.
const CONNECTING: Duration = Duration::from_secs(5);

/// A connection in one namespace.
#[derive(Debug)]
pub(super) struct Client {
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
    channel: Channel,
    /// The address, as it was configured.
    pub(super) address: String,
    namespace: AsciiMetadataValue,
}

impl Client {
    /// Prepares a connection to `unix://PATH` or `PATH`; it comes about with the first question.
    pub(super) fn new(address: &str, namespace: &str) -> Result<Arc<Self>, Error> {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::Containerd {
            address: address.to_owned(),
            doing: "be spoken to".to_owned(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| fail(error.into()))?;
        let path = address.strip_prefix("unix://").unwrap_or(address);
        let endpoint = Endpoint::from_shared(format!("unix://{path}"))
            .map_err(|error| fail(error.into()))?
            .connect_timeout(CONNECTING);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let namespace = namespace
            .parse()
            .map_err(|_| fail(format!("`{namespace}` is not a valid namespace").into()))?;
        Ok(Arc::new(Self {
            runtime: Some(runtime),
            channel,
            address: address.to_owned(),
            namespace,
        }))
    }

    /// Waits for an answer, wherever it is called from.
    pub(super) fn wait<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send,
    ) -> Result<T, Status> {
        let gone = || Err(Status::cancelled("the connection was given up"));
        let Some(runtime) = &self.runtime else {
            return gone();
        };
        if Handle::try_current().is_err() {
            return runtime.block_on(work);
        }
        // A thread that drives other tasks may not wait: what is dropped there comes by here.
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| runtime.block_on(work));
            waiter.join().unwrap_or_else(|_| gone())
        })
    }

    /// Makes a request of a message: with the namespace, and with a lease if there is one.
    pub(super) fn request<T>(&self, message: T, lease: Option<&AsciiMetadataValue>) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = lease {
            request
                .metadata_mut()
                .insert("containerd-lease", lease.clone());
        }
        request
    }

    /// Asks a question that has one answer.
    pub(super) fn ask<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        lease: Option<&AsciiMetadataValue>,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let request = self.request(question, lease);
        self.wait(async {
            let mut grpc = self.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            let path = PathAndQuery::from_static(path);
            Ok(grpc.unary(request, path, codec).await?.into_inner())
        })
    }

    /// Asks a question that has many answers.
    pub(super) fn ask_many<Q, A>(
        &self,
        path: &'static str,
        question: Q,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let request = self.request(question, None);
        self.wait(async {
            let mut grpc = self.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            let path = PathAndQuery::from_static(path);
            Ok(grpc
                .server_streaming(request, path, codec)
                .await?
                .into_inner())
        })
    }

    /// Returns what speaks over the connection, once that is there.
    pub(super) async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(deepest(&error)))?;
        Ok(grpc)
    }

    /// Turns what it said into an error of the store.
    pub(super) fn failed(&self, doing: &str, status: &Status) -> Error {
        let said = if status.code() == Code::Unavailable && status.message().is_empty() {
            "it does not answer".to_owned()
        } else {
            status.message().to_owned()
        };
        Error::Containerd {
            address: self.address.clone(),
            doing: doing.to_owned(),
            source: said.into(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also where waiting is forbidden.
            runtime.shutdown_background();
        }
    }
}

/// Returns the innermost cause.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
