//! The hosts of a card's network whose hardware addresses were heard of.
//!
//! smoltcp forgets all neighbors when the addresses of the card change, and asks for one of them a
//! second: whatever goes to another one waits as long. That a router of IPv6 answers right after the
//! first packets of IPv4 is enough for it. What was heard is repeated after such a change, and each
//! neighbor is asked for when something is about to be sent to it.
//!
//! Source: RFC 826 (IPv4), RFC 4861 (IPv6).

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::iface::Interface;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpAddress, IpCidr,
    IpProtocol, Ipv6Packet, Ipv6Repr, NdiscRepr,
};

use super::packet;
use crate::time::SECOND;

/// As many as smoltcp knows.
const MOST: usize = 64;
/// How long a neighbor is known, and how long an answer may take until it is asked for again.
const KNOWN: u64 = 60 * SECOND;
const PATIENCE: u64 = SECOND;
/// The longest frame that is kept.
const LONGEST: usize = 128;
/// Packets that passed a router have fewer hops left.
pub const NEARBY: u8 = 255;

struct Neighbor {
    address: IpAddress,
    /// When it was heard of or asked for.
    at: u64,
    /// The frame with its hardware address; empty if it was only asked for.
    frame: Vec<u8>,
}

/// The neighbors of a card.
#[derive(Default)]
pub struct Neighbors(Vec<Neighbor>);

/// Who a frame with a hardware address is from, if it is one that smoltcp learns from.
fn sender(frame: &[u8], interface: &Interface) -> Option<IpAddress> {
    if is_arp(frame) {
        let address = |at: usize| -> Option<IpAddress> {
            let octets: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        };
        let target = address(38)?;
        return address(28).filter(|_| interface.has_ip_addr(target));
    }
    let octets: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
    // A question for a neighbor or an answer.
    matches!(frame.get(54)?, 135 | 136).then(|| Ipv6Addr::from(octets).into())
}

fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 6])
}

/// Returns the answer to a host that asks for an address of the card from another network, which smoltcp
/// ignores. Linux asks with the address that its packet is from, which may be that of another card, and
/// `0.0.0.0` looks for who else has the address (RFC 5227, section 2.1.1).
pub fn answer_to_stranger(frame: &[u8], interface: &Interface, card: [u8; 6]) -> Option<Vec<u8>> {
    const REQUEST: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let asked = frame.get(..packet::ARP_REQUEST)?;
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = asked.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    };
    let (sender, target) = (address(28)?, address(38)?);
    let is_host = sender.is_unspecified() || IpAddress::from(sender).is_unicast();
    let is_known = |own: &IpCidr| own.contains_addr(&sender.into());
    if asked[12..22] != REQUEST
        || asked[22] & 1 != 0
        || !is_host
        || !interface.has_ip_addr(target)
        || interface.ip_addrs().iter().any(is_known)
    {
        return None;
    }
    let mut answer = asked.to_vec();
    answer[..6].copy_from_slice(&asked[22..28]);
    answer[6..12].copy_from_slice(&card);
    answer[21] = 2;
    answer[22..28].copy_from_slice(&card);
    answer[28..32].copy_from_slice(&target.octets());
    answer[32..38].copy_from_slice(&asked[22..28]);
    answer[38..42].copy_from_slice(&sender.octets());
    Some(answer)
}

impl Neighbors {
    /// Notes what a frame of ARP or ICMPv6 says about its sender.
    pub fn hear(&mut self, frame: &[u8], interface: &Interface, now: u64) {
        if let Some(address) = sender(frame, interface)
            && address.is_unicast()
            && frame.len() <= LONGEST
        {
            let mut frame = frame.to_vec();
            if is_arp(&frame) {
                // Who asked has its answer: what is repeated is no question.
                frame[21] = 2;
            }
            self.enter(address, now, frame);
        }
    }

