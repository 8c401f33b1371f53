//! Addresses, gateways and name servers: from the command line or from a server.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv6Addr};

use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::{dhcp, packet, router, stack};
use crate::file::io::Input;
use crate::fs::{Change, Kind, NewNode, Place, archive};
use crate::sync::Global;
use crate::syscall::system;

/// What an entry `address/bits[:gateway[:dns[:dns[:host[:domain]]]]]` says. IPv6 addresses
/// are in brackets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The address and its network.
    pub address: Option<IpCidr>,
    /// The way to other networks.
    pub gateway: Option<IpAddress>,
    /// Name servers.
    pub servers: Vec<IpAddress>,
    /// The name of the machine.
    pub host: Option<String>,
    /// The domain of the machine.
    pub domain: Option<String>,
}

fn parse_address(text: &str) -> Option<IpAddress> {
    let text = text.strip_prefix('[').unwrap_or(text);
    let text = text.strip_suffix(']').unwrap_or(text);
    text.parse::<IpAddr>().ok().map(IpAddress::from)
}

/// Splits at colons that are not in brackets.
fn fields(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let separates = |at: char| {
        match at {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at == ':' && depth == 0
    };
    text.split(separates).collect()
}

/// Reads an entry of the command line.
pub fn parse(entry: &[u8]) -> Option<Setting> {
    let text = core::str::from_utf8(entry).ok()?;
    let fields = fields(text);
    let (address, bits) = fields.first()?.split_once('/')?;
    let address = parse_address(address)?;
    let most = if matches!(address, IpAddress::Ipv4(_)) {
        32
    } else {
        128
    };
    let bits = bits.parse::<u8>().ok().filter(|&bits| bits <= most)?;
    let field = |index: usize| fields.get(index).filter(|field| !field.is_empty());
    Some(Setting {
        address: Some(IpCidr::new(address, bits)),
        gateway: field(1).and_then(|field| parse_address(field)),
        servers: [2, 3]
            .into_iter()
            .filter_map(|index| parse_address(field(index)?))
            .collect(),
        host: field(4).map(|field| String::from(*field)),
        domain: field(5).map(|field| String::from(*field)),
    })
}

/// The address that the card has in its own network without anyone giving it one (RFC 4291).
pub fn link_local(card: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = card;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

/// Where the files of `/etc` are.
static ROOT: Global<RefCell<Option<Rc<Place>>>> = Global::new(RefCell::new(None));

/// Gives a card another hardware address and, with an entry of the command line, other addresses.
pub fn replace(card: usize, address: [u8; 6], entry: Option<&[u8]>) {
    let link_local = |of| IpCidr::new(IpAddress::Ipv6(link_local(of)), 64);
    let old = stack::with_network(card, |network| {
        let old = link_local(network.card.address());
        network.card.set_address(address);
        let hardware = HardwareAddress::Ethernet(EthernetAddress(address));
        network.interface.set_hardware_addr(hardware);
        // The machine may have come to another network.
        network.forget_neighbors();
        network.change_addresses(|addresses| addresses.retain(|other| *other != old));
    });
    if old.is_none() {
        return;
    }
    add_address(card, link_local(address));
    let root = ROOT.borrow().clone();
    match (entry.and_then(parse), root) {
        (Some(setting), Some(root)) => apply(card, &setting, &root),
        _ => announce(card),
    }
}

/// Announces to the network of a card that it has its IPv4 addresses now. A host may have asked before
/// the card was there, or before it was another one.
fn announce(card: usize) {
    stack::with_network(card, |network| {
        let hardware = network.card.address();
        for address in network.interface.ip_addrs() {
            if let IpAddress::Ipv4(address) = address.address() {
                let frame = packet::arp_request(hardware, address, address);
                network.card.send_frame(&frame);
            }
        }
    });
}

/// Writes the name of the machine to `/etc/hostname`, if there is such a file.
pub fn rename_host(name: &str) {
    let root = ROOT.borrow().clone();
    let etc = root.and_then(|root| root.node.lookup(b"etc").ok());
    let Some(file) = etc.and_then(|etc| etc.lookup(b"hostname").ok()) else {
        return;
    };
    if file.kind() != Kind::File {
        return;
    }
    let line = alloc::format!("{name}\n");
    // A root that cannot be written keeps what it has.
    let change = Change {
        size: Some(0),
        ..Change::default()
    };
    if file.change(&change).is_ok() {
        let _ = file.write(0, &mut Input::kernel(line.as_bytes()));
    }
}

/// Sets the cards up with the addresses of the command line: the first one with the first IPv4
/// address, the next one with the next. An IPv6 address is for the same card as the IPv4 address
/// before it. Without any IPv4 address, the first card asks for one; cards without an IPv6 address
/// ask for routers.
pub fn init(entries: &[Vec<u8>], root: &Rc<Place>) {
    *ROOT.borrow_mut() = Some(root.clone());
    write_if_missing(root, b"hosts", b"127.0.0.1 localhost\n::1 localhost\n");
    let cards = stack::count();
    if cards == 0 {
        return;
    }
    for card in 0..cards {
        let address = stack::with_network(card, |network| network.card.address());
        if let Some(address) = address {
            add_address(card, IpCidr::new(IpAddress::Ipv6(link_local(address)), 64));
        }
    }
    // The number of IPv4 addresses so far, and the cards with IPv6 addresses.
    let mut found = 0_usize;
    let mut configured = Vec::new();
    for entry in entries {
        let text = String::from_utf8_lossy(entry);
        let Some(setting) = parse(entry) else {
            crate::print!("kraft: netdev.ip={text} is not an address with a network\n");
            continue;
        };
        if matches!(setting.address, Some(IpCidr::Ipv4(_))) {
            found += 1;
        }
        let card = found.saturating_sub(1);
        if card >= cards {
            crate::print!("kraft: netdev.ip={text} is for a network card that is not there\n");
            continue;
        }
        if matches!(setting.address, Some(IpCidr::Ipv6(_))) {
            configured.push(card);
        }
        apply(card, &setting, root);
    }
    if found == 0 {
        dhcp::begin(root);
    }
    for card in (0..cards).filter(|card| !configured.contains(card)) {
        if let Some(address) = stack::with_network(card, |network| network.card.address()) {
            router::begin(card, link_local(address), root);
        }
    }
}

/// Gives a card another address, and says so.
pub fn add_address(card: usize, address: IpCidr) {
    stack::with_network(card, |network| {
        network.change_addresses(|addresses| {
            if address.address().is_unicast() && !addresses.contains(&address) {
                addresses.push(address);
            }
        });
    });
    if matches!(address, IpCidr::Ipv4(_)) {
        announce(card);
    }
}

/// Takes an address of a card away.
pub fn remove_address(card: usize, address: IpCidr) {
    stack::with_network(card, |network| {
        network.change_addresses(|addresses| addresses.retain(|other| *other != address));
    });
}

/// Makes a router the way of a card to other networks of IPv6, or none.
pub fn set_ipv6_gateway(card: usize, gateway: Option<Ipv6Addr>) {
    stack::with_network(card, |network| {
        let routes = network.interface.routes_mut();
        routes.remove_default_ipv6_route();
        if let Some(gateway) = gateway {
            // There is room for it and one of IPv4.
            let _ = routes.add_default_ipv6_route(gateway);
        }
    });
}

/// Takes the IPv4 addresses of a card and their gateway away.
pub fn remove_ipv4(card: usize) {
    stack::with_network(card, |network| {
        network.change_addresses(|addresses| {
            addresses.retain(|address| matches!(address, IpCidr::Ipv6(_)));
        });
        network.interface.routes_mut().remove_default_ipv4_route();
    });
}

/// Makes a setting a card's. The name of the machine is that of its first card.
pub fn apply(card: usize, setting: &Setting, root: &Rc<Place>) {
    if let Some(address) = setting.address {
        if matches!(address, IpCidr::Ipv4(_)) {
            remove_ipv4(card);
        }
        add_address(card, address);
    }
    stack::with_network(card, |network| {
        let routes = network.interface.routes_mut();
        // There is room for the two of them.
        match setting.gateway {
            Some(IpAddress::Ipv4(gateway)) => {
                let _ = routes.add_default_ipv4_route(gateway);
            }
            Some(IpAddress::Ipv6(gateway)) => {
                let _ = routes.add_default_ipv6_route(gateway);
            }
            None => {}
        }
    });
    if let Some(host) = setting.host.as_ref().filter(|_| card == 0) {
        system::name_host(host.as_bytes());
        let host_line = alloc::format!("{host}\n");
        write_if_missing(root, b"hostname", host_line.as_bytes());
    }
    let mut resolver = String::new();
    if let Some(domain) = &setting.domain {
        let _ = writeln!(resolver, "search {domain}");
    }
    for server in &setting.servers {
        let _ = writeln!(resolver, "nameserver {server}");
    }
    if !setting.servers.is_empty() {
        write_if_missing(root, b"resolv.conf", resolver.as_bytes());
    }
}

/// Writes a file of `/etc` unless the root has it with something in it.
fn write_if_missing(root: &Rc<Place>, name: &[u8], content: &[u8]) {
    let Some(etc) = archive::directory_in(&root.node, b"etc") else {
        return;
    };
    if let Ok(node) = etc.lookup(name) {
        match node.kind() {
            Kind::File if node.metadata().size == 0 => {
                let _ = node.write(0, &mut Input::kernel(content));
                return;
            }
            // A link to where some service would write, which no one runs.
            Kind::Link if !leads_somewhere(root, name) => {
                let _ = etc.remove(name, false);
            }
            _ => return,
        }
    }
    let new = NewNode {
        kind: Kind::File,
        permissions: 0o644,
        user: 0,
        group: 0,
        device_number: 0,
        target: Vec::new(),
    };
    // A root that cannot be written keeps what it has.
    if let Ok(node) = etc.create(name, &new) {
        let _ = node.write(0, &mut Input::kernel(content));
    }
}

fn leads_somewhere(root: &Rc<Place>, name: &[u8]) -> bool {
    let credentials = crate::task::Credentials::default();
    let walk = crate::fs::Walk {
        root: root.clone(),
        credentials: &credentials,
    };
    let path = [b"/etc/", name].concat();
    walk.resolve(root, &path, crate::fs::Follow::Yes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_up_to_six_fields() {
        let setting = parse(b"10.0.2.15/24:10.0.2.2:10.0.2.3::web:example.org").unwrap();
        assert_eq!(
            setting.address,
            Some(IpCidr::new(IpAddress::v4(10, 0, 2, 15), 24))
        );
        assert_eq!(setting.gateway, Some(IpAddress::v4(10, 0, 2, 2)));
        assert_eq!(setting.servers, [IpAddress::v4(10, 0, 2, 3)]);
        assert_eq!(setting.host.as_deref(), Some("web"));
        assert_eq!(setting.domain.as_deref(), Some("example.org"));
        let short = parse(b"172.16.0.2/30").unwrap();
        assert_eq!((short.gateway, short.servers.len()), (None, 0));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let setting = parse(b"[fd00::2]/64:[fd00::1]").unwrap();
        assert_eq!(
            setting.gateway,
            Some(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for entry in [
            &b""[..],
            b"10.0.2.15",
            b"10.0.2.15/33",
            b"x/24",
            b"/",
            b"\xff/1",
        ] {
            assert_eq!(parse(entry), None);
        }
    }

    #[test]
    fn a_card_has_an_address_of_its_own() {
        assert_eq!(
            link_local([0x52, 0x54, 0, 0x12, 0x34, 0x56]).octets()[8..],
            [0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56]
        );
    }
}
