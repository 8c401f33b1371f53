//! Addresses and a gateway from the routers of a network (IPv6).
//!
//! A card asks a few times whether there is a router and is silent then: a machine whose network
//! has none does not wake up for it. What a router announces later counts, too.
//!
//! Source: RFC 4861 (routers), RFC 4862 (addresses), RFC 8106 (name servers).

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::Ipv6Addr;

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Message, Icmpv6Packet, IpAddress,
    IpCidr, IpProtocol, Ipv6Cidr, Ipv6Packet, NdiscRepr,
};

use super::neighbors::{self, NEARBY};
use super::settings::{self, Setting};
use super::stack;
use crate::arch;
use crate::fs::Place;
use crate::random;
use crate::sync::Global;
use crate::task::Wake;
use crate::time::{self, Alarm, SECOND};

/// How often a card asks, and how long it waits before it asks again.
const QUESTIONS: u8 = 3;
const INTERVAL: u64 = 4 * SECOND;
/// The first question comes at some time before this one, so that machines that start together
/// do not ask together.
const FIRST: u64 = SECOND / 5;
/// The most addresses that a card takes from routers.
const MOST_ADDRESSES: usize = 4;
/// The most name servers of an announcement that count.
const MOST_SERVERS: usize = 3;
/// A router that no one knows cannot shorten the life of an address below this.
const SHORTEST: u64 = 2 * 3600 * SECOND;
/// The number of seconds that stands for ever.
const FOR_EVER: u32 = u32::MAX;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A network in which addresses are free to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    start: [u8; 8],
    /// Whether its addresses are reached without the router.
    is_near: bool,
    /// Seconds.
    lifetime: u32,
}

/// What a router announces.
#[derive(Debug, PartialEq, Eq)]
struct Advertisement {
    router: Ipv6Addr,
    /// Seconds for which the router is one; 0 if it is none.
    lifetime: u16,
    prefixes: Vec<Prefix>,
    servers: Vec<Ipv6Addr>,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn seconds(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Reads a frame; `None` unless it is an announcement that is valid.
fn parse(frame: &[u8]) -> Option<Advertisement> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv6 {
        return None;
    }
    let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let near = packet.hop_limit() == NEARBY && source.is_unicast_link_local();
    if packet.next_header() != IpProtocol::Icmpv6 || !near {
        return None;
    }
    let bytes = packet.payload();
    let message = Icmpv6Packet::new_checked(bytes).ok()?;
    let announces = message.msg_type() == Icmpv6Message::RouterAdvert && message.msg_code() == 0;
    if !announces || !message.verify_checksum(&source, &destination) {
        return None;
    }
    let mut advertisement = Advertisement {
        router: source,
        lifetime: u16::from_be_bytes(array(bytes, 6)?),
        prefixes: Vec::new(),
        servers: Vec::new(),
    };
    let mut options = bytes.get(16..)?;
    while !options.is_empty() {
        // The length is in units of eight bytes; none has no length.
        let length = usize::from(*options.get(1)?) * 8;
        let (option, rest) = options.split_at_checked(length).filter(|_| length > 0)?;
        advertisement.take_option(option);
        options = rest;
    }
    Some(advertisement)
}

impl Advertisement {
    fn take_option(&mut self, option: &[u8]) {
        match option {
            [3, 4, 64, flags, ..] if flags & 0x40 != 0 => {
                self.take_prefix(option, flags & 0x80 != 0)
            }
            [25, ..] if seconds(option, 4).is_some_and(|lifetime| lifetime > 0) => {
                let addresses = option.get(8..).unwrap_or(&[]).as_chunks::<16>().0;
                let servers = addresses.iter().map(|&octets| Ipv6Addr::from(octets));
                let room = MOST_SERVERS.saturating_sub(self.servers.len());
                self.servers.extend(servers.take(room));
            }
            _ => {}
        }
    }

