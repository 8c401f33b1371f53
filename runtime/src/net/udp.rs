//! UDP sockets.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::net::Ipv6Addr;

use smoltcp::phy::PacketMeta;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket as Udp, UdpMetadata};
use smoltcp::wire::{IpAddress, IpEndpoint, IpListenEndpoint, UdpPacket};

use super::address::{self, Address, Family};
use super::channel::Channel;
use super::device::IN_PIECES;
use super::long::Sender;
use super::pieces;
use super::ports::{self, Binding};
use super::socket::{
    BROADCAST, Base, Control, Kind, MTU_DISCOVERY, MTU_DISCOVERY6, Message, Received, Socket,
};
use super::stack::{self, Core, Station};
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::{Events, File};
use crate::fs::{self, Metadata};
use crate::mm::user;
use crate::task::WaitQueue;

/// Packets and bytes that wait to be sent.
const SENDING: (usize, usize) = (16, 16 << 10);
/// What was received continues at once, so that there is room for one packet only.
const RECEIVING: (usize, usize) = (2, 4 << 10);
/// Bytes of the headers of Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;
/// Bytes of the header of UDP.
const HEADER: usize = 8;
/// The most bytes that fit into a packet of Ethernet, by the version of IP. More are sent in
/// pieces.
const MOST_BYTES: [usize; 2] = [1500 - 28, 1500 - 48];
/// `FIONREAD`
const BYTES_TO_READ: usize = 0x541b;

/// What receives datagrams.
pub struct Datagrams {
    core: Core,
    /// The card by which the last datagram was sent.
    card: Cell<usize>,
    inbox: Rc<Channel>,
    queue: Rc<WaitQueue>,
    binding: RefCell<Option<Rc<Binding>>>,
    peer: Cell<Option<IpEndpoint>>,
    /// The address from which the peer is reached.
    source: Cell<Option<IpAddress>>,
    error: Cell<Option<Errno>>,
    /// Whether someone waits for space.
    full: Cell<bool>,
}

fn buffer((packets, bytes): (usize, usize)) -> PacketBuffer<'static> {
    PacketBuffer::new(
        alloc::vec![PacketMetadata::EMPTY; packets],
        alloc::vec![0; bytes],
    )
}

/// Gives a socket, in which nothing waits, room for the longest datagrams.
fn enlarge(socket: &mut Udp<'static>) -> Result<()> {
    if socket.send_queue() > 0 {
        return Err(Errno::AGAIN);
    }
    let mut bytes = Vec::new();
    let longest = bytes.try_reserve_exact(pieces::LONGEST);
    longest.map_err(|_| Errno::NOBUFS)?;
    bytes.resize(pieces::LONGEST, 0);
    let packets = alloc::vec![PacketMetadata::EMPTY; SENDING.0];
    let mut larger = Udp::new(buffer(RECEIVING), PacketBuffer::new(packets, bytes));
    larger
        .bind(socket.endpoint())
        .map_err(|_| Errno::ADDRNOTAVAIL)?;
    *socket = larger;
    Ok(())
}

impl Datagrams {
    /// How well a datagram fits the socket; not at all without a number.
    pub fn fitness(&self, to: IpEndpoint, from: IpEndpoint) -> Option<u8> {
        let binding = self.binding.borrow();
        let binding = binding.as_ref()?;
        if !binding.covers(to.addr) {
            return None;
        }
        let mut fitness = u8::from(binding.is_specific());
        if let Some(peer) = self.peer.get() {
            if peer != from {
                return None;
            }
            fitness += 2;
        }
        Some(fitness)
    }

    /// Takes what was received.
    pub fn deliver(&self, bytes: Vec<u8>, from: IpEndpoint) {
        // Not everything that has the port is from the peer.
        if self.peer.get().is_none_or(|peer| peer == from) {
            self.inbox.deliver(bytes, Address::Inet(from));
        }
    }

    /// What was sent could not be delivered: connected sockets are notified.
    pub fn unreachable(&self, to: IpEndpoint, error: Errno) {
        if self.peer.get() == Some(to) {
            self.error.set(Some(error));
            self.queue.wake();
        }
    }
}

