//! The name server of a network, at the address of its bridge.
//!
//! Names of machines are answered at once. Other names are asked of the name servers of the host,
//! in the host's network: also a server on its loopback address is reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::names::{self, Reply};
use super::outside::Outside;
use super::proxy::Task;

/// The port of name servers.
const PORT: u16 = 53;
/// How many questions are carried at once.
const MOST_QUESTIONS: usize = 256;
/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client may keep a connection open.
const CONNECTION: Duration = Duration::from_secs(10);
/// The maximal size of a packet in bytes.
const PACKET: usize = 4096;
/// The maximal size of `/etc/resolv.conf` in bytes.
const MAX_RESOLV: u64 = 1 << 20;

/// Answers a question of a machine from the names of its networks.
pub(super) type Local = Rc<dyn Fn(&[u8], IpAddr) -> Reply>;

/// A name server until it is dropped.
#[derive(Debug)]
pub(super) struct Dns {
    _udp: Task,
    _tcp: Task,
}

impl Dns {
    /// Starts it at an address of this network.
    pub(super) async fn start(
        address: Ipv4Addr,
        local: Local,
        outside: Outside,
    ) -> io::Result<Self> {
        let udp = Rc::new(UdpSocket::bind((address, PORT)).await?);
        let tcp = TcpListener::bind((address, PORT)).await?;
        let room = Arc::new(Semaphore::new(MOST_QUESTIONS));
        Ok(Self {
            _udp: Task::spawn(packets(udp, local.clone(), outside.clone(), room.clone())),
            _tcp: Task::spawn(connections(tcp, local, outside, room)),
        })
    }
}

async fn packets(socket: Rc<UdpSocket>, local: Local, outside: Outside, room: Arc<Semaphore>) {
    let mut packet = vec![0; PACKET];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let question = packet.get(..length).unwrap_or_default();
        match local(question, from.ip()) {
            Reply::Ignore => {}
            Reply::Answer(answer) => {
                let _ = socket.send_to(&answer, from).await;
            }
            Reply::Ask => {
                // Too many at once are dropped: the machine asks again.
                let Ok(place) = room.clone().try_acquire_owned() else {
                    continue;
                };
                let (question, outside) = (question.to_vec(), outside.clone());
                let socket = socket.clone();
                tokio::task::spawn_local(async move {
                    if let Some(answer) = ask(&question, &outside).await {
                        let _ = socket.send_to(&answer, from).await;
                    }
                    drop(place);
                });
            }
        }
    }
}

async fn connections(listener: TcpListener, local: Local, outside: Outside, room: Arc<Semaphore>) {
    loop {
        let Ok((client, from)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (local, outside) = (local.clone(), outside.clone());
        tokio::task::spawn_local(async move {
            // A client that is too slow is left.
            let _ = timeout(CONNECTION, conversation(client, from.ip(), local, outside)).await;
            drop(place);
        });
    }
}

/// Answers questions over one connection, each after its length in two bytes (RFC 1035, 4.2.2).
async fn conversation(
    mut client: TcpStream,
    from: IpAddr,
    local: Local,
    outside: Outside,
) -> io::Result<()> {
    loop {
        let question = read(&mut client).await?;
        let answer = match local(&question, from) {
            Reply::Ignore => return Ok(()),
            Reply::Answer(answer) => Some(answer),
            Reply::Ask => match ask_by_stream(&question, &outside).await {
                Some(answer) => Some(answer),
                None => names::failure(&question),
            },
        };
        let Some(answer) = answer else {
            return Ok(());
        };
        write(&mut client, &answer).await?;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

async fn write(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(packet);
    stream.write_all(&bytes).await
}

/// Returns the name servers of the host.
fn servers() -> Vec<SocketAddr> {
    let bytes = kraft_sys::fs::read_file(Path::new("/etc/resolv.conf"), MAX_RESOLV);
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let mut servers = names::servers(&text);
    if servers.is_empty() {
        // As the host's own library does.
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    let servers = servers.into_iter();
    servers
        .map(|server| SocketAddr::new(server, PORT))
        .collect()
}

/// Asks the name servers of the host, one after the other.
async fn ask(question: &[u8], outside: &Outside) -> Option<Vec<u8>> {
    for server in servers() {
        if let Ok(Ok(answer)) = timeout(PATIENCE, ask_one(question, server, outside)).await {
            return Some(answer);
        }
    }
    names::failure(question)
}

async fn ask_one(question: &[u8], server: SocketAddr, outside: &Outside) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = outside.run(move || {
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    let socket = UdpSocket::from_std(socket)?;
    socket.send(question).await?;
    let mut answer = vec![0; PACKET];
    loop {
        let length = socket.recv(&mut answer).await?;
        // An answer begins with the number of its question.
        if answer.get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// Asks the name servers of the host by connections, for answers that fit into no packet.
async fn ask_by_stream(question: &[u8], outside: &Outside) -> Option<Vec<u8>> {
    for server in servers() {
        if let Ok(Ok(answer)) = timeout(PATIENCE, stream_one(question, server, outside)).await {
            return Some(answer);
        }
    }
    None
}

async fn stream_one(question: &[u8], server: SocketAddr, outside: &Outside) -> io::Result<Vec<u8>> {
    // The socket is opened outside, and the connection made from here.
    let socket = outside.run(move || {
        let family = match server {
            SocketAddr::V4(_) => rustix::net::AddressFamily::INET,
            SocketAddr::V6(_) => rustix::net::AddressFamily::INET6,
        };
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let kind = rustix::net::SocketType::STREAM;
        Ok(rustix::net::socket_with(family, kind, flags, None)?)
    })?;
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(server).await?;
    write(&mut stream, question).await?;
    read(&mut stream).await
}