    /// The option with a network: its length in bits is 64, and it is for addresses of hosts.
    fn take_prefix(&mut self, option: &[u8], is_near: bool) {
        let (Some(lifetime), Some(preferred)) = (seconds(option, 4), seconds(option, 8)) else {
            return;
        };
        let Some(start) = array::<8>(option, 16) else {
            return;
        };
        let is_local = start[0] == 0xff || (start[0] == 0xfe && start[1] & 0xc0 == 0x80);
        if preferred <= lifetime && !is_local && self.prefixes.len() < MOST_ADDRESSES {
            self.prefixes.push(Prefix {
                start,
                is_near,
                lifetime,
            });
        }
    }
}

/// What a card knows about its routers.
struct Neighborhood {
    card: usize,
    /// The second half of all addresses of the card.
    identifier: [u8; 8],
    /// When the card asks next, and how often it may ask.
    question: Option<u64>,
    left: u8,
    /// The gateway, and until when it is one.
    router: Option<(Ipv6Addr, u64)>,
    addresses: Vec<(Ipv6Cidr, u64)>,
}

/// What is different for a card.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    added: Vec<Ipv6Cidr>,
    removed: Vec<Ipv6Cidr>,
    /// The new gateway, or none.
    gateway: Option<Option<Ipv6Addr>>,
}

impl Neighborhood {
    fn new(card: usize, identifier: [u8; 8], question: u64) -> Neighborhood {
        Neighborhood {
            card,
            identifier,
            question: Some(question),
            left: QUESTIONS,
            router: None,
            addresses: Vec::new(),
        }
    }

    /// Enters what a router announces.
    fn enter(&mut self, said: &Advertisement, now: u64) -> Change {
        let mut change = Change::default();
        self.question = None;
        let until = now.saturating_add(u64::from(said.lifetime) * SECOND);
        match self.router {
            // The first one is the gateway as long as it lives.
            Some((router, _)) if router != said.router => {}
            Some(_) if said.lifetime == 0 => {
                self.router = None;
                change.gateway = Some(None);
            }
            None if said.lifetime == 0 => {}
            known => {
                self.router = Some((said.router, until));
                change.gateway = known.is_none().then_some(Some(said.router));
            }
        }
        for prefix in &said.prefixes {
            change.added.extend(self.enter_prefix(prefix, now));
        }
        change
    }

    /// Enters a network; the address in it, if it is new.
    fn enter_prefix(&mut self, prefix: &Prefix, now: u64) -> Option<Ipv6Cidr> {
        let [a, b, c, d, e, f, g, h] = self.identifier;
        let mut octets = [0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h];
        octets[..8].copy_from_slice(&prefix.start);
        // What is not near is reached by the router.
        let bits = if prefix.is_near { 64 } else { 128 };
        let address = Ipv6Cidr::new(octets.into(), bits);
        let until = match prefix.lifetime {
            FOR_EVER => u64::MAX,
            lifetime => now.saturating_add(u64::from(lifetime) * SECOND),
        };
        let known = self
            .addresses
            .iter_mut()
            .find(|(other, _)| other.address() == address.address());
        if let Some((_, end)) = known {
            let shortest = now.saturating_add(SHORTEST);
            if until > shortest || until > *end {
                *end = until;
            } else if *end > shortest {
                *end = shortest;
            }
            return None;
        }
        if until <= now || self.addresses.len() == MOST_ADDRESSES {
            return None;
        }
        self.addresses.push((address, until));
        Some(address)
    }

    /// Takes away what has come to its end.
    fn expire(&mut self, now: u64) -> Change {
        let mut change = Change::default();
        if self.router.is_some_and(|(_, until)| until <= now) {
            self.router = None;
            change.gateway = Some(None);
        }
        self.addresses.retain(|&(address, until)| {
            if until <= now {
                change.removed.push(address);
            }
            until > now
        });
        change
    }

