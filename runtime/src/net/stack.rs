//! The network as packets: which socket each is for, when each socket sends, and by which card.
//!
//! smoltcp looks for the socket of a packet in a list. Here each socket has a list of its own
//! and is found by its addresses before smoltcp sees the packet, so that many connections
//! cost no more than few.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::AnySocket;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use super::check_memory;
use super::device::{Card, Link};
use super::dhcp::Lease;
use super::early::{self, Early};
use super::neighbors::{self, Neighbors};
use super::packet::{self, Packet};
use super::pieces::Pieces;
use super::router;
use super::tcp::{Connection, Listener};
use super::udp::Datagrams;
use crate::arch;
use crate::random;
use crate::sync::Global;
use crate::task::Wake;
use crate::time::{self, Alarm, SECOND};

/// The most packets that are received or sent before others have their turn.
const MOST_PACKETS: usize = 512;
/// How long the ends of a connection that is over are remembered.
const REMEMBER: u64 = 10 * SECOND;
/// How many are remembered.
const MOST_REMEMBERED: usize = 1024;
/// The most cards, which is how many Unikraft's kernels take settings for, too.
const MOST_CARDS: usize = 4;

/// Both ends of a connection, the own one first.
pub type Flow = (IpEndpoint, IpEndpoint);

/// A card with the state of its protocols.
pub struct Network {
    /// The protocols.
    pub interface: Interface,
    /// The driver.
    pub card: Card,
    /// What it heard of other hosts of its network.
    neighbors: Neighbors,
}

impl Network {
    /// Changes the addresses of the card.
    pub fn change_addresses(&mut self, change: impl FnOnce(&mut Vec<IpCidr>)) {
        let mut addresses = self.interface.ip_addrs().to_vec();
        change(&mut addresses);
        self.set_addresses(&addresses);
    }

    fn set_addresses(&mut self, addresses: &[IpCidr]) {
        let Network {
            interface,
            card,
            neighbors,
        } = self;
        let at = arch::monotonic();
        neighbors::change_addresses(interface, addresses, neighbors, at, |interface, frame| {
            receive(interface, card, frame, &mut SocketSet::new(Vec::new()));
        });
    }

    /// Forgets the other hosts of the network.
    pub fn forget_neighbors(&mut self) {
        self.neighbors.clear();
    }

    /// Asks for the hardware address of the host to which a packet for an address goes first,
    /// unless it is known.
    fn seek(&mut self, to: IpAddress) {
        if let Some(hop) = neighbors::next_hop(&self.interface, to)
            && self.neighbors.is_sought(hop, arch::monotonic())
            && let Some(frame) = neighbors::question(self.card.address(), &self.interface, hop)
        {
            self.card.transmit(&frame);
        }
    }
}

/// Gives a packet to smoltcp with the socket that it is for.
fn receive(interface: &mut Interface, card: &mut Card, bytes: &[u8], sockets: &mut SocketSet<'_>) {
    let mut link = Link {
        card,
        packet: Some(bytes),
    };
    interface.poll_ingress_single(now(), &mut link, sockets);
}

struct Stack {
    networks: RefCell<Vec<Network>>,
    connections: RefCell<BTreeMap<Flow, Rc<Connection>>>,
    listeners: RefCell<BTreeMap<u16, Vec<Rc<Listener>>>>,
    datagrams: RefCell<BTreeMap<u16, Vec<Weak<Datagrams>>>>,
    lease: RefCell<Option<Rc<Lease>>>,
    /// Connections that are over and may still be asked about.
    over: RefCell<VecDeque<(u64, Flow)>>,
    /// Connections that were attempted before anyone listened.
    early: RefCell<Early>,
    /// Packets that come in pieces.
    pieces: RefCell<Pieces>,
    /// Who wants to send when.
    timers: RefCell<BTreeMap<(u64, u64), Rc<dyn Station>>>,
    /// Who found the card busy.
    blocked: RefCell<Vec<Rc<dyn Station>>>,
    alarm: Cell<Option<(u64, Alarm)>>,
    next: Cell<u64>,
}

static STACK: Global<Stack> = Global::new(Stack {
    networks: RefCell::new(Vec::new()),
    connections: RefCell::new(BTreeMap::new()),
    listeners: RefCell::new(BTreeMap::new()),
    datagrams: RefCell::new(BTreeMap::new()),
    lease: RefCell::new(None),
    over: RefCell::new(VecDeque::new()),
    early: RefCell::new(Early::new()),
    pieces: RefCell::new(Pieces::new()),
    timers: RefCell::new(BTreeMap::new()),
    blocked: RefCell::new(Vec::new()),
    alarm: Cell::new(None),
    next: Cell::new(0),
});

