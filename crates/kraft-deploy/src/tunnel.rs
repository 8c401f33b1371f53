//! Tunnels: local ports that forward to ports of instances.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_cloud::dial::{DialError, Dialer, Stream};
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::tunnel::{self, Password, Way};
use kraft_core::error::chain;
use kraft_engine::context::Context;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::cloud::Cloud;
use crate::error::{Interrupted, RequestError};
use crate::helper::{self, Helper};
use crate::naming;

/// The helper's memory, in MiB.
const MEMORY: u64 = 64;
/// How long a lost control connection is retried.
const RECONNECT: Duration = Duration::from_secs(20);
/// Number of connections of one tunnel that are opened at a time: a handshake has a time limit, which
/// a burst of connections on a busy host must not use up.
const HANDSHAKES: usize = 16;
/// Number of warnings that may wait to be reported; more are dropped.
const WARNINGS: usize = 16;

/// Why tunnels cannot be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text does not describe a tunnel.
    #[error("`{text}`: {why}")]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: SyntaxError,
    },
    /// The number of proxy ports and of tunnels differ.
    #[error("there are {ports} proxy ports for {tunnels} tunnels")]
    PortCount {
        /// Number of proxy ports.
        ports: usize,
        /// Number of tunnels.
        tunnels: usize,
    },
    /// Two ports of the helper are the same.
    #[error("two ports of the helper are the same")]
    SamePorts,
    /// A local port cannot be used.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The instance has no address.
    #[error("the instance `{0}` has no address")]
    NoAddress(String),
    /// The name of the helper's image is invalid.
    #[error(transparent)]
    Image(#[from] naming::Error),
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The helper cannot be created or reached.
    #[error(transparent)]
    Helper(#[from] helper::Error),
    /// The helper closes its control connection at once.
    #[error("the helper closed the connection")]
    Closed(#[source] io::Error),
    /// The helper cannot be reached any more.
    #[error("the helper is gone")]
    Gone(#[source] io::Error),
    /// No tunnel is left.
    #[error("the tunnels have ended")]
    Ended,
}

/// What is wrong with the text of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// It does not have two or three parts.
    #[error("expected an instance and a port")]
    Parts,
    /// There is no instance before the port.
    #[error("the instance is missing")]
    NoInstance,
    /// The number is not a port.
    #[error("`{0}` is not a valid port: expected 1-65535")]
    Port(String),
    /// UDP was requested.
    #[error("tunnels support only TCP")]
    Udp,
    /// The type is unknown.
    #[error("the type is neither `tcp` nor `udp`")]
    Type,
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        Self::Helper(error.into())
    }
}

/// A tunnel: `[LOCAL:]INSTANCE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The local port.
    pub local: u16,
    /// The instance: its name, its UUID, its address, or its internal domain.
    pub instance: String,
    /// The port of the instance.
    pub port: u16,
}

/// The tunnels to open, and their helper.
#[derive(Clone, Debug)]
pub struct TunnelOptions {
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// The helper's port for each, or the first of consecutive ones.
    pub proxy_ports: Vec<u16>,
    /// The helper's control port.
    pub control: u16,
    /// The helper's image.
    pub image: String,
}

/// Parses `[LOCAL:]INSTANCE:PORT[/TYPE]`.
///
/// ```
/// use kraft_deploy::tunnel;
///
/// let tunnel = tunnel::parse("8080:web:80")?;
/// assert_eq!((tunnel.local, tunnel.instance.as_str(), tunnel.port), (8080, "web", 80));
/// # Ok::<(), tunnel::Error>(())
/// ```
///
/// # Errors
///
/// If the text has another shape, or asks for something else than TCP.
pub fn parse(text: &str) -> Result<Tunnel, Error> {
    parts(text).map_err(|why| Error::Syntax {
        text: text.to_owned(),
        why,
    })
}

fn parts(text: &str) -> Result<Tunnel, SyntaxError> {
    let (route, kind) = match text.rsplit_once('/') {
        Some((route, kind)) => (route, kind),
        None => (text, "tcp"),
    };
    match kind {
        "tcp" => {}
        "udp" => return Err(SyntaxError::Udp),
        _ => return Err(SyntaxError::Type),
    }
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(SyntaxError::Port(text.to_owned())),
    };
    let parts: Vec<&str> = route.split(':').collect();
    let (local, instance, inside) = match parts.as_slice() {
        [instance, inside] => (*inside, *instance, *inside),
        [local, instance, inside] => (*local, *instance, *inside),
        _ => return Err(SyntaxError::Parts),
    };
    if instance.is_empty() {
        return Err(SyntaxError::NoInstance);
    }
    Ok(Tunnel {
        local: port(local)?,
        instance: instance.to_owned(),
        port: port(inside)?,
    })
}