impl Station for Datagrams {
    fn core(&self) -> &Core {
        &self.core
    }

    fn card(&self) -> usize {
        self.card.get()
    }

    fn changed(self: Rc<Self>) {
        let mut came: Vec<(Vec<u8>, IpEndpoint)> = Vec::new();
        let can_send = self.core.with(|socket: &mut Udp<'_>| {
            while let Ok((bytes, about)) = socket.recv() {
                came.push((bytes.to_vec(), about.endpoint));
            }
            socket.can_send()
        });
        for (bytes, from) in came {
            self.deliver(bytes, from);
        }
        if can_send && self.full.replace(false) {
            self.queue.wake();
        }
    }
}

/// A UDP socket.
pub struct UdpSocket {
    base: Base,
    datagrams: Rc<Datagrams>,
    /// Sends what is longer than a packet of IPv6.
    long: RefCell<Option<Rc<Sender>>>,
    shut: Cell<(bool, bool)>,
}

impl UdpSocket {
    /// A socket without an address.
    pub fn new(family: Family) -> Rc<UdpSocket> {
        let queue = Rc::new(WaitQueue::new());
        Rc::new(UdpSocket {
            base: Base::new(family, Kind::Datagram, 17),
            datagrams: Rc::new(Datagrams {
                core: Core::new(Udp::new(buffer(RECEIVING), buffer(SENDING))),
                card: Cell::new(0),
                inbox: Channel::new(queue.clone(), None),
                queue,
                binding: RefCell::default(),
                peer: Cell::new(None),
                source: Cell::new(None),
                error: Cell::new(None),
                full: Cell::new(false),
            }),
            long: RefCell::default(),
            shut: Cell::new((false, false)),
        })
    }