    /// Whether the card asks now.
    fn asks(&mut self, now: u64) -> bool {
        if self.question.is_none_or(|at| at > now) {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        self.question = (self.left > 0).then_some(now + INTERVAL);
        true
    }

    /// When something happens next; `None` for never.
    fn next(&self) -> Option<u64> {
        let ends = self.addresses.iter().map(|&(_, until)| until);
        let router = self.router.map(|(_, until)| until);
        let next = ends.chain(router).chain(self.question).min();
        next.filter(|&at| at < u64::MAX)
    }
}

#[derive(Default)]
struct Routers {
    cards: Vec<Neighborhood>,
    root: Option<Rc<Place>>,
    alarm: Option<Alarm>,
}

static ROUTERS: Global<RefCell<Routers>> = Global::new(RefCell::new(Routers {
    cards: Vec::new(),
    root: None,
    alarm: None,
}));

struct Tick;

impl Wake for Tick {
    fn wake(&self) {
        ROUTERS.borrow_mut().alarm = None;
        tick();
    }
}

/// Asks for routers from a card with that link-local address.
pub fn begin(card: usize, link_local: Ipv6Addr, root: &Rc<Place>) {
    let [.., a, b, c, d, e, f, g, h] = link_local.octets();
    let first = arch::monotonic() + random::number() % FIRST;
    let mut routers = ROUTERS.borrow_mut();
    routers.root = Some(root.clone());
    let identifier = [a, b, c, d, e, f, g, h];
    routers
        .cards
        .push(Neighborhood::new(card, identifier, first));
    drop(routers);
    set_alarm();
}

/// Takes a frame of a card, which may announce a router.
pub fn hear(card: usize, frame: &[u8]) {
    let Some(said) = parse(frame) else { return };
    let change = {
        let mut routers = ROUTERS.borrow_mut();
        let known = routers.cards.iter_mut().find(|known| known.card == card);
        let Some(known) = known else { return };
        known.enter(&said, arch::monotonic())
    };
    apply(card, &change);
    let root = ROUTERS.borrow().root.clone();
    if let Some(root) = root.filter(|_| !said.servers.is_empty()) {
        let servers = said.servers.into_iter().map(IpAddress::Ipv6).collect();
        let setting = Setting {
            servers,
            ..Setting::default()
        };
        settings::apply(card, &setting, &root);
    }
    set_alarm();
}

/// Does what is due.
fn tick() {
    let now = arch::monotonic();
    let mut changes = Vec::new();
    let mut asking = Vec::new();
    for known in &mut ROUTERS.borrow_mut().cards {
        changes.push((known.card, known.expire(now)));
        if known.asks(now) {
            asking.push(known.card);
        }
    }
    for (card, change) in changes {
        apply(card, &change);
    }
    for card in asking {
        ask(card);
    }
    set_alarm();
}

/// Makes sure that [`tick`] is called when something is due, and not before.
fn set_alarm() {
    let mut routers = ROUTERS.borrow_mut();
    if let Some(alarm) = routers.alarm.take() {
        time::cancel_alarm(alarm);
    }
    let next = routers.cards.iter().filter_map(Neighborhood::next).min();
    routers.alarm = next.map(|at| time::set_alarm(at, Rc::new(Tick)));
}

fn apply(card: usize, change: &Change) {
    for &address in &change.added {
        settings::add_address(card, IpCidr::Ipv6(address));
    }
    for &address in &change.removed {
        settings::remove_address(card, IpCidr::Ipv6(address));
    }
    if let Some(gateway) = change.gateway {
        settings::set_ipv6_gateway(card, gateway);
    }
}

/// The question whether there is a router, as a frame.
fn question(card: [u8; 6]) -> Vec<u8> {
    let message = NdiscRepr::RouterSolicit {
        lladdr: Some(EthernetAddress(card).into()),
    };
    neighbors::discovery(card, settings::link_local(card), ALL_ROUTERS, message)
}

fn ask(card: usize) {
    stack::with_network(card, |network| {
        let frame = question(network.card.address());
        network.card.transmit(&frame);
        network.card.flush();
    });
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::Ipv6Repr;

    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const HOST: [u8; 8] = [0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56];

    /// An announcement with options, valid for `lifetime` seconds.
    fn frame(lifetime: u16, options: &[u8]) -> Vec<u8> {
        let mut message = alloc::vec![134, 0, 0, 0, 64, 0];
        message.extend_from_slice(&lifetime.to_be_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(options);
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&ROUTER, &destination);
        let header = Ipv6Repr {
            src_addr: ROUTER,
            dst_addr: destination,
            next_header: IpProtocol::Icmpv6,
            payload_len: message.len(),
            hop_limit: NEARBY,
        };
        let mut bytes = alloc::vec![0; 14 + 40];
        bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
        header.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[14..]));
        bytes.extend_from_slice(&message);
        bytes
    }

    /// The option with the network 2001:db8::/64.
    fn prefix(lifetime: u32, flags: u8) -> Vec<u8> {
        let mut option = alloc::vec![3, 4, 64, flags];
        option.extend_from_slice(&lifetime.to_be_bytes());
        option.extend_from_slice(&lifetime.to_be_bytes());
        option.extend_from_slice(&[0, 0, 0, 0, 0x20, 1, 0xd, 0xb8]);
        option.extend_from_slice(&[0; 12]);
        option
    }

    fn address() -> Ipv6Addr {
        "2001:db8::5054:ff:fe12:3456".parse().unwrap()
    }

    #[test]
    fn a_router_announces_networks_and_name_servers() {
        let mut options = alloc::vec![1, 1, 2, 0, 0, 0, 0, 1];
        options.extend(prefix(3600, 0xc0));
        options.extend([25, 3, 0, 0, 0, 0, 0, 60]);
        options.extend(ROUTER.octets());
        let said = parse(&frame(1800, &options)).unwrap();
        assert_eq!((said.router, said.lifetime), (ROUTER, 1800));
        assert_eq!(said.servers, [ROUTER]);
        assert_eq!(said.prefixes.len(), 1);
        let mut known = Neighborhood::new(0, HOST, 5);
        let change = known.enter(&said, 0);
        assert_eq!(change.added, [Ipv6Cidr::new(address(), 64)]);
        assert_eq!(change.gateway, Some(Some(ROUTER)));
        // Again it changes nothing.
        assert_eq!(known.enter(&said, SECOND), Change::default());
        assert_eq!(known.next(), Some(1801 * SECOND));
        assert_eq!(known.expire(1801 * SECOND).gateway, Some(None));
        let change = known.expire(3601 * SECOND);
        assert_eq!(change.removed, [Ipv6Cidr::new(address(), 64)]);
        assert_eq!(known.next(), None);
    }

    #[test]
    fn what_is_not_valid_counts_for_nothing() {
        let whole = frame(1800, &prefix(3600, 0xc0));
        assert!(parse(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None);
        }
        for at in [12, 14 + 6, 14 + 7, 14 + 8, 54, 55, 56, 60, 71] {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            assert_eq!(parse(&broken), None, "{at}");
        }
        // An option without a length, and one that is longer than the rest.
        for option in [[9, 0], [9, 2]] {
            let mut options = option.to_vec();
            options.extend([0; 6]);
            assert_eq!(parse(&frame(1800, &options)), None);
        }
        let no_address = parse(&frame(1800, &prefix(3600, 0x80))).unwrap();
        assert!(no_address.prefixes.is_empty());
    }

    #[test]
    fn a_card_asks_three_times_and_is_silent_then() {
        let mut known = Neighborhood::new(0, HOST, 7);
        let mut asked = Vec::new();
        while let Some(at) = known.next() {
            assert!(known.asks(at));
            asked.push(at);
        }
        assert_eq!(asked, [7, 7 + INTERVAL, 7 + 2 * INTERVAL]);
        let mut known = Neighborhood::new(0, HOST, 7);
        known.enter(&parse(&frame(0, &[])).unwrap(), 0);
        assert_eq!((known.next(), known.router), (None, None));
    }

    #[test]
    fn no_one_shortens_the_life_of_an_address_at_once() {
        let mut known = Neighborhood::new(0, HOST, 7);
        let say = |lifetime| parse(&frame(0, &prefix(lifetime, 0x40))).unwrap();
        let change = known.enter(&say(FOR_EVER), 0);
        assert_eq!(change.added, [Ipv6Cidr::new(address(), 128)]);
        assert_eq!(known.next(), None);
        known.enter(&say(0), 0);
        assert_eq!(known.next(), Some(SHORTEST));
        known.enter(&say(5), SECOND);
        assert_eq!(known.next(), Some(SHORTEST));
        known.enter(&say(8000), 0);
        assert_eq!(known.next(), Some(8000 * SECOND));
    }

    #[test]
    fn the_question_is_a_packet_for_all_routers() {
        let frame = question([2, 0, 0, 0, 0, 9]);
        let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        let message = Icmpv6Packet::new_checked(packet.payload()).unwrap();
        assert_eq!(message.msg_type(), Icmpv6Message::RouterSolicit);
        assert!(message.verify_checksum(&packet.src_addr(), &ALL_ROUTERS));
        assert_eq!((frame.len(), packet.hop_limit()), (14 + 40 + 16, NEARBY));
    }
}
