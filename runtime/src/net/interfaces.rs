//! What programs learn of the network interfaces: `lo` and the cards, `eth0`, `eth1` and so on.
//!
//! Source: `linux/sockios.h` and `linux/if.h` of Linux.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpAddress, IpCidr};

use super::address::{Address, Family};
use super::{CARD_INDEX, LOOPBACK_INDEX, stack};
use crate::abi::errno::{Errno, Result};
use crate::mm::user;

/// `IFF_UP`, `IFF_RUNNING` and `IFF_LOWER_UP`
const UP: u32 = 0x1_0041;
const BROADCAST: u32 = 2;
const LOOPBACK: u32 = 8;
const MULTICAST: u32 = 0x1000;
/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`
const ETHERNET: u16 = 1;
const LOOPBACK_LINK: u16 = 772;
/// Bytes of a name with its zero, and of a `struct ifreq`.
const NAME: usize = 16;
const REQUEST: usize = 40;

/// The names of cards.
const NAMES: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// A network interface.
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: &'static str,
    /// `IFF_*`
    pub flags: u32,
    /// `ARPHRD_*`
    pub link: u16,
    /// Bytes of its longest packet.
    pub mtu: u32,
    /// The address of the card.
    pub card: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<IpCidr>,
}

/// All interfaces.
pub fn all() -> Vec<Interface> {
    let mut interfaces = alloc::vec![Interface {
        index: LOOPBACK_INDEX,
        name: "lo",
        flags: UP | LOOPBACK,
        link: LOOPBACK_LINK,
        mtu: 65_536,
        card: [0; 6],
        addresses: alloc::vec![
            IpCidr::new(IpAddress::Ipv4(Ipv4Addr::LOCALHOST), 8),
            IpCidr::new(IpAddress::Ipv6(Ipv6Addr::LOCALHOST), 128),
        ],
    }];
    for ((card, name), index) in NAMES.iter().enumerate().zip(CARD_INDEX..) {
        interfaces.extend(stack::with_network(card, |network| Interface {
            index,
            name,
            flags: UP | BROADCAST | MULTICAST,
            link: ETHERNET,
            mtu: 1500,
            card: network.card.address(),
            addresses: network.interface.ip_addrs().to_vec(),
        }));
    }
    interfaces
}

impl Interface {
    /// The first IPv4 address with its network.
    fn ipv4(&self) -> Result<(Ipv4Addr, u8)> {
        self.addresses
            .iter()
            .find_map(|address| match address {
                IpCidr::Ipv4(address) => Some((address.address(), address.prefix_len())),
                IpCidr::Ipv6(_) => None,
            })
            .ok_or(Errno::ADDRNOTAVAIL)
    }

    fn request(&self) -> Vec<u8> {
        let mut bytes = self.name.as_bytes().to_vec();
        bytes.resize(NAME, 0);
        bytes
    }
}

fn socket_address(address: Ipv4Addr) -> Vec<u8> {
    Address::Inet((IpAddress::Ipv4(address), 0).into()).encode(Family::Inet)
}

/// The mask with that many bits.
fn mask(bits: u8) -> Ipv4Addr {
    let bits = u32::from(bits.min(32));
    Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0))
}

/// Controls of a socket that are about interfaces.
///
/// # Errors
/// `ENODEV`, `EADDRNOTAVAIL`; `ENOTTY` for anything else.
pub fn control(request: usize, argument: usize) -> Result {
    match request {
        0x8912 => return list(argument),
        0x8910..=0x8970 => {}
        _ => return Err(Errno::NOTTY),
    }
    let given: [u8; REQUEST] = user::read(argument)?;
    let interfaces = all();
    let interface = if request == 0x8910 {
        let index = u32::from_le_bytes([given[16], given[17], given[18], given[19]]);
        interfaces.iter().find(|interface| interface.index == index)
    } else {
        let end = given[..NAME].iter().position(|&byte| byte == 0);
        let name = &given[..end.unwrap_or(NAME)];
        interfaces
            .iter()
            .find(|interface| interface.name.as_bytes() == name)
    };
    let interface = interface.ok_or(Errno::NODEV)?;
    let mut reply = interface.request();
    match request {
        0x8910 => {}
        0x8913 => reply.extend_from_slice(&(interface.flags as u16).to_le_bytes()),
        0x8915 | 0x8917 => reply.extend(socket_address(interface.ipv4()?.0)),
        0x8919 => {
            let (address, bits) = interface.ipv4()?;
            reply.extend(socket_address(address | !mask(bits)));
        }
        0x891b => reply.extend(socket_address(mask(interface.ipv4()?.1))),
        0x891d => reply.extend_from_slice(&0_u32.to_le_bytes()),
        0x8921 => reply.extend_from_slice(&interface.mtu.to_le_bytes()),
        0x8927 => {
            reply.extend_from_slice(&interface.link.to_le_bytes());
            reply.extend_from_slice(&interface.card);
        }
        0x8933 => reply.extend_from_slice(&interface.index.to_le_bytes()),
        0x8942 => reply.extend_from_slice(&1000_u32.to_le_bytes()),
        // Interfaces are as the machine has them.
        _ => return Err(Errno::OPNOTSUPP),
    }
    user::write_bytes(argument, &reply)?;
    Ok(0)
}

/// `SIOCGIFCONF`: names and IPv4 addresses.
fn list(argument: usize) -> Result {
    let [room, at]: [usize; 2] = user::read(argument)?;
    let room = room as u32 as i32;
    let mut bytes = Vec::new();
    for interface in all() {
        if let Ok((address, _)) = interface.ipv4() {
            let end = bytes.len() + REQUEST;
            bytes.extend(interface.request());
            bytes.extend(socket_address(address));
            bytes.resize(end, 0);
        }
    }
    if at != 0 {
        let fits = (room.max(0) as usize / REQUEST * REQUEST).min(bytes.len());
        bytes.truncate(fits);
        user::write_bytes(at, &bytes)?;
    }
    user::write(argument, &(bytes.len() as u32))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_so_many_bits() {
        assert_eq!(mask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(mask(0), Ipv4Addr::UNSPECIFIED);
        assert_eq!(mask(32), Ipv4Addr::BROADCAST);
    }
}
