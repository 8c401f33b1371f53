//! Sessions: the services that kraft offers to a daemon during a build.
//!
//! A session is a gRPC connection in which the daemon is the client. Its bytes are the messages of
//! one of kraft's calls (`Control.Session`), so it needs no second connection, and works with a
//! stand-alone buildkitd and with that of a Docker engine.

mod files;
mod health;
mod secrets;
mod ssh;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bollard_buildkit_proto::health::health_server::HealthServer;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSendServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Server};
use tonic::{Request, Status, Streaming};

use crate::output::TarSink;
use crate::transport::{LARGEST_MESSAGE, Stream, control};

/// Size of the buffer between the two connections, in bytes.
const IN_FLIGHT: usize = 256 * 1024;
const PIECE: usize = 64 * 1024;

/// The methods that are announced to the daemon; it calls no others.
const METHODS: [&str; 10] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
];

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password or token.
    pub secret: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// Source of credentials for registries.
///
/// ```
/// use kraft_buildkit::{Credentials, Login};
///
/// #[derive(Debug)]
/// struct Anonymous;
///
/// impl Credentials for Anonymous {
///     fn login(&self, _host: &str) -> Option<Login> {
///         None
///     }
/// }
/// assert!(Anonymous.login("docker.io").is_none());
/// ```
pub trait Credentials: Send + Sync + fmt::Debug {
    /// Returns the credentials for a host, if there are any; may block.
    fn login(&self, host: &str) -> Option<Login>;
}

/// A secret that steps may mount; it is stored in no layer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The id that a step names.
    pub id: String,
    /// Its value.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.id)
    }
}

/// The services of a session.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Directories by the names that the frontend uses.
    pub(crate) directories: HashMap<String, PathBuf>,
    /// Patterns of files in them that are never sent.
    pub(crate) exclude: Vec<String>,
    pub(crate) tar: TarSink,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) credentials: Arc<dyn Credentials>,
    /// Sockets of ssh agents by their names.
    pub(crate) agents: HashMap<String, PathBuf>,
    /// Number of bytes of files that were sent.
    pub(crate) sent: Arc<AtomicU64>,
}

/// A running session, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts a session. `shared` is the same for every build of the same context: then the daemon
/// requests only files that changed since the last build.
pub(crate) async fn serve(
    channel: Channel,
    id: &str,
    shared: &str,
    offer: Offer,
) -> Result<Session, Status> {
    let (ours, theirs) = tokio::io::duplex(IN_FLIGHT);
    let (reader, writer) = tokio::io::split(theirs);
    let (sender, receiver) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(receiver));
    let metadata = request.metadata_mut();
    let ascii = |text: &str| {
        MetadataValue::<Ascii>::try_from(text)
            .map_err(|_| Status::invalid_argument("a session's name must be plain"))
    };
    metadata.insert("x-docker-expose-session-uuid", ascii(id)?);
    metadata.insert("x-docker-expose-session-name", ascii("kraft")?);
    metadata.insert("x-docker-expose-session-sharedkey", ascii(shared)?);
    for method in METHODS {
        metadata.append(
            "x-docker-expose-session-grpc-method",
            MetadataValue::from_static(method),
        );
    }
    let outgoing = tokio::spawn(outwards(reader, sender));
    let incoming = control(channel).session(request).await?.into_inner();
    let incoming = tokio::spawn(inwards(incoming, writer));
    let server = tokio::spawn(answer(Stream::new(ours), offer));
    Ok(Session {
        tasks: vec![outgoing, incoming, server],
    })
}

async fn outwards(mut reader: ReadHalf<DuplexStream>, sender: mpsc::Sender<BytesMessage>) {
    loop {
        let mut data = vec![0; PIECE];
        match reader.read(&mut data).await {
            Ok(0) | Err(_) => return,
            Ok(count) => data.truncate(count),
        }
        if sender.send(BytesMessage { data }).await.is_err() {
            return;
        }
    }
}

async fn inwards(mut incoming: Streaming<BytesMessage>, mut writer: WriteHalf<DuplexStream>) {
    while let Some(Ok(message)) = incoming.next().await {
        if writer.write_all(&message.data).await.is_err() {
            return;
        }
    }
}

async fn answer(stream: Stream, offer: Offer) {
    let vault = secrets::Vault {
        secrets: offer.secrets,
        credentials: offer.credentials,
    };
    let vault = Arc::new(vault);
    let files = files::Offered {
        directories: offer.directories,
        exclude: offer.exclude,
        sent: offer.sent,
    };
    // The stream of connections must not end, or the server would stop listening to the one.
    let connections = futures_util::stream::once(async { Ok::<_, std::io::Error>(stream) })
        .chain(futures_util::stream::pending());
    // It ends with the connection or with the session; neither is an error.
    let _ = Server::builder()
        // One stream carries all of a tar: the default window of 64 KiB would throttle it.
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(2 << 20))
        .add_service(HealthServer::new(health::Healthy))
        .add_service(FileSyncServer::new(files).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(
            FileSendServer::new(files::Output { tar: offer.tar })
                .max_decoding_message_size(LARGEST_MESSAGE),
        )
        .add_service(SecretsServer::from_arc(Arc::clone(&vault)))
        .add_service(AuthServer::from_arc(vault))
        .add_service(SshServer::new(ssh::Agents {
            sockets: offer.agents,
        }))
        .serve_with_incoming(connections)
        .await;
}