    fn bind_to(&self, endpoint: IpEndpoint) -> Result<Rc<Binding>> {
        let binding = ports::UDP.bind(&self.base, endpoint, |_| true)?;
        let listen = IpListenEndpoint {
            addr: binding.is_specific().then_some(binding.endpoint.addr),
            port: binding.endpoint.port,
        };
        self.datagrams
            .core
            .with(|socket: &mut Udp<'_>| socket.bind(listen))
            .map_err(|_| Errno::INVAL)?;
        *self.datagrams.binding.borrow_mut() = Some(binding.clone());
        stack::add_datagrams(binding.endpoint.port, &self.datagrams);
        Ok(binding)
    }

    /// The binding, made if there is none.
    fn bound(&self) -> Result<Rc<Binding>> {
        if let Some(binding) = &*self.datagrams.binding.borrow() {
            return Ok(binding.clone());
        }
        self.bind_to(IpEndpoint::new(address::any(self.base.family), 0))
    }

    fn send_local(&self, input: &mut Input<'_>, to: IpEndpoint, from: IpEndpoint) -> Result {
        let length = input.left();
        let Some(socket) = stack::find_datagrams(to, from) else {
            if self.datagrams.peer.get().is_some() {
                self.datagrams.error.set(Some(Errno::CONNREFUSED));
                self.datagrams.queue.wake();
            }
            return Ok(input.skip());
        };
        let source = Some(Address::Inet(from));
        match socket.inbox.send(input, source, &mut Control::default()) {
            // Without space it is lost, as on a network.
            Err(Errno::AGAIN | Errno::PIPE) => {
                input.skip();
                Ok(length)
            }
            other => other,
        }
    }

    /// Sends a datagram of IPv6 in pieces.
    fn send_long(
        &self,
        input: &mut Input<'_>,
        card: usize,
        from: Ipv6Addr,
        (to, port): (Ipv6Addr, u16),
    ) -> Result {
        let sender = self
            .long
            .borrow_mut()
            .get_or_insert_with(|| Sender::new(&self.datagrams.queue))
            .clone();
        if !sender.is_free() {
            return Err(Errno::AGAIN);
        }
        let binding = self.bound()?;
        let bytes = input.take_all(pieces::LONGEST)?;
        let mut datagram = Vec::new();
        let reserved = datagram.try_reserve_exact(HEADER + bytes.len());
        reserved.map_err(|_| Errno::NOBUFS)?;
        datagram.resize(HEADER, 0);
        datagram.extend_from_slice(&bytes);
        let mut packet = UdpPacket::new_unchecked(&mut datagram[..]);
        packet.set_src_port(binding.endpoint.port);
        packet.set_dst_port(port);
        packet.set_len((HEADER + bytes.len()) as u16);
        packet.fill_checksum(&from.into(), &to.into());
        sender.send(card, from, to, &datagram).map(|()| bytes.len())
    }

    fn send_card(&self, input: &mut Input<'_>, to: IpEndpoint, source: IpAddress) -> Result {
        let is_ipv6 = matches!(to.addr, IpAddress::Ipv6(_));
        let length = input.left();
        let card = stack::card_of(source);
        stack::seek(card, to.addr);
        let mut meta = PacketMeta::default();
        if length > MOST_BYTES[usize::from(is_ipv6)] {
            let discovery = if is_ipv6 {
                MTU_DISCOVERY6
            } else {
                MTU_DISCOVERY
            };
            // `IP_PMTUDISC_DO` and `IP_PMTUDISC_PROBE` forbid pieces.
            if matches!(self.base.number_option(discovery), Ok(2 | 3)) {
                return Err(Errno::MSGSIZE);
            }
            if let (IpAddress::Ipv6(source), IpAddress::Ipv6(address)) = (source, to.addr) {
                return self.send_long(input, card, source, (address, to.port));
            }
            stack::with_network(card, |network| {
                network.card.prepare_pieces(HEADERS + length)
            })
            .ok_or(Errno::NETUNREACH)??;
            // smoltcp hands the packet to the card as a whole, which splits it.
            meta.segmentation_offload_size = Some(IN_PIECES);
        }
        let datagrams = &self.datagrams;
        let elsewhere = datagrams.card.replace(card) != card;
        let sent = datagrams.core.with(|socket: &mut Udp<'static>| {
            if elsewhere && socket.send_queue() > 0 {
                // What still waits for a neighbour in the other network is lost, as on any network.
                let endpoint = socket.endpoint();
                socket.close();
                let _ = socket.bind(endpoint);
            }
            if length > socket.payload_send_capacity() {
                enlarge(socket)?;
            }
            let about = UdpMetadata {
                endpoint: to,
                local_address: Some(source),
                meta,
            };
            match socket.send(length, about) {
                Ok(room) => input.take(room).map(|_| ()),
                Err(_) => Err(Errno::AGAIN),
            }
        });
        datagrams.full.set(sent == Err(Errno::AGAIN));
        let station: Rc<dyn Station> = datagrams.clone();
        stack::serve(&station);
        sent.map(|()| length)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.datagrams.inbox.refuse();
        let binding = self.datagrams.binding.take();
        self.datagrams.core.with(|socket: &mut Udp<'_>| {
            if !socket.can_send() || socket.send_queue() == 0 {
                socket.close();
            }
        });
        if let Some(binding) = binding {
            stack::forget_datagrams(binding.endpoint.port, &self.datagrams);
        }
    }
}

