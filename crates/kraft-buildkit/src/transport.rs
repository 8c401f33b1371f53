//! Connections to BuildKit daemons: byte streams with gRPC over them.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::ListWorkersRequest;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use hyper_util::rt::TokioIo;
use kraft_http::ClientError;
use kraft_http::text::innermost;
use kraft_http::trust::{self, TrustError};
use kraft_sys::environment::Inherit;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::address::{Address, TlsFiles};
use crate::error::Error;

/// Timeout for a connection and for the first call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a message in bytes. gRPC's default of 4 MiB is too small for the status of a large
/// build.
pub(crate) const LARGEST_MESSAGE: usize = 16 << 20;

/// A connection to a BuildKit daemon.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use kraft_buildkit::{Address, Daemon};
///
/// let address: Address = "docker-container://buildkitd".parse()?;
/// let daemon = Daemon::connect(&address).await?;
/// println!("builds for {}", daemon.platforms.join(", "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Daemon {
    pub(crate) address: Address,
    pub(crate) channel: Channel,
    /// The platforms that it builds for: `linux/amd64`.
    pub platforms: Vec<String>,
}

impl Daemon {
    /// Connects to a daemon, and requests its platforms.
    ///
    /// # Errors
    ///
    /// If there is no daemon, or it does not answer within 10 seconds.
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        let unreachable = |source: io::Error| Error::Unreachable {
            address: address.to_string(),
            source,
        };
        let dialled = address.clone();
        let connector = tower::service_fn(move |_| {
            let address = dialled.clone();
            async move { dial(&address).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://buildkit");
        let connecting = endpoint.connect_with_connector(connector);
        let channel = tokio::time::timeout(TIMEOUT, connecting)
            .await
            .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(|error| unreachable(io::Error::other(innermost(&error))))?;
        let asking = async {
            let request = ListWorkersRequest { filter: Vec::new() };
            control(channel.clone()).list_workers(request).await
        };
        let workers = tokio::time::timeout(TIMEOUT, asking)
            .await
            .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
            .map_err(|status| unreachable(io::Error::other(status.message().to_owned())))?;
        let mut platforms = Vec::new();
        for platform in workers
            .into_inner()
            .record
            .into_iter()
            .flat_map(|w| w.platforms)
        {
            let name = format!("{}/{}", platform.os, platform.architecture);
            if !platforms.contains(&name) {
                platforms.push(name);
            }
        }
        Ok(Self {
            address: address.clone(),
            channel,
            platforms,
        })
    }
}

pub(crate) fn control(channel: Channel) -> ControlClient<Channel> {
    ControlClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE)
}

/// Opens a stream for gRPC (HTTP/2 without upgrade).
async fn dial(address: &Address) -> io::Result<Stream> {
    Ok(match address {
        Address::Unix(path) => Stream::new(UnixStream::connect(path).await?),
        Address::Tcp { host, port, tls } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            match tls {
                None => Stream::new(stream),
                Some(files) => Stream::new(secured(stream, host, files).await?),
            }
        }
        Address::Docker(path) => upgraded(path).await?,
        Address::Container { program, name } => {
            through_program(program, &["exec", "-i", name, "buildctl", "dial-stdio"])?
        }
        Address::Ssh(host) => through_program("ssh", &["--", host, "buildctl", "dial-stdio"])?,
    })
}

/// Connects to the BuildKit of a Docker engine (moby, `api/server/router/grpc`): `POST /grpc` with an
/// upgrade to `h2c`.
async fn upgraded(socket: &Path) -> io::Result<Stream> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    let request = http::Request::post("/grpc")
        .header(http::header::HOST, "docker")
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "h2c")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(io::Error::other(format!(
            "it has no BuildKit (it answers {} to `POST /grpc`)",
            answer.status()
        )));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
    Ok(Stream::new(TokioIo::new(upgraded)))
}

async fn secured(
    stream: TcpStream,
    host: &str,
    files: &TlsFiles,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let unusable = |path: &Path, source: TrustError| {
        let (path, source) = (path.display().to_string(), Box::new(source));
        io::Error::other(ClientError::Certificates { path, source })
    };
    let certificates =
        |path: &Path| trust::certificates(path).map_err(|error| unusable(path, error));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.authorities)? {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match &files.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.into()))?;
            config
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(io::Error::other)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Connects through stdin and stdout of a program, which is killed when the stream is dropped.
fn through_program(program: &str, args: &[&str]) -> io::Result<Stream> {
    let mut command = kraft_sys::tool::command(program);
    // `kubectl` asks helpers for credentials of any cloud.
    Inherit::WithoutOurs.apply(&mut command);
    let mut command = Command::from(command);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start `{program}`: {error}"))
    })?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other(format!("`{program}` has no pipes")));
    };
    Ok(Stream::new(Spoken {
        input,
        output,
        _child: child,
    }))
}

/// Stdin and stdout of a program as one stream.
struct Spoken {
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream of any of these kinds.
pub(crate) struct Stream(Box<dyn Duplex>);

impl Stream {
    pub(crate) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}