/// A socket of smoltcp in a list of its own.
pub struct Core {
    sockets: RefCell<SocketSet<'static>>,
    handle: SocketHandle,
    id: u64,
    /// When it is in the list of timers.
    deadline: Cell<Option<u64>>,
    /// Whether it is served after the packets that are there.
    touched: Cell<bool>,
}

impl Core {
    /// Wraps a socket.
    pub fn new(socket: impl AnySocket<'static>) -> Core {
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let id = STACK.next.get();
        STACK.next.set(id + 1);
        Core {
            sockets: RefCell::new(sockets),
            handle,
            id,
            deadline: Cell::new(None),
            touched: Cell::new(false),
        }
    }

    /// Does something with the socket.
    pub fn with<S: AnySocket<'static>, R>(&self, body: impl FnOnce(&mut S) -> R) -> R {
        body(self.sockets.borrow_mut().get_mut(self.handle))
    }
}

/// Someone with a socket of smoltcp.
pub trait Station {
    /// The socket.
    fn core(&self) -> &Core;

    /// The card by which it sends.
    fn card(&self) -> usize;

    /// Something may have changed: notifies those who wait.
    fn changed(self: Rc<Self>);
}

struct Ring;

impl Wake for Ring {
    fn wake(&self) {
        STACK.alarm.set(None);
        poll();
    }
}

fn now() -> Instant {
    Instant::from_micros((arch::monotonic() / 1000) as i64)
}

/// Takes a card that the machine has, and returns its number; none if it has too many.
pub fn attach(mut card: Card) -> Option<usize> {
    let number = count();
    if number == MOST_CARDS {
        return None;
    }
    let address = HardwareAddress::Ethernet(EthernetAddress(card.address()));
    let mut config = Config::new(address);
    config.random_seed = random::number();
    let mut link = Link {
        card: &mut card,
        packet: None,
    };
    let interface = Interface::new(config, &mut link, now());
    STACK.networks.borrow_mut().push(Network {
        interface,
        card,
        neighbors: Neighbors::default(),
    });
    Some(number)
}

/// How many cards there are.
pub fn count() -> usize {
    STACK.networks.borrow().len()
}

/// Notifies a card that its interrupt was seen.
pub fn acknowledge_interrupt(card: usize) {
    with_network(card, |network| network.card.acknowledge());
}

/// Does something with a card, if there is one of that number.
pub fn with_network<R>(card: usize, body: impl FnOnce(&mut Network) -> R) -> Option<R> {
    STACK.networks.borrow_mut().get_mut(card).map(body)
}

/// The card that has an address; the first one for any other address.
pub fn card_of(address: IpAddress) -> usize {
    let networks = STACK.networks.borrow();
    if networks.len() < 2 {
        return 0;
    }
    networks
        .iter()
        .position(|network| network.interface.has_ip_addr(address))
        .unwrap_or(0)
}

/// Whether an address is one of this machine.
pub fn is_own(address: IpAddress) -> bool {
    address.is_unspecified()
        || match address {
            IpAddress::Ipv4(address) => address.is_loopback(),
            IpAddress::Ipv6(address) => address.is_loopback(),
        }
        || STACK
            .networks
            .borrow()
            .iter()
            .any(|network| network.interface.has_ip_addr(address))
}

/// The address from which packets go to another one; none without a way there. The network of
/// a card goes before gateways, and the gateway of an earlier card before that of a later one.
pub fn source_for(address: IpAddress) -> Option<IpAddress> {
    if is_own(address) {
        return Some(address);
    }
    let networks = STACK.networks.borrow();
    let near = networks.iter().find(|network| {
        let own = network.interface.ip_addrs();
        own.iter().any(|own| own.contains_addr(&address))
    });
    let everyone = address.is_multicast() || address.is_broadcast();
    let far = || {
        networks.iter().find(|network| {
            let routes = network.interface.routes();
            everyone
                || match address {
                    IpAddress::Ipv4(_) => routes.get_default_ipv4_route().is_some(),
                    IpAddress::Ipv6(_) => routes.get_default_ipv6_route().is_some(),
                }
        })
    };
    near.or_else(far)?
        .interface
        .get_source_address(&address)
        .filter(|source| !source.is_unspecified())
}

/// Asks for the hardware address of the host to which a card sends what is for an address,
/// unless it is known: before anything is sent.
pub fn seek(card: usize, to: IpAddress) {
    with_network(card, |network| network.seek(to));
}

