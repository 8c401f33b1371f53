//! The published ports of a machine that sleeps while it is idle. Its monitor keeps them open itself,
//! and carries connections to the machine:
//!
//! ```text
//! client ─► port of the host ─► monitor ─┬► hidden port of the VMM ─► guest
//!                                        └► the network of the machine ─► guest
//! ```
//!
//! While the machine sleeps, connections are accepted and packets of UDP are kept; the first of either wakes
//! it.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kraft_core::port::{PortMapping, Protocol};
use kraft_net::Networks;

use crate::machines::StartError;
use crate::port::{self, PortError};

/// The maximal number of connections of a machine: two threads carry each.
const MOST_CONNECTIONS: usize = 1024;

/// How long a connection waits until the machine is awake.
const WAKE_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a machine that is awake may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// The maximal number of senders of one UDP port that are remembered: a thread carries the answers to each.
const MOST_SENDERS: usize = 256;

/// How long a sender is remembered after the last answer.
const SENDER_TIMEOUT: Duration = Duration::from_mins(1);

/// The size of the largest packet of UDP, in bytes.
const PACKET: usize = 64 << 10;

/// The size of the stack of a thread that carries a connection, in bytes.
const STACK: usize = 128 << 10;

/// Publishes the ports of a machine as long as this process lives.
#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    /// The ports, all with a port of the host.
    pub(super) ports: Vec<PortMapping>,
    /// Readable once a connection waits for the machine.
    waits: PipeReader,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wakes: PipeWriter,
}

#[derive(Debug)]
struct State {
    /// The way to the machine; `None` while it sleeps.
    route: Option<Route>,
    /// The number of times that the machine began to run.
    runs: u64,
    /// The number of connections.
    connections: usize,
    /// When the last one ended, the last packet was carried, or the machine began to run.
    idle_since: Instant,
    /// Whether a connection waits for the machine and that was reported.
    wanted: bool,
}

/// The way to a machine that is awake.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// By the ports on which its VMM listens.
    Vmm(Vec<PortMapping>),
    /// Through its network.
    Network {
        networks: Networks,
        network: String,
        machine: String,
    },
}

impl Route {
    pub(super) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        match self {
            Self::Vmm(ports) => {
                TcpStream::connect_timeout(&hidden_port(ports, port, Protocol::Tcp)?, DIAL_TIMEOUT)
            }
            Self::Network {
                networks,
                network,
                machine,
            } => networks
                .connect(network, machine, port, DIAL_TIMEOUT)
                .map_err(io::Error::other),
        }
    }

    /// Opens a socket for packets to and from a port.
    fn open_udp(&self, port: u16) -> io::Result<UdpSocket> {
        match self {
            Self::Vmm(ports) => {
                let to = hidden_port(ports, port, Protocol::Udp)?;
                let any: SocketAddr = match to {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                Ok(socket)
            }
            Self::Network {
                networks,
                network,
                machine,
            } => networks
                .open_udp(network, machine, port, DIAL_TIMEOUT)
                .map_err(io::Error::other),
        }
    }
}

/// Returns where a VMM listens for a port of its machine.
fn hidden_port(ports: &[PortMapping], port: u16, protocol: Protocol) -> io::Result<SocketAddr> {
    let is_it = |it: &&PortMapping| it.machine_port == port && it.protocol == protocol;
    let hidden = ports.iter().find(is_it).ok_or(io::ErrorKind::NotFound)?;
    Ok(SocketAddr::new(hidden.host_ip, hidden.host_port))
}

