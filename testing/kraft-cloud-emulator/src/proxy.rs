//! Published ports: for every port of a service group, a listener on this host that applies the
//! port's handlers and forwards connections round-robin to the running instances of the group.
//!
//! Public ports such as 443 are not bound: each is published on a free loopback port, and
//! [`addresses`] returns the mapping. Clients that use domain names connect through the
//! [proxy](crate::domains).

use std::io;
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::server::Shared;
use crate::sleep::Guest;
use crate::world::State;

/// Maximum size in bytes of the head of a request that is only redirected.
const LONGEST_HEAD: usize = 16 << 10;

/// A published port and its address on this host.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    group: String,
    port: u16,
    inner: u16,
    handlers: Vec<String>,
    address: SocketAddr,
}

impl Published {
    fn has(&self, handler: &str) -> bool {
        self.handlers.iter().any(|one| one == handler)
    }
}

/// Opens the missing listeners. A listener outlives its group: it then has no instance to forward
/// to.
pub(crate) fn publish(shared: &Shared) {
    let mut world = shared.world();
    let wanted: Vec<(String, Value)> = world
        .groups
        .iter()
        .flat_map(|group| {
            let services = group.services.iter().cloned();
            services.map(|service| (group.uuid.clone(), service))
        })
        .collect();
    for (group, service) in wanted {
        let number = |key: &str| u16::try_from(service.get(key)?.as_u64()?).ok();
        let (Some(port), Some(inner)) = (number("port"), number("destination_port")) else {
            continue;
        };
        let open = |one: &Published| one.group == group && one.port == port;
        if world.published.iter().any(open) {
            continue;
        }
        let handlers = service.get("handlers").and_then(Value::as_array);
        let handlers = handlers.into_iter().flatten().filter_map(Value::as_str);
        let Some((listener, address)) = listen() else {
            continue;
        };
        let published = Published {
            group,
            port,
            inner,
            handlers: handlers.map(str::to_owned).collect(),
            address,
        };
        world.published.push(published.clone());
        let shared = shared.clone();
        world.runtime.spawn(serve(shared, published, listener));
    }
}

/// Listens on a free port of this host.
pub(crate) fn listen() -> Option<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok()?;
    listener.set_nonblocking(true).ok()?;
    let address = listener.local_addr().ok()?;
    Some((listener, address))
}

async fn serve(shared: Shared, published: Published, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let acceptor = published
        .has("tls")
        .then(|| acceptor(&shared, &published))
        .flatten();
    let mut turn = 0_usize;
    while let Ok((stream, _)) = listener.accept().await {
        turn = turn.wrapping_add(1);
        let (shared, published, acceptor) = (shared.clone(), published.clone(), acceptor.clone());
        tokio::spawn(async move {
            // A client that disconnects, or requests an unknown name, does not affect the others.
            let _ = answer(&shared, &published, acceptor, (stream, turn)).await;
        });
    }
}

/// Returns an acceptor that terminates TLS for the domains of a group.
fn acceptor(shared: &Shared, published: &Published) -> Option<TlsAcceptor> {
    let authority = shared.world().authority.clone()?;
    let (shared, group) = (shared.clone(), published.group.clone());
    authority.acceptor(move |name| {
        let world = shared.world();
        let group = world.groups.iter().find(|one| one.uuid == group);
        let domains = group.map(|group| group.domains.clone()).unwrap_or_default();
        domains
            .iter()
            .any(|domain| domain.get("fqdn").and_then(Value::as_str) == Some(name))
    })
}

async fn answer(
    shared: &Shared,
    published: &Published,
    acceptor: Option<TlsAcceptor>,
    (stream, turn): (TcpStream, usize),
) -> io::Result<()> {
    match acceptor {
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            forward(shared, published, stream, turn).await
        }
        None if published.has("redirect") => point_elsewhere(stream).await,
        None => forward(shared, published, stream, turn).await,
    }
}

/// Forwards a connection to the next instance, round-robin.
async fn forward(
    shared: &Shared,
    published: &Published,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    turn: usize,
) -> io::Result<()> {
    let mut server = match backend(shared, published, turn) {
        Some((backend, guest)) => TcpStream::connect(backend).await.ok().zip(Some(guest)),
        None => None,
    };
    let Some((server, _guest)) = &mut server else {
        if published.has("http") {
            let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
                        Connection: close\r\n\r\n";
            stream.write_all(text.as_bytes()).await?;
        }
        return stream.shutdown().await;
    };
    copy_bidirectional(&mut stream, server).await.map(drop)
}

/// Redirects a request to the same URL with `https`.
async fn point_elsewhere(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => head.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let host = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map_or("", |(_, host)| host.trim());
    let host = host.split(':').next().unwrap_or_default();
    let text = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://{host}{path}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Returns the next running instance that has this port, round-robin; if none runs, wakes one in
/// standby.
fn backend(shared: &Shared, published: &Published, turn: usize) -> Option<(SocketAddr, Guest)> {
    let world = shared.world();
    let of_group = |state: State| {
        let all = world.instances.iter();
        let mine = all
            .filter(|one| one.state == state && one.group.as_ref() == Some(&published.group))
            .filter_map(|one| Some((one.backends.get(&published.inner).copied()?, &one.uuid)));
        mine.collect::<Vec<_>>()
    };
    let awake = of_group(State::Running);
    let (address, uuid) = match turn.checked_rem(awake.len()) {
        Some(at) => awake.get(at).copied()?,
        None => of_group(State::Standby).first().copied()?,
    };
    let uuid = uuid.clone();
    drop(world);
    Some((address, Guest::of(shared, &uuid)))
}

/// Returns the address on this host of a published port of a domain.
pub(crate) fn address(shared: &Shared, name: &str, port: u16) -> Option<SocketAddr> {
    let world = shared.world();
    let here = |domain: &Value| domain.get("fqdn").and_then(Value::as_str) == Some(name);
    let group = world
        .groups
        .iter()
        .find(|group| group.domains.iter().any(here))?;
    let mut published = world.published.iter();
    let found = published.find(|one| one.group == group.uuid && one.port == port)?;
    Some(found.address)
}

/// Returns the address on this host of every public port.
pub(crate) fn addresses(shared: &Shared) -> Value {
    let world = shared.world();
    let published = world.published.iter().flat_map(|one| {
        let group = world.groups.iter().find(|group| group.uuid == one.group);
        let domains = group.map(|group| group.domains.clone()).unwrap_or_default();
        domains.into_iter().map(|domain| {
            json!({
                "fqdn": domain.get("fqdn"),
                "port": one.port,
                "address": one.address.to_string(),
            })
        })
    });
    published.collect()
}