/// Enters a connection.
pub fn add_connection(connection: Rc<Connection>) {
    let flow = connection.flow();
    seek(connection.card(), flow.1.addr);
    STACK.connections.borrow_mut().insert(flow, connection);
}

/// Whether a connection has these ends.
pub fn has_connection(flow: &Flow) -> bool {
    STACK.connections.borrow().contains_key(flow)
}

/// Forgets a connection that is over; `late` packets are answered for a while.
pub fn remove_connection(connection: &Rc<Connection>, late: bool) {
    let flow = connection.flow();
    let removed = {
        let mut connections = STACK.connections.borrow_mut();
        match connections.get(&flow) {
            Some(known) if Rc::ptr_eq(known, connection) => connections.remove(&flow),
            _ => None,
        }
    };
    if removed.is_some() && late {
        let mut over = STACK.over.borrow_mut();
        over.push_back((arch::monotonic() + REMEMBER, flow));
        if over.len() > MOST_REMEMBERED {
            over.pop_front();
        }
    }
    let timer = unschedule(connection.core());
    drop((removed, timer));
}

/// Enters a socket that listens, and gives it the connections that were attempted before.
pub fn add_listener(listener: Rc<Listener>) {
    let port = listener.binding.endpoint.port;
    STACK
        .listeners
        .borrow_mut()
        .entry(port)
        .or_default()
        .push(listener);
    let attempts = STACK.early.borrow_mut().take(port);
    for attempt in attempts {
        let kind = packet::classify(&attempt.frame);
        if let Some(station) = deliver(attempt.card, kind, &attempt.frame) {
            serve(&station);
        }
    }
}

/// Forgets a socket that does not listen any more.
pub fn remove_listener(listener: &Rc<Listener>) {
    let port = listener.binding.endpoint.port;
    let mut listeners = STACK.listeners.borrow_mut();
    if let Some(list) = listeners.get_mut(&port) {
        list.retain(|other| !Rc::ptr_eq(other, listener));
        if list.is_empty() {
            listeners.remove(&port);
        }
    }
}

/// Who listens at an address; several share the connections by the port they come from.
pub fn find_listener(to: IpEndpoint, from_port: u16) -> Option<Rc<Listener>> {
    let listeners = STACK.listeners.borrow();
    let list = listeners.get(&to.port)?;
    for specific in [true, false] {
        let fitting = || {
            list.iter().filter(|listener| {
                listener.binding.is_specific() == specific && listener.binding.covers(to.addr)
            })
        };
        let count = fitting().count();
        if count > 0 {
            return fitting().nth(usize::from(from_port) % count).cloned();
        }
    }
    None
}

/// Enters a socket that receives datagrams.
pub fn add_datagrams(port: u16, datagrams: &Rc<Datagrams>) {
    STACK
        .datagrams
        .borrow_mut()
        .entry(port)
        .or_default()
        .push(Rc::downgrade(datagrams));
}

/// Forgets a socket that receives no datagrams any more.
pub fn forget_datagrams(port: u16, gone: &Rc<Datagrams>) {
    let mut datagrams = STACK.datagrams.borrow_mut();
    if let Some(list) = datagrams.get_mut(&port) {
        list.retain(|other| other.as_ptr() != Rc::as_ptr(gone));
        if list.is_empty() {
            datagrams.remove(&port);
        }
    }
}

/// The socket for a datagram: one that is connected to the sender goes before others.
pub fn find_datagrams(to: IpEndpoint, from: IpEndpoint) -> Option<Rc<Datagrams>> {
    let datagrams = STACK.datagrams.borrow();
    let list = datagrams.get(&to.port)?;
    list.iter()
        .filter_map(Weak::upgrade)
        .filter_map(|socket| Some((socket.fitness(to, from)?, socket)))
        .max_by_key(|(fitness, _)| *fitness)
        .map(|(_, socket)| socket)
}

/// Enters who waits for an address from a server.
pub fn set_lease(lease: Rc<Lease>) {
    *STACK.lease.borrow_mut() = Some(lease);
}