impl Publisher {
    /// Listens on ports. Until the machine is [awake](Self::awake), connections wait.
    pub(super) fn open(ports: Vec<PortMapping>) -> Result<Self, StartError> {
        let system = |e: io::Error| StartError::System(e.to_string());
        let (waits, wakes) = io::pipe().map_err(system)?;
        rustix::io::ioctl_fionbio(&waits, true).map_err(|e| system(e.into()))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                route: None,
                runs: 0,
                connections: 0,
                idle_since: Instant::now(),
                wanted: false,
            }),
            changed: Condvar::new(),
            wakes,
        });
        let listen = |port: &PortMapping| {
            let address = SocketAddr::new(port.host_ip, port.host_port);
            let listener = match port.protocol {
                Protocol::Tcp => TcpListener::bind(address).map(Listener::Tcp),
                Protocol::Udp => UdpSocket::bind(address).map(|it| Listener::Udp(Arc::new(it))),
            };
            let listener = listener.map_err(|e| PortError::Impossible {
                address,
                protocol: port.protocol,
                why: e.to_string(),
            });
            Ok((listener?, port.machine_port))
        };
        let listeners: Vec<_> = ports.iter().map(listen).collect::<Result<_, PortError>>()?;
        for (listener, port) in listeners {
            let shared = Arc::clone(&shared);
            let started = match listener {
                Listener::Tcp(listener) => thread(move || accept(&listener, port, &shared)),
                Listener::Udp(socket) => thread(move || relay(&socket, port, &shared)),
            };
            started.map_err(system)?;
        }
        Ok(Self {
            shared,
            ports,
            waits,
        })
    }

    /// Carries connections to a machine from now on, those that wait first.
    pub(super) fn awake(&self, route: Route) {
        let mut state = self.shared.lock();
        state.route = Some(route);
        state.runs += 1;
        state.wanted = false;
        state.idle_since = Instant::now();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Has new connections wait: the machine does not run.
    pub(super) fn hold(&self) {
        self.shared.lock().route = None;
    }

    /// Has new connections wait if the machine was idle for a time. Else returns how long it takes
    /// until then at least.
    pub(super) fn hold_if_idle(&self, limit: Duration) -> Result<(), Duration> {
        let mut state = self.shared.lock();
        let left = match state.connections {
            0 => limit.saturating_sub(state.idle_since.elapsed()),
            _ => return Err(limit.max(PAUSE)),
        };
        if !left.is_zero() {
            return Err(left);
        }
        state.route = None;
        Ok(())
    }

    /// Returns whether a connection waits for the machine.
    pub(super) fn is_wanted(&self) -> bool {
        self.shared.lock().wanted
    }

    /// Forgets the connections that wait: they did not wake the machine, and end.
    pub(super) fn give_up(&mut self) {
        let mut state = self.shared.lock();
        state.wanted = false;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Empties the pipe that reports waiting connections.
    pub(super) fn clear(&mut self) {
        // At most one byte is in it for each time that the machine slept.
        let _ = rustix::io::read(&self.waits, &mut [0; 64]);
    }
}

impl AsFd for Publisher {
    /// Returns a file that is readable once a connection waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waits.as_fd()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the machine is awake, and returns the way to it and the number of its run; `None` if it
    /// does not wake up.
    fn route(&self) -> Option<(Route, u64)> {
        let deadline = Instant::now() + WAKE_TIMEOUT;
        let mut state = self.lock();
        if state.route.is_none() && !std::mem::replace(&mut state.wanted, true) {
            // The monitor waits for this.
            let _ = (&self.wakes).write_all(b"w");
        }
        loop {
            if let Some(route) = state.route.clone() {
                // A packet that is carried now arrives before it sleeps again.
                state.idle_since = Instant::now();
                return Some((route, state.runs));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // Given up by the monitor.
            if left.is_zero() || !state.wanted {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
    }
}

/// A connection, counted until it is dropped.
struct Connection(Arc<Shared>);

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.connections = state.connections.saturating_sub(1);
        state.idle_since = Instant::now();
    }
}

/// What listens at a port of the host.
enum Listener {
    Tcp(TcpListener),
    Udp(Arc<UdpSocket>),
}

fn thread(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().stack_size(STACK);
    builder.spawn(run)
}

/// Accepts connections, and carries each on a thread of its own.
fn accept(listener: &TcpListener, port: u16, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept() else {
            // Too many open files, or a client that is gone already.
            std::thread::sleep(PAUSE);
            continue;
        };
        loop {
            let mut state = shared.lock();
            if state.connections < MOST_CONNECTIONS {
                state.connections += 1;
                break;
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
        let connection = Connection(Arc::clone(shared));
        // Without a thread, the connection is closed.
        let _ = thread(move || carry(&client, port, &connection));
    }
}

/// Carries one connection, in both directions, until both have ended.
fn carry(client: &TcpStream, port: u16, connection: &Connection) {
    let Some(machine) = connection
        .0
        .route()
        .and_then(|(route, _)| route.connect(port).ok())
    else {
        return;
    };
    // The peer that wrote decided what belongs together.
    let _ = (client.set_nodelay(true), machine.set_nodelay(true));
    let (Ok(from), Ok(to)) = (client.try_clone(), machine.try_clone()) else {
        return;
    };
    let up = std::thread::Builder::new().stack_size(STACK);
    let Ok(up) = up.spawn(move || copy(&from, &to)) else {
        return;
    };
    copy(&machine, client);
    let _ = up.join();
}

/// Copies one direction to its end, and passes the end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_err() {
        // The other direction ends as well.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        return;
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Who has sent packets to a UDP port.
struct Sender {
    /// The way to the machine.
    socket: Arc<UdpSocket>,
    /// Carries the answers.
    answers: JoinHandle<()>,
    /// The run of the machine in which the socket was opened.
    run: u64,
}

/// Carries packets, each sender's by a socket of its own, so that answers find the way back. A packet may be
/// lost, as on any way, but not because the machine sleeps.
fn relay(socket: &Arc<UdpSocket>, port: u16, shared: &Arc<Shared>) {
    let mut senders: HashMap<SocketAddr, Sender> = HashMap::new();
    let mut packet = vec![0; PACKET];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet) else {
            // The error of an answer to a sender that is gone.
            std::thread::sleep(PAUSE);
            continue;
        };
        let Some((route, run)) = shared.route() else {
            continue;
        };
        senders.retain(|_, it| it.run == run && !it.answers.is_finished());
        let known = senders.get(&from).map(|it| Arc::clone(&it.socket));
        let to = known.or_else(|| {
            if senders.len() >= MOST_SENDERS {
                return None;
            }
            let to = Arc::new(route.open_udp(port).ok()?);
            let (machine, back, counted) =
                (Arc::clone(&to), Arc::clone(socket), Arc::clone(shared));
            let answers = thread(move || answer(&machine, &back, from, &counted)).ok()?;
            let sender = Sender {
                socket: Arc::clone(&to),
                answers,
                run,
            };
            senders.insert(from, sender);
            Some(to)
        });
        if let Some(to) = to {
            let _ = to.send(packet.get(..length).unwrap_or_default());
        }
    }
}

/// Carries the answers of a machine to a sender, until there are none for a while.
fn answer(machine: &UdpSocket, socket: &UdpSocket, to: SocketAddr, shared: &Shared) {
    let mut packet = vec![0; PACKET];
    if machine.set_read_timeout(Some(SENDER_TIMEOUT)).is_err() {
        return;
    }
    while let Ok(length) = kraft_sys::socket::uninterrupted(|| machine.recv(&mut packet)) {
        shared.lock().idle_since = Instant::now();
        let _ = socket.send_to(packet.get(..length).unwrap_or_default(), to);
    }
}

/// Returns free ports of this host for a VMM, one for each port of a machine. They are on an address
/// of the loopback network that depends on the machine, so that no other program listens there.
pub(super) fn hidden(
    ports: &[PortMapping],
    id: crate::id::Id,
) -> Result<Vec<PortMapping>, PortError> {
    let bytes = id.bytes();
    let [.., a, b, c] = bytes;
    // Neither the address that programs use, nor one that ends with 0 or 255.
    let ip = Ipv4Addr::new(127, (a % 253) + 1, b, (c % 253) + 1);
    let hidden = |port: &PortMapping| PortMapping {
        host_ip: ip.into(),
        host_port: 0,
        ..port.clone()
    };
    let mut wanted: Vec<PortMapping> = ports.iter().map(hidden).collect();
    wanted.dedup_by_key(|port| (port.machine_port, port.protocol));
    port::claim(&wanted, &[])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::IpAddr;

    use kraft_sys::process::wait_readable;

    use super::*;
    use crate::id::Id;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Publishes a port of a machine that sleeps.
    fn published() -> (Publisher, SocketAddr) {
        loop {
            let any = PortMapping {
                host_ip: HOST,
                host_port: 0,
                machine_port: 80,
                protocol: Protocol::Tcp,
            };
            let ports = port::claim(&[any], &[]).unwrap();
            let address = SocketAddr::new(HOST, ports[0].host_port);
            // Another process may be faster.
            if let Ok(publisher) = Publisher::open(ports) {
                return (publisher, address);
            }
        }
    }

    /// A machine that answers one connection with what it was sent, and the way to it.
    fn machine() -> Route {
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let port = PortMapping {
            host_ip: HOST,
            host_port: listener.local_addr().unwrap().port(),
            machine_port: 80,
            protocol: Protocol::Tcp,
        };
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        });
        Route::Vmm(vec![port])
    }

    #[test]
    fn a_connection_waits_until_the_machine_is_awake() {
        let (mut publisher, address) = published();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let ready = wait_readable(&[publisher.as_fd()], Some(deadline)).unwrap();
        assert_eq!(ready, [true]);
        publisher.clear();
        assert!(publisher.is_wanted());
        assert!(
            publisher.hold_if_idle(Duration::ZERO).is_err(),
            "a connection waits"
        );
        publisher.awake(machine());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "question");
        // It sleeps again once the connection has ended.
        while publisher.hold_if_idle(Duration::ZERO).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!publisher.is_wanted());
    }

    #[test]
    fn a_connection_is_closed_when_the_machine_does_not_wake_up() {
        let (mut publisher, address) = published();
        let mut client = TcpStream::connect(address).unwrap();
        while !publisher.is_wanted() {
            std::thread::sleep(Duration::from_millis(1));
        }
        publisher.give_up();
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
        assert!(!publisher.is_wanted());
    }

    #[test]
    fn hidden_ports_are_on_an_address_of_the_machine() {
        let ports = kraft_core::port::parse("8080-8081:80-81").unwrap();
        let (one, other) = (Id::new(), Id::new());
        let hidden_ports = hidden(&ports, one).unwrap();
        assert_eq!(hidden_ports.len(), 2);
        for port in &hidden_ports {
            assert!(
                port.host_ip.is_loopback() && port.host_ip != HOST,
                "{port:?}"
            );
            assert_ne!(port.host_port, 0);
        }
        assert_ne!(
            hidden_ports[0].host_ip,
            hidden(&ports, other).unwrap()[0].host_ip
        );
    }
}
