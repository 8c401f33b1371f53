//! Which subnet a network gets, and which address a machine. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::Error;

/// The networks that subnets are taken from, with the mask of each subnet, in this order.
///
/// KraftKit compat: its default pool.
const POOL: [([u8; 4], u8, u8); 7] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
];

/// The masks that a network of machines can have.
const MASKS: std::ops::RangeInclusive<u8> = 8..=30;

/// Returns the first free subnet of the pool, with its first address as the gateway.
pub(crate) fn choose(taken: &[Ipv4Net]) -> Result<Ipv4Net, Error> {
    let pool = POOL.iter().filter_map(|(address, mask, each)| {
        let whole = Ipv4Net::new((*address).into(), *mask).ok()?;
        whole.subnets(*each).ok()
    });
    let free = pool
        .flatten()
        .find(|subnet| !taken.iter().any(|other| overlap(*subnet, *other)));
    let subnet = free.ok_or(Error::PoolExhausted)?;
    let gateway = subnet.hosts().next().ok_or(Error::PoolExhausted)?;
    Ipv4Net::new(gateway, subnet.prefix_len()).map_err(|_| Error::PoolExhausted)
}

/// Returns whether two subnets have an address in common.
pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Checks that a gateway with its mask makes a network of machines.
pub(crate) fn check(subnet: Ipv4Net) -> Result<(), Error> {
    if !MASKS.contains(&subnet.prefix_len()) {
        return Err(Error::Size { subnet });
    }
    let gateway = subnet.addr();
    let odd = gateway.is_loopback()
        || gateway.is_multicast()
        || gateway.is_unspecified()
        || gateway.octets().first() == Some(&0)
        || gateway >= Ipv4Addr::new(240, 0, 0, 0);
    if odd || !is_host(subnet, gateway) {
        return Err(Error::Gateway { subnet });
    }
    Ok(())
}

/// Returns whether an address is one of a host in a subnet.
pub(crate) fn is_host(subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address) && address != subnet.network() && address != subnet.broadcast()
}

/// Returns the lowest free address after the gateway, or else before it.
pub(crate) fn free_address(subnet: Ipv4Net, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let gateway = subnet.addr();
    let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
    let after = u32::from(gateway).saturating_add(1)..last;
    let before = first.saturating_add(1)..u32::from(gateway);
    after
        .chain(before)
        .map(Ipv4Addr::from)
        .find(|address| !taken.contains(address))
}

/// Returns the subnets that the host has routes to, from the text of `/proc/net/route`.
pub(crate) fn routes(table: &str) -> Vec<Ipv4Net> {
    // Columns: interface, destination, gateway, flags, …, mask as the eighth; in the byte order of
    // the host.
    let address = |text: &str| {
        let number = u32::from_str_radix(text, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let route = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let destination = address(fields.nth(1)?)?;
        let mask = address(fields.nth(5)?)?;
        Ipv4Net::with_netmask(destination, mask).ok()
    };
    let mut found: Vec<Ipv4Net> = table.lines().skip(1).filter_map(route).collect();
    // The way to everything else is no network of its own.
    found.retain(|subnet| subnet.prefix_len() > 0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_taken_from_the_pool_in_its_order() {
        let mut taken = Vec::new();
        let mut first = Vec::new();
        let mut last = Vec::new();
        while let Ok(subnet) = choose(&taken) {
            taken.push(subnet);
            if taken.len() <= 4 {
                first.push(subnet);
            }
            last = vec![subnet];
        }
        let expected = [
            "172.17.0.1/16",
            "172.18.0.1/16",
            "172.19.0.1/16",
            "172.20.0.1/16",
        ];
        assert_eq!(first, expected.map(net));
        assert_eq!(taken.len(), 3 + 4 + 4 + 4 + 16);
        assert_eq!(last, [net("192.168.240.1/20")]);
    }

    #[test]
    fn a_subnet_that_the_host_has_a_route_into_is_not_taken() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            vpn\t800012AC\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0\n\
            broken\tzz\n";
        if cfg!(target_endian = "little") {
            let found = routes(table);
            assert_eq!(found, [net("172.17.0.0/16"), net("172.18.0.128/25")]);
            assert_eq!(choose(&found).unwrap(), net("172.19.0.1/16"));
        }
    }

    #[test]
    fn addresses_are_given_from_the_gateway_on_and_then_before_it() {
        let mut given = Vec::new();
        let mut taken = BTreeSet::new();
        while let Some(address) = free_address(net("10.0.0.3/29"), &taken) {
            taken.insert(address);
            given.push(address.octets()[3]);
        }
        assert_eq!(given, [4, 5, 6, 1, 2]);
        let all = free_address(net("255.255.255.253/30"), &BTreeSet::new());
        assert_eq!(all, Some(Ipv4Addr::new(255, 255, 255, 254)));
    }

    #[test]
    fn a_network_has_room_for_machines_and_a_gateway_that_is_a_host() {
        for good in [
            "172.18.0.1/16",
            "10.0.0.1/8",
            "10.0.0.2/30",
            "192.0.2.77/24",
        ] {
            assert!(check(net(good)).is_ok(), "{good}");
        }
        for bad in [
            "10.0.0.1/31",
            "10.0.0.1/32",
            "10.0.0.1/7",
            "10.0.0.0/24",
            "10.0.0.255/24",
            "127.0.0.1/8",
            "224.0.0.1/16",
            "0.0.0.1/8",
            "255.0.0.1/16",
        ] {
            assert!(check(net(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_overlap_whichever_is_the_larger() {
        let pair = |a, b| overlap(net(a), net(b));
        assert!(pair("10.0.0.1/8", "10.9.0.1/16") && pair("10.9.0.1/16", "10.0.0.1/8"));
        assert!(pair("10.9.0.1/16", "10.9.0.200/16"));
        assert!(!pair("10.9.0.1/16", "10.8.0.1/16"));
    }
}