impl File for UdpSocket {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        self.receive(out, Message::empty())
            .map(|received| received.length)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        self.send(input, None, &mut Control::default(), Message::empty())
    }

    fn ready(&self) -> Events {
        let datagrams = &self.datagrams;
        let mut events = Events::empty();
        let (receiving, sending) = self.shut.get();
        if !datagrams.inbox.is_empty() || receiving {
            events |= Events::IN;
        }
        if receiving {
            events |= Events::READ_HANG_UP;
        }
        if receiving && sending {
            events |= Events::HANG_UP;
        }
        let long = self.long.borrow().clone();
        let is_free = long.is_none_or(|sender| sender.is_free());
        if is_free
            && datagrams
                .core
                .with(|socket: &mut Udp<'_>| socket.can_send())
        {
            events |= Events::OUT;
        } else {
            datagrams.full.set(true);
        }
        if datagrams.error.get().is_some() {
            events |= Events::ERROR | Events::IN;
        }
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.datagrams.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(fs::Kind::Socket, self.base.number)
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        match request {
            BYTES_TO_READ => {
                user::write(argument, &(self.datagrams.inbox.unread(false) as u32))?;
                Ok(0)
            }
            _ => super::interfaces::control(request, argument),
        }
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for UdpSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, address: Address) -> Result<()> {
        let endpoint = super::bindable(&self.base, &address)?;
        if self.datagrams.binding.borrow().is_some() {
            return Err(Errno::INVAL);
        }
        self.bind_to(endpoint).map(|_| ())
    }

    fn connect(&self, address: Address) -> Result<()> {
        let datagrams = &self.datagrams;
        if address == Address::Unspecified {
            datagrams.peer.set(None);
            datagrams.source.set(None);
            return Ok(());
        }
        let mut to = address.endpoint()?;
        if to.addr.is_unspecified() {
            to.addr = super::loopback(to.addr);
        }
        super::check_family(&self.base, to.addr)?;
        let source = stack::source_for(to.addr).ok_or(Errno::NETUNREACH)?;
        self.bound()?;
        datagrams.source.set(Some(source));
        datagrams.peer.set(Some(to));
        Ok(())
    }

    fn local(&self) -> Address {
        let mut endpoint = match &*self.datagrams.binding.borrow() {
            Some(binding) => binding.endpoint,
            None => IpEndpoint::new(address::any(self.base.family), 0),
        };
        if endpoint.addr.is_unspecified()
            && let Some(source) = self.datagrams.source.get()
        {
            endpoint.addr = source;
        }
        Address::Inet(endpoint)
    }

    fn peer(&self) -> Result<Address> {
        let peer = self.datagrams.peer.get();
        peer.map(Address::Inet).ok_or(Errno::NOTCONN)
    }

    fn send(
        &self,
        input: &mut Input<'_>,
        address: Option<&Address>,
        _control: &mut Control,
        flags: Message,
    ) -> Result {
        if let Some(error) = self.datagrams.error.take() {
            return Err(error);
        }
        if self.shut.get().1 {
            return Err(super::socket::broken_pipe(flags));
        }
        let mut to = match address {
            Some(Address::Unspecified) | None => {
                self.datagrams.peer.get().ok_or(Errno::DESTADDRREQ)?
            }
            Some(address) => address.endpoint()?,
        };
        if to.addr.is_unspecified() {
            to.addr = super::loopback(to.addr);
        }
        super::check_family(&self.base, to.addr)?;
        if to.port == 0 || input.left() > 65_507 {
            return Err(if to.port == 0 {
                Errno::INVAL
            } else {
                Errno::MSGSIZE
            });
        }
        if to.addr.is_broadcast() && !self.base.is_on(BROADCAST) {
            return Err(Errno::ACCES);
        }
        let binding = self.bound()?;
        let mut from = binding.endpoint;
        if !binding.is_specific() || from.addr.is_multicast() {
            from.addr = stack::source_for(to.addr).ok_or(Errno::NETUNREACH)?;
        }
        if stack::is_own(to.addr) {
            self.send_local(input, to, from)
        } else {
            self.send_card(input, to, from.addr)
        }
    }

    fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if let Some(error) = self.datagrams.error.take() {
            return Err(error);
        }
        match self.datagrams.inbox.receive(out, flags) {
            Err(Errno::AGAIN) if self.shut.get().0 => Ok(Received::default()),
            other => other,
        }
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<()> {
        if self.datagrams.peer.get().is_none() {
            return Err(Errno::NOTCONN);
        }
        let shut = self.shut.get();
        self.shut.set((shut.0 || receiving, shut.1 || sending));
        self.datagrams.queue.wake();
        Ok(())
    }

    fn take_error(&self) -> Option<Errno> {
        self.datagrams.error.take()
    }
}