/// Receives and sends what there is.
pub fn poll() {
    let cards = count();
    if cards == 0 {
        return;
    }
    let mut touched: Vec<Rc<dyn Station>> = Vec::new();
    let mut neighbors = false;
    let mut left = MOST_PACKETS;
    let late = STACK.early.borrow_mut().take_late(arch::monotonic());
    for attempt in late {
        deliver(
            attempt.card,
            packet::classify(&attempt.frame),
            &attempt.frame,
        );
    }
    for card in 0..cards {
        while left > 0
            && let Some(packet) = with_network(card, |network| network.card.receive()).flatten()
        {
            left -= 1;
            if !packet.is_intact() {
                with_network(card, |network| network.card.recycle(packet));
                continue;
            }
            let kind = packet::classify(packet.bytes());
            neighbors |= kind == Packet::Neighbor;
            if let Some(station) = deliver(card, kind, packet.bytes())
                && !station.core().touched.replace(true)
            {
                touched.push(station);
            }
            with_network(card, |network| network.card.recycle(packet));
        }
    }
    let blocked = core::mem::take(&mut *STACK.blocked.borrow_mut());
    for station in touched.iter().chain(&blocked) {
        station.core().touched.set(false);
        send_for(station);
    }
    ring(neighbors);
    for card in 0..cards {
        with_network(card, |network| network.card.flush());
    }
    if left == 0 {
        set_alarm(arch::monotonic());
    } else if !STACK.early.borrow().is_empty() {
        set_alarm(early::GRACE);
    }
}

/// Serves who has a time that is over, or everyone who has any.
fn ring(all: bool) {
    let now = arch::monotonic();
    let limit = if all { u64::MAX } else { now };
    let mut due = Vec::new();
    {
        let mut timers = STACK.timers.borrow_mut();
        while let Some(entry) = timers.first_entry() {
            if entry.key().0 > limit {
                break;
            }
            let station = entry.remove();
            station.core().deadline.set(None);
            due.push(station);
        }
    }
    for station in due {
        send_for(&station);
    }
    let next = STACK.timers.borrow().keys().next().map(|key| key.0);
    if let Some(next) = next {
        set_alarm(next);
    }
}

/// Makes sure that [`poll`] is called at `deadline`.
fn set_alarm(deadline: u64) {
    if let Some((set, alarm)) = STACK.alarm.get() {
        if set <= deadline {
            return;
        }
        time::cancel_alarm(alarm);
    }
    let alarm = time::set_alarm(deadline, Rc::new(Ring));
    STACK.alarm.set(Some((deadline, alarm)));
}

fn unschedule(core: &Core) -> Option<Rc<dyn Station>> {
    let deadline = core.deadline.take()?;
    STACK.timers.borrow_mut().remove(&(deadline, core.id))
}

/// Sends what a socket has to send, notes when it wants to again, and notifies those who wait for it.
pub fn serve(station: &Rc<dyn Station>) {
    send_for(station);
    with_network(station.card(), |network| network.card.flush());
}

/// As [`serve`], without notifying the card.
fn send_for(station: &Rc<dyn Station>) {
    let core = station.core();
    let next = with_network(station.card(), |network| {
        let mut sockets = core.sockets.borrow_mut();
        let now = now();
        let Network {
            interface, card, ..
        } = network;
        for _ in 0..MOST_PACKETS {
            let mut link = Link { card, packet: None };
            if interface.poll_egress(now, &mut link, &mut sockets) == PollResult::None {
                break;
            }
        }
        if card.take_exhausted() {
            return None;
        }
        Some(interface.poll_at(now, &sockets))
    });
    match next {
        Some(Some(Some(at))) => {
            // What wants to send now although it just could has to wait a little.
            let at = at.total_micros().max(0) as u64 * 1000;
            schedule(station, at.max(arch::monotonic() + 100_000));
        }
        Some(None) => STACK.blocked.borrow_mut().push(station.clone()),
        _ => {}
    }
    station.clone().changed();
}

/// Puts a socket into the list of timers. One that is there with an earlier time stays: it
/// is looked at again then.
fn schedule(station: &Rc<dyn Station>, at: u64) {
    let core = station.core();
    if core.deadline.get().is_some_and(|deadline| deadline <= at) {
        return;
    }
    let old = unschedule(core);
    core.deadline.set(Some(at));
    STACK
        .timers
        .borrow_mut()
        .insert((at, core.id), station.clone());
    set_alarm(at);
    drop(old);
}

/// Gives a packet of a card to smoltcp with the socket that it is for.
fn feed(card: usize, bytes: &[u8], core: Option<&Core>) {
    with_network(card, |network| {
        let Network {
            interface, card, ..
        } = network;
        match core {
            Some(core) => receive(interface, card, bytes, &mut core.sockets.borrow_mut()),
            None => receive(interface, card, bytes, &mut SocketSet::new(Vec::new())),
        }
    });
}