    fn enter(&mut self, address: IpAddress, at: u64, frame: Vec<u8>) {
        self.0.retain(|known| known.address != address);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Neighbor { address, at, frame });
    }

    /// Whether the hardware address of a host is to be asked for now; then it is noted that it is.
    pub fn is_sought(&mut self, address: IpAddress, now: u64) -> bool {
        let known = self.0.iter().find(|known| known.address == address);
        let is_known = known.is_some_and(|known| {
            let lasts = if known.frame.is_empty() {
                PATIENCE
            } else {
                KNOWN
            };
            now.saturating_sub(known.at) < lasts
        });
        if !is_known {
            self.enter(address, now, Vec::new());
        }
        !is_known
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Makes addresses those of a card, which still knows its neighbors afterwards. `feed` gives the
/// interface a frame that the card has received.
pub fn change_addresses(
    interface: &mut Interface,
    addresses: &[IpCidr],
    neighbors: &Neighbors,
    now: u64,
    mut feed: impl FnMut(&mut Interface, &[u8]),
) {
    if interface.ip_addrs() == addresses {
        return;
    }
    interface.update_ip_addrs(|known| {
        known.clear();
        for &address in addresses {
            // The card has as many as there is room for.
            let _ = known.push(address);
        }
    });
    for neighbor in &neighbors.0 {
        if now.saturating_sub(neighbor.at) < KNOWN && !neighbor.frame.is_empty() {
            feed(interface, &neighbor.frame);
        }
    }
}

/// The neighbor to whom a card sends what is for an address; none if there is no way, or if it is
/// not for a single host.
pub fn next_hop(interface: &Interface, to: IpAddress) -> Option<IpAddress> {
    let own = interface.ip_addrs();
    if !to.is_unicast() || own.iter().any(|own| own.address() == to) {
        return None;
    }
    if own.iter().any(|own| own.contains_addr(&to)) {
        return Some(to);
    }
    let routes = interface.routes();
    Some(match to {
        IpAddress::Ipv4(_) => routes.get_default_ipv4_route()?.via_router,
        IpAddress::Ipv6(_) => routes.get_default_ipv6_route()?.via_router,
    })
}

/// The frame that asks for the hardware address of a neighbor.
pub fn question(card: [u8; 6], interface: &Interface, neighbor: IpAddress) -> Option<Vec<u8>> {
    Some(match neighbor {
        IpAddress::Ipv4(neighbor) => {
            let own = interface.get_source_address_ipv4(&neighbor)?;
            packet::arp_request(card, own, neighbor).to_vec()
        }
        IpAddress::Ipv6(neighbor) => {
            let [.., a, b, c] = neighbor.octets();
            let everyone = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
            let message = NdiscRepr::NeighborSolicit {
                target_addr: neighbor,
                lladdr: Some(EthernetAddress(card).into()),
            };
            let own = interface.get_source_address_ipv6(&neighbor);
            discovery(card, own, everyone.into(), message)
        }
    })
}

/// A frame for several hosts of the card's network that is about routers or neighbors of IPv6.
pub fn discovery(
    card: [u8; 6],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: NdiscRepr<'_>,
) -> Vec<u8> {
    let message = Icmpv6Repr::Ndisc(message);
    let header = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: NEARBY,
    };
    let length = EthernetFrame::<&[u8]>::buffer_len(header.buffer_len() + message.buffer_len());
    let mut bytes = alloc::vec![0; length];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(card));
    let [.., a, b, c, d] = destination.octets();
    frame.set_dst_addr(EthernetAddress([0x33, 0x33, a, b, c, d]));
    frame.set_ethertype(EthernetProtocol::Ipv6);
    let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
    header.emit(&mut packet);
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    let checksums = ChecksumCapabilities::default();
    message.emit(&source, &destination, &mut icmp, &checksums);
    bytes
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use smoltcp::iface::{Config, PollResult, SocketSet};
    use smoltcp::phy::{self, DeviceCapabilities, Medium};
    use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket as Udp};
    use smoltcp::time::Instant;

    use super::*;

    const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
    const GATEWAY_CARD: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

    /// A card with frames that it has received, and those that it has sent.
    #[derive(Default)]
    struct Wire {
        received: Option<Vec<u8>>,
        sent: Vec<Vec<u8>>,
    }

    struct Incoming(Vec<u8>);
    struct Outgoing<'a>(&'a mut Vec<Vec<u8>>);

    impl phy::RxToken for Incoming {
        fn consume<R, F: FnOnce(&[u8]) -> R>(self, body: F) -> R {
            body(&self.0)
        }
    }

    impl phy::TxToken for Outgoing<'_> {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, body: F) -> R {
            let mut frame = vec![0; length];
            let result = body(&mut frame);
            self.0.push(frame);
            result
        }
    }

    impl phy::Device for Wire {
        type RxToken<'a> = Incoming;
        type TxToken<'a> = Outgoing<'a>;

        fn receive(&mut self, _now: Instant) -> Option<(Incoming, Outgoing<'_>)> {
            Some((Incoming(self.received.take()?), Outgoing(&mut self.sent)))
        }

        fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
            Some(Outgoing(&mut self.sent))
        }

        fn capabilities(&self) -> DeviceCapabilities {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = 1514;
            capabilities
        }
    }

    /// A machine with a socket that sends datagrams.
    struct Machine {
        wire: Wire,
        interface: Interface,
        neighbors: Neighbors,
        sockets: SocketSet<'static>,
    }

    fn own() -> IpCidr {
        IpCidr::new(IpAddress::Ipv4(OWN), 24)
    }

    impl Machine {
        fn new() -> Machine {
            let mut wire = Wire::default();
            let config = Config::new(EthernetAddress(CARD).into());
            let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
            interface.update_ip_addrs(|known| known.push(own()).unwrap());
            let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 4], vec![0; 100]);
            let mut socket = Udp::new(buffer(), buffer());
            socket.bind(7).unwrap();
            let mut sockets = SocketSet::new(Vec::new());
            sockets.add(socket);
            Machine {
                wire,
                interface,
                neighbors: Neighbors::default(),
                sockets,
            }
        }

        fn hear(&mut self, frame: &[u8], millis: i64) {
            self.neighbors
                .hear(frame, &self.interface, millis as u64 * 1_000_000);
            self.wire.received = Some(frame.to_vec());
            self.interface.poll_ingress_single(
                Instant::from_millis(millis),
                &mut self.wire,
                &mut self.sockets,
            );
        }

        /// Sends a datagram to the gateway; returns the kinds of the frames that went out.
        fn send(&mut self, millis: i64) -> Vec<[u8; 2]> {
            for (_, socket) in self.sockets.iter_mut() {
                if let smoltcp::socket::Socket::Udp(socket) = socket {
                    socket.send_slice(b"x", (GATEWAY, 9)).unwrap();
                }
            }
            self.wire.sent.clear();
            let now = Instant::from_millis(millis);
            while self
                .interface
                .poll_egress(now, &mut self.wire, &mut self.sockets)
                != PollResult::None
            {}
            let sent = self.wire.sent.iter();
            sent.map(|frame| [frame[12], frame[13]]).collect()
        }
    }

    const ARP: [u8; 2] = [8, 6];
    const IPV4: [u8; 2] = [8, 0];

    fn answer() -> Vec<u8> {
        let mut frame = packet::arp_request(GATEWAY_CARD, GATEWAY, OWN).to_vec();
        frame[..6].copy_from_slice(&CARD);
        frame[21] = 2;
        frame
    }

    #[test]
    fn a_card_with_another_address_still_knows_its_neighbors() {
        let mut machine = Machine::new();
        assert_eq!(machine.send(1), [ARP]);
        machine.hear(&answer(), 2);
        assert_eq!(machine.send(3), [IPV4; 2]);
        // A router announces a network.
        let routed = IpCidr::new(IpAddress::v6(0xfec0, 0, 0, 0, 0, 0, 0, 5), 64);
        let Machine {
            wire,
            interface,
            neighbors,
            sockets,
        } = &mut machine;
        let addresses = [own(), routed];
        change_addresses(interface, &addresses, neighbors, 4_000_000, |it, frame| {
            wire.received = Some(frame.to_vec());
            it.poll_ingress_single(Instant::from_millis(4), wire, sockets);
        });
        assert_eq!(machine.interface.ip_addrs(), addresses);
        assert_eq!(machine.send(5), [IPV4]);
    }

    #[test]
    fn the_same_addresses_change_nothing() {
        let mut machine = Machine::new();
        machine.hear(&answer(), 2);
        let none = Neighbors::default();
        change_addresses(&mut machine.interface, &[own()], &none, 0, |_, _| panic!());
        assert_eq!(machine.send(3), [IPV4]);
    }

    #[test]
    fn a_neighbor_is_asked_for_until_it_answers() {
        let gateway = IpAddress::Ipv4(GATEWAY);
        let mut neighbors = Neighbors::default();
        let interface = Machine::new().interface;
        assert!(neighbors.is_sought(gateway, 0));
        assert!(!neighbors.is_sought(gateway, PATIENCE - 1));
        assert!(neighbors.is_sought(gateway, PATIENCE));
        neighbors.hear(&answer(), &interface, PATIENCE + 1);
        assert!(!neighbors.is_sought(gateway, PATIENCE + KNOWN));
        assert!(neighbors.is_sought(gateway, PATIENCE + 1 + KNOWN));
        neighbors.hear(&answer(), &interface, 0);
        neighbors.clear();
        assert!(neighbors.is_sought(gateway, 1));
    }

    #[test]
    fn no_more_neighbors_are_kept_than_there_is_room_for() {
        let mut neighbors = Neighbors::default();
        let interface = Machine::new().interface;
        for last in 0..=255 {
            neighbors.is_sought(IpAddress::v4(10, 0, 2, last), 0);
        }
        assert_eq!(neighbors.0.len(), MOST);
        for length in 0..42 {
            neighbors.hear(&answer()[..length], &interface, 0);
        }
        let long = [answer(), vec![0; LONGEST]].concat();
        neighbors.hear(&long, &interface, 0);
        assert!(neighbors.0.iter().all(|known| known.frame.is_empty()));
    }

    #[test]
    fn the_way_to_an_address_is_its_host_or_the_gateway() {
        let mut machine = Machine::new();
        let interface = &mut machine.interface;
        let (near, far) = (IpAddress::v4(10, 0, 2, 3), IpAddress::v4(192, 0, 2, 1));
        assert_eq!(next_hop(interface, near), Some(near));
        assert_eq!(next_hop(interface, far), None);
        let routes = interface.routes_mut();
        routes.add_default_ipv4_route(GATEWAY).unwrap();
        assert_eq!(next_hop(interface, far), Some(GATEWAY.into()));
        for nobody in [
            IpAddress::Ipv4(OWN),
            IpAddress::v4(255, 255, 255, 255),
            IpAddress::v4(224, 0, 0, 1),
            IpAddress::v4(0, 0, 0, 0),
        ] {
            assert_eq!(next_hop(interface, nobody), None);
        }
    }

    #[test]
    fn a_question_is_one_that_a_neighbor_answers() {
        let mut machine = Machine::new();
        let own6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);
        machine
            .interface
            .update_ip_addrs(|known| known.push(IpCidr::new(own6.into(), 64)).unwrap());
        let neighbor = IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);
        let frame = question(CARD, &machine.interface, neighbor).unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        // The neighbor hears from whom the question is, and answers with its own address.
        let mut other = Machine::new();
        let cidr = IpCidr::new(neighbor, 64);
        let interface = &mut other.interface;
        interface.update_ip_addrs(|known| known.push(cidr).unwrap());
        other.hear(&frame, 1);
        assert_eq!(other.neighbors.0[0].address, IpAddress::Ipv6(own6));
        assert_eq!(other.wire.sent.len(), 1);
        let answer = other.wire.sent.remove(0);
        machine.hear(&answer, 1);
        assert_eq!(machine.neighbors.0[0].address, neighbor);
    }

    #[test]
    fn a_host_that_asks_from_another_network_is_answered() {
        let machine = Machine::new();
        let stranger = [2, 0x42, 0xde, 0x46, 0x39, 0xba];
        let answer = |sender: Ipv4Addr, target: Ipv4Addr| {
            let frame = packet::arp_request(stranger, sender, target);
            answer_to_stranger(&frame, &machine.interface, CARD)
        };
        for sender in [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::UNSPECIFIED] {
            let frame = answer(sender, OWN).unwrap();
            let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
            assert_eq!((frame.dst_addr().0, frame.src_addr().0), (stranger, CARD));
            let arp = smoltcp::wire::ArpPacket::new_checked(frame.payload()).unwrap();
            let expected = smoltcp::wire::ArpRepr::EthernetIpv4 {
                operation: smoltcp::wire::ArpOperation::Reply,
                source_hardware_addr: EthernetAddress(CARD),
                source_protocol_addr: OWN,
                target_hardware_addr: EthernetAddress(stranger),
                target_protocol_addr: sender,
            };
            assert_eq!(smoltcp::wire::ArpRepr::parse(&arp).unwrap(), expected);
        }
        assert_eq!(answer(GATEWAY, OWN), None, "smoltcp answers");
        assert_eq!(answer(Ipv4Addr::new(10, 77, 0, 1), GATEWAY), None);
        assert_eq!(answer(Ipv4Addr::BROADCAST, OWN), None);
        let short = packet::arp_request(stranger, Ipv4Addr::UNSPECIFIED, OWN);
        assert_eq!(
            answer_to_stranger(&short[..41], &machine.interface, CARD),
            None
        );
        let reply = answer(Ipv4Addr::UNSPECIFIED, OWN).unwrap();
        assert_eq!(answer_to_stranger(&reply, &machine.interface, CARD), None);
    }
}
