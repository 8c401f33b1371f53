//! Published ports: what arrives at a port of the host is carried to a machine.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kraft_core::port::{PortMapping, Protocol};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::outside::Outside;

/// How many connections to one port there are at once.
const MOST_CONNECTIONS: usize = 8192;
/// How many peers of one UDP port are remembered.
const MOST_PEERS: usize = 4096;
/// How long a machine may take to accept a connection.
pub(super) const DIAL: Duration = Duration::from_secs(10);
/// How long a UDP peer is remembered after its last packet.
const IDLE: Duration = Duration::from_mins(1);
/// How much is carried at once, in bytes.
const BUFFER: usize = 64 << 10;
/// The size of the largest UDP packet in bytes.
const PACKET: usize = 64 << 10;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(spawn_local(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Publishes a port of the machine with an address until the result is dropped.
pub(super) fn publish(
    outside: &Outside,
    port: &PortMapping,
    machine: Ipv4Addr,
) -> io::Result<Task> {
    let listen = SocketAddr::new(port.host_ip, port.host_port);
    let target = SocketAddr::new(machine.into(), port.machine_port);
    match port.protocol {
        Protocol::Tcp => {
            let listener = outside.run(move || std::net::TcpListener::bind(listen))?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            Ok(Task::spawn(accept(listener, target)))
        }
        Protocol::Udp => {
            let socket = outside.run(move || std::net::UdpSocket::bind(listen))?;
            socket.set_nonblocking(true)?;
            let socket = Rc::new(UdpSocket::from_std(socket)?);
            Ok(Task::spawn(relay(socket, target)))
        }
    }
}

/// Accepts connections, and carries each to the machine.
async fn accept(listener: TcpListener, target: SocketAddr) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Dropped with this future: the connections end with the port.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn_local(async move {
                    carry(client, target).await;
                    drop(place);
                });
            }
            // Too many open files, or a client that is gone already.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Carries one connection. If the machine does not accept it, it is closed.
async fn carry(mut client: TcpStream, target: SocketAddr) {
    let Ok(Ok(mut machine)) = timeout(DIAL, TcpStream::connect(target)).await else {
        return;
    };
    // The peer that wrote decided what goes together.
    let _ = (client.set_nodelay(true), machine.set_nodelay(true));
    let _ = copy_bidirectional_with_sizes(&mut client, &mut machine, BUFFER, BUFFER).await;
}

/// Carries packets, each peer's from a socket of its own, so that answers find the way back.
async fn relay(socket: Rc<UdpSocket>, target: SocketAddr) {
    struct Peer {
        socket: Rc<UdpSocket>,
        answers: Task,
    }

    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut packet = vec![0; PACKET];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else {
            // An error of an earlier packet: its peer does not listen any more.
            continue;
        };
        if peers.len() >= MOST_PEERS
            || peers
                .get(&from)
                .is_some_and(|it| it.answers.0.is_finished())
        {
            peers.retain(|_, peer| !peer.answers.0.is_finished());
        }
        if peers.len() >= MOST_PEERS && !peers.contains_key(&from) {
            continue;
        }
        let peer = match peers.entry(from) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let Ok(dialed) = dial(target).await else {
                    continue;
                };
                let dialed = Rc::new(dialed);
                let answers = Task::spawn(answer(dialed.clone(), socket.clone(), from));
                new.insert(Peer {
                    socket: dialed,
                    answers,
                })
            }
        };
        // A packet may be lost, as on any way.
        let _ = peer
            .socket
            .try_send(packet.get(..length).unwrap_or_default());
    }
}

/// Opens a socket for packets to and from a port.
pub(super) async fn dial(target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(target).await?;
    // Until then the event loop takes no packet for it: the first one would be lost.
    socket.writable().await?;
    Ok(socket)
}

/// Carries the answers of a machine to a peer until there are none for a while.
async fn answer(machine: Rc<UdpSocket>, socket: Rc<UdpSocket>, to: SocketAddr) {
    let mut packet = vec![0; PACKET];
    while let Ok(received) = timeout(IDLE, machine.recv(&mut packet)).await {
        if let Ok(length) = received {
            let _ = socket
                .send_to(packet.get(..length).unwrap_or_default(), to)
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Runs a test, which does not wait for ever for what is lost.
    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let limited = async { timeout(Duration::from_mins(1), test).await };
        LocalSet::new().block_on(&runtime, limited).unwrap();
    }

    /// Publishes a port of a machine, for which this host stands, at a free port of the host.
    fn published(protocol: Protocol, machine_port: u16) -> (Task, SocketAddr) {
        let outside = Outside::start().unwrap();
        loop {
            let free = std::net::TcpListener::bind((HOST, 0)).unwrap();
            let port = PortMapping {
                host_ip: IpAddr::V4(HOST),
                host_port: free.local_addr().unwrap().port(),
                machine_port,
                protocol,
            };
            drop(free);
            match publish(&outside, &port, HOST) {
                Ok(task) => return (task, SocketAddr::new(port.host_ip, port.host_port)),
                // Another process was faster.
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::AddrInUse, "{e}"),
            }
        }
    }

    #[test]
    fn the_first_packet_of_each_peer_arrives_and_its_answer_too() {
        run(async {
            let machine = UdpSocket::bind((HOST, 0)).await.unwrap();
            let (_task, at) = published(Protocol::Udp, machine.local_addr().unwrap().port());
            let mut packet = [0; 64];
            for text in [&b"one"[..], b"two", b"three"] {
                let peer = UdpSocket::bind((HOST, 0)).await.unwrap();
                peer.send_to(text, at).await.unwrap();
                let (length, from) = machine.recv_from(&mut packet).await.unwrap();
                assert_eq!(&packet[..length], text);
                machine.send_to(b"answer", from).await.unwrap();
                let (length, from) = peer.recv_from(&mut packet).await.unwrap();
                assert_eq!((&packet[..length], from), (&b"answer"[..], at));
            }
        });
    }

    #[test]
    fn a_connection_ends_in_each_direction_by_itself() {
        run(async {
            let machine = TcpListener::bind((HOST, 0)).await.unwrap();
            let (_task, at) = published(Protocol::Tcp, machine.local_addr().unwrap().port());
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let (mut server, _) = machine.accept().await.unwrap();
            let mut text = String::new();
            server.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "question");
            server.write_all(b"answer").await.unwrap();
            drop(server);
            text.clear();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "answer");
        });
    }

    #[test]
    fn a_port_is_closed_with_its_machine() {
        run(async {
            let machine = TcpListener::bind((HOST, 0)).await.unwrap();
            let (task, at) = published(Protocol::Tcp, machine.local_addr().unwrap().port());
            let mut client = TcpStream::connect(at).await.unwrap();
            let (_server, _) = machine.accept().await.unwrap();
            drop(task);
            // The connection ends, and no other one begins.
            let end = client.read(&mut [0]).await;
            assert!(!matches!(end, Ok(1..)), "{end:?}");
            let refused = TcpStream::connect(at).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}