/// Gives a packet of a card to whom it is for.
fn deliver(card: usize, kind: Packet, bytes: &[u8]) -> Option<Rc<dyn Station>> {
    match kind {
        Packet::Tcp {
            source,
            destination,
            flags,
        } => deliver_segment(card, (destination, source), flags, bytes),
        Packet::Udp {
            source,
            destination,
        } => {
            let lease = STACK.lease.borrow().clone();
            if let Some(lease) = lease.filter(|it| destination.port == 68 && it.card() == card) {
                feed(card, bytes, Some(lease.core()));
                return Some(lease);
            }
            let socket = find_datagrams(destination, source);
            let core = socket.as_ref().map(|socket| socket.core());
            feed(card, bytes, core);
            socket.map(|socket| socket as Rc<dyn Station>)
        }
        Packet::Unreachable {
            protocol,
            source,
            destination,
            error,
        } => {
            if protocol == 6 {
                let connection = STACK
                    .connections
                    .borrow()
                    .get(&(source, destination))
                    .cloned()?;
                connection.unreachable(error);
                return Some(connection);
            }
            let socket = find_datagrams(source, destination)?;
            socket.unreachable(destination, error);
            None
        }
        Packet::Piece => {
            deliver_piece(card, bytes);
            None
        }
        Packet::Neighbor => {
            with_network(card, |network| {
                let now = arch::monotonic();
                network.neighbors.hear(bytes, &network.interface, now);
                let hardware = network.card.address();
                if let Some(answer) =
                    neighbors::answer_to_stranger(bytes, &network.interface, hardware)
                {
                    network.card.send_frame(&answer);
                }
            });
            router::hear(card, bytes);
            feed(card, bytes, None);
            None
        }
        Packet::Other => {
            feed(card, bytes, None);
            None
        }
    }
}

/// Takes a piece of a datagram of a card; the last one brings the datagram to whom it is for.
fn deliver_piece(card: usize, bytes: &[u8]) {
    if check_memory().is_err() {
        return;
    }
    let datagram = STACK.pieces.borrow_mut().add(bytes, arch::monotonic());
    let Some(datagram) = datagram else { return };
    let to = datagram.destination.addr;
    let own = with_network(card, |network| network.interface.has_ip_addr(to)).unwrap_or(false);
    if (own || to.is_broadcast())
        && let Some(socket) = find_datagrams(datagram.destination, datagram.source)
    {
        socket.deliver(datagram.bytes, datagram.source);
    }
}

fn deliver_segment(card: usize, flow: Flow, flags: u8, bytes: &[u8]) -> Option<Rc<dyn Station>> {
    let known = STACK.connections.borrow().get(&flow).cloned();
    let begins = flags & (packet::SYN | packet::ACK | packet::RST) == packet::SYN;
    if let Some(connection) = known {
        // Who was in TIME-WAIT may begin again (RFC 9293, section 3.10.7.4).
        if !(begins && connection.is_over()) {
            if flags & packet::RST != 0 {
                connection.see_reset();
            }
            feed(card, bytes, Some(connection.core()));
            return Some(connection);
        }
        remove_connection(&connection, false);
    }
    if begins {
        let own = has_address(card, flow.0.addr);
        if own == Some(true)
            && let Some(listener) = find_listener(flow.0, flow.1.port)
        {
            // Without space the packet is lost, and comes again.
            let connection = Connection::incoming(&listener, flow)?;
            add_connection(connection.clone());
            feed(card, bytes, Some(connection.core()));
            return Some(connection);
        }
        let now = arch::monotonic();
        if own != Some(false) && STACK.early.borrow_mut().keep(card, flow, bytes, now) {
            return None;
        }
    } else if flags & packet::RST == 0 && was_open(&flow) {
        // The last acknowledgement was lost, or something came late: a reset would take from
        // the other side what it has not read yet.
        return None;
    }
    feed(card, bytes, None);
    None
}

/// Whether a card has an address; none while it has none of that kind at all, and waits for one.
fn has_address(card: usize, address: IpAddress) -> Option<bool> {
    with_network(card, |network| {
        let own = network.interface.ip_addrs();
        let version = |own: &IpCidr| own.address().version() == address.version();
        own.iter()
            .any(version)
            .then(|| network.interface.has_ip_addr(address))
    })
    .flatten()
}

fn was_open(flow: &Flow) -> bool {
    let now = arch::monotonic();
    let mut over = STACK.over.borrow_mut();
    while over.front().is_some_and(|(until, _)| *until < now) {
        over.pop_front();
    }
    over.iter().any(|(_, other)| other == flow)
}