/// Opens tunnels, and keeps them open until the user interrupts the command.
///
/// # Errors
///
/// If a local port is in use, an instance does not exist, or the helper fails. It returns nothing
/// but errors: an interrupt is one of them.
pub fn open(ctx: &Context, cloud: &Cloud, options: &TunnelOptions) -> Result<(), Error> {
    let ports = proxy_ports(options)?;
    let dialer = Arc::new(helper::dialer(ctx)?);
    // Local ports come first: if one is in use, nothing has been created on the platform.
    let listeners = cloud.wait_for(bind(&options.tunnels))??;
    let routes = routes(cloud, options, &ports)?;
    let image = naming::platform_name(cloud.account(), &options.image)?;
    let password = Helper::password()?;
    let wanted = helper_of(options, image, &password, &routes);
    let (helper, instance) = Helper::start(ctx, cloud, wanted)?;
    let host = helper::host(&instance)?;
    let stream = cloud.wait_for(Helper::dial(&dialer, &host, options.control))??;
    for (tunnel, route) in options.tunnels.iter().zip(&routes) {
        ctx.info(&format!(
            "forwarding 127.0.0.1:{} to {}:{} ({})",
            tunnel.local, tunnel.instance, tunnel.port, route.host
        ));
    }
    let (warnings, received) = mpsc::channel(WARNINGS);
    let tunnels = listeners
        .into_iter()
        .zip(routes.iter().map(|route| route.proxy));
    for (listener, proxy) in tunnels {
        let forwarder = Forwarder {
            dialer: Arc::clone(&dialer),
            host: host.clone(),
            proxy,
            password: password.clone(),
            warnings: warnings.clone(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        };
        cloud.spawn(forwarder.serve(listener));
    }
    drop(warnings);
    let control = Control {
        ctx,
        dialer: &dialer,
        host: &host,
        port: options.control,
        password: &password,
    };
    let ended = cloud.wait_for(async {
        tokio::select! {
            error = control.keep_alive(stream) => error,
            () = report(ctx, received) => Error::Ended,
        }
    });
    drop(helper);
    Err(ended?)
}

/// Reports the warnings of connections.
async fn report(ctx: &Context, mut received: mpsc::Receiver<String>) {
    while let Some(warning) = received.recv().await {
        ctx.warn(&warning);
    }
}

/// The control connection to the helper.
struct Control<'a> {
    ctx: &'a Context,
    dialer: &'a Dialer,
    host: &'a str,
    port: u16,
    password: &'a Password,
}

impl Control<'_> {
    /// Keeps the connection alive; returns why that is no longer possible.
    async fn keep_alive(&self, first: Stream) -> Error {
        let mut stream = first;
        loop {
            let begin = Instant::now();
            let lost = tunnel::control(&mut stream, self.password).await;
            // A helper that closes the connection at once would do so again.
            if begin.elapsed() < Duration::from_secs(1) {
                return Error::Closed(lost);
            }
            self.ctx.warn(&format!(
                "lost the connection to the helper ({lost}): reconnecting"
            ));
            let dialing = Helper::dial(self.dialer, self.host, self.port);
            match tokio::time::timeout(RECONNECT, dialing).await {
                Ok(Ok(again)) => stream = again,
                Ok(Err(error)) => return error.into(),
                Err(_) => return Error::Gone(lost),
            }
        }
    }
}

/// Returns the helper's port for each tunnel.
fn proxy_ports(options: &TunnelOptions) -> Result<Vec<u16>, Error> {
    let count = options.tunnels.len();
    let ports: Vec<u16> = match options.proxy_ports.as_slice() {
        [first] => (0..count)
            .filter_map(|at| first.checked_add(u16::try_from(at).ok()?))
            .collect(),
        given => given.to_vec(),
    };
    if ports.len() != count {
        return Err(Error::PortCount {
            ports: ports.len(),
            tunnels: count,
        });
    }
    let mut all = ports.clone();
    all.push(options.control);
    all.sort_unstable();
    if all.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Error::SamePorts);
    }
    Ok(ports)
}

async fn bind(tunnels: &[Tunnel]) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::with_capacity(tunnels.len());
    for tunnel in tunnels {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, tunnel.local));
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| Error::Listen { address, source })?);
    }
    Ok(listeners)
}

/// Resolves where each tunnel ends; all instances are looked up in one request.
fn routes(cloud: &Cloud, options: &TunnelOptions, ports: &[u16]) -> Result<Vec<Way>, Error> {
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    let is_inside = |text: &str| is_address(text) || text.ends_with(".internal");
    let mut asked: Vec<Id> = Vec::new();
    for tunnel in &options.tunnels {
        let id = Id::new(&tunnel.instance);
        if !is_inside(&tunnel.instance) && !asked.contains(&id) {
            asked.push(id);
        }
    }
    let found = if asked.is_empty() {
        Vec::new()
    } else {
        cloud.all(&instances::get(&asked))?
    };
    let mut routes = Vec::with_capacity(options.tunnels.len());
    for (tunnel, proxy) in options.tunnels.iter().zip(ports) {
        let host = if is_inside(&tunnel.instance) {
            tunnel.instance.clone()
        } else {
            address(&found, &tunnel.instance)?
        };
        routes.push(Way {
            proxy: *proxy,
            host,
            port: tunnel.port,
        });
    }
    Ok(routes)
}

/// Returns the private address of an instance, without the length of its prefix.
fn address(found: &[Instance], named: &str) -> Result<String, Error> {
    let mut found = found.iter();
    let one = found.find(|one| one.uuid.eq_ignore_ascii_case(named) || one.name == named);
    let ip = one.map_or("", |one| {
        one.private_ip.split('/').next().unwrap_or_default()
    });
    if ip.is_empty() {
        return Err(Error::NoAddress(named.to_owned()));
    }
    Ok(ip.to_owned())
}

fn helper_of(
    options: &TunnelOptions,
    image: String,
    password: &Password,
    routes: &[Way],
) -> CreateInstance {
    let mut ports: Vec<u16> = routes.iter().map(|route| route.proxy).collect();
    ports.push(options.control);
    CreateInstance {
        args: tunnel::arguments(options.control, password, routes),
        ..Helper::wanted(image, MEMORY, &ports)
    }
}

/// Forwards connections of one local port to the helper.
#[derive(Clone)]
struct Forwarder {
    dialer: Arc<Dialer>,
    host: String,
    proxy: u16,
    password: Password,
    warnings: mpsc::Sender<String>,
    handshakes: Arc<Semaphore>,
}

impl Forwarder {
    async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let forwarder = self.clone();
                    tokio::spawn(async move {
                        if let Err(why) = forwarder.forward(stream).await {
                            // A full queue drops the warning.
                            let _ = forwarder.warnings.try_send(why);
                        }
                    });
                }
                // A temporary error, such as too many open files.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn forward(&self, mut near: TcpStream) -> Result<(), String> {
        let _ = near.set_nodelay(true);
        let turn = self.handshakes.acquire().await;
        let far = self.dialer.dial(&self.host, self.proxy).await;
        drop(turn);
        let mut far = far.map_err(|error| kraft_core::error::chain(&error))?;
        tunnel::enter(&mut far, &self.password)
            .await
            .map_err(|error| format!("the helper refused a connection: {}", chain(&error)))?;
        match copy_bidirectional(&mut near, &mut far).await {
            Ok(_) => Ok(()),
            // Either side may close the connection at any time.
            Err(error) if is_close(&error) => Ok(()),
            Err(error) => Err(format!("a connection broke: {error}")),
        }
    }
}

/// Returns whether an error is one of a closed connection.
fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_port_is_optional() {
        let tunnel = |text: &str| parse(text).map(|one| (one.local, one.instance, one.port));
        let is = |local, instance: &str, port| (local, instance.to_owned(), port);
        assert_eq!(tunnel("8080:web:80").unwrap(), is(8080, "web", 80));
        assert_eq!(tunnel("web:80/tcp").unwrap(), is(80, "web", 80));
        assert_eq!(
            tunnel("db.internal:5432").unwrap(),
            is(5432, "db.internal", 5432)
        );
        for bad in [
            "web",
            ":80",
            "web:0",
            "web:80/udp",
            "1:2:3:4",
            "web:80/x",
            "",
        ] {
            assert!(tunnel(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn proxy_ports_are_consecutive_or_listed() {
        let options = |proxy_ports: &[u16], count: usize| TunnelOptions {
            tunnels: vec![parse("web:80").unwrap(); count],
            proxy_ports: proxy_ports.to_vec(),
            control: 4443,
            image: String::new(),
        };
        assert_eq!(
            proxy_ports(&options(&[4444], 3)).unwrap(),
            [4444, 4445, 4446]
        );
        assert_eq!(
            proxy_ports(&options(&[9000, 8000], 2)).unwrap(),
            [9000, 8000]
        );
        assert!(
            proxy_ports(&options(&[4442], 2)).is_err(),
            "the control port is in use"
        );
        assert!(proxy_ports(&options(&[1, 2], 3)).is_err());
        assert!(proxy_ports(&options(&[65535], 2)).is_err());
    }
}
