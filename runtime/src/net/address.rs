//! Addresses of sockets: `struct sockaddr` of each family.
//!
//! Source: `linux/in.h`, `linux/in6.h`, `linux/un.h` and `linux/netlink.h` of Linux.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::abi::errno::{Errno, Result};

/// The bytes of the longest address, a `struct sockaddr_storage`.
pub const LONGEST: usize = 128;
/// The longest path of a `struct sockaddr_un`.
const LONGEST_PATH: usize = 108;

/// What kind of addresses a socket has (`AF_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Family {
    /// Between programs of this machine.
    Unix = 1,
    /// IPv4.
    Inet = 2,
    /// IPv6, and IPv4 in the form `::ffff:1.2.3.4`.
    Inet6 = 10,
    /// Between the kernel and programs.
    Netlink = 16,
}

/// An address of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// An address and a port. An IPv4 address is never in its IPv6 form.
    Inet(IpEndpoint),
    /// The entry of a file system.
    Path(Vec<u8>),
    /// A name outside of file systems.
    Abstract(Vec<u8>),
    /// A Unix socket without a name.
    Unnamed,
    /// A number of a netlink socket.
    Netlink(u32),
    /// `AF_UNSPEC`, which ends an association.
    Unspecified,
}

/// The address without a machine: any of this one, or no one.
pub fn any(family: Family) -> IpAddress {
    if family == Family::Inet6 {
        IpAddress::Ipv6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddress::Ipv4(Ipv4Addr::UNSPECIFIED)
    }
}

/// An IPv4 address instead of its IPv6 form.
fn plain(address: Ipv6Addr) -> IpAddress {
    match address.to_ipv4_mapped() {
        Some(address) => IpAddress::Ipv4(address),
        None => IpAddress::Ipv6(address),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Address {
    /// Reads a `struct sockaddr`.
    ///
    /// # Errors
    /// `EINVAL` if it is too short, `EAFNOSUPPORT` for other families.
    pub fn decode(bytes: &[u8]) -> Result<Address> {
        let family = u16::from_le_bytes(array(bytes, 0).ok_or(Errno::INVAL)?);
        let port = || array(bytes, 2).map(u16::from_be_bytes).ok_or(Errno::INVAL);
        match family {
            0 => Ok(Address::Unspecified),
            1 => Ok(Address::decode_unix(&bytes[2..])),
            2 => {
                let address: [u8; 4] = array(bytes, 4).ok_or(Errno::INVAL)?;
                // A whole `struct sockaddr_in` has padding at its end.
                if bytes.len() < 16 {
                    return Err(Errno::INVAL);
                }
                Ok(Address::Inet(IpEndpoint::new(
                    IpAddress::Ipv4(address.into()),
                    port()?,
                )))
            }
            10 => {
                let address: [u8; 16] = array(bytes, 8).ok_or(Errno::INVAL)?;
                Ok(Address::Inet(IpEndpoint::new(
                    plain(address.into()),
                    port()?,
                )))
            }
            16 => {
                let number = array(bytes, 4).ok_or(Errno::INVAL)?;
                Ok(Address::Netlink(u32::from_le_bytes(number)))
            }
            _ => Err(Errno::AFNOSUPPORT),
        }
    }

    fn decode_unix(name: &[u8]) -> Address {
        let name = &name[..name.len().min(LONGEST_PATH)];
        match name {
            [] => Address::Unnamed,
            [0, rest @ ..] => Address::Abstract(rest.to_vec()),
            path => {
                let end = path.iter().position(|&byte| byte == 0);
                Address::Path(path[..end.unwrap_or(path.len())].to_vec())
            }
        }
    }

    /// The `struct sockaddr` that a socket of `family` shows.
    pub fn encode(&self, family: Family) -> Vec<u8> {
        let mut bytes = (family as u16).to_le_bytes().to_vec();
        match self {
            Address::Inet(endpoint) => {
                bytes.extend_from_slice(&endpoint.port.to_be_bytes());
                match (family, endpoint.addr) {
                    (Family::Inet6, address) => {
                        let address = match address {
                            IpAddress::Ipv6(address) => address,
                            IpAddress::Ipv4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED,
                            IpAddress::Ipv4(address) => address.to_ipv6_mapped(),
                        };
                        bytes.extend_from_slice(&[0; 4]);
                        bytes.extend_from_slice(&address.octets());
                        // A link's addresses are those of the only card.
                        let scope = u32::from(address.is_unicast_link_local()) * super::CARD_INDEX;
                        bytes.extend_from_slice(&scope.to_le_bytes());
                    }
                    (_, IpAddress::Ipv4(address)) => {
                        bytes.extend_from_slice(&address.octets());
                        bytes.extend_from_slice(&[0; 8]);
                    }
                    (_, IpAddress::Ipv6(_)) => bytes.extend_from_slice(&[0; 12]),
                }
            }
            Address::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Address::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
            Address::Netlink(number) => {
                bytes.extend_from_slice(&[0; 2]);
                bytes.extend_from_slice(&number.to_le_bytes());
                bytes.extend_from_slice(&[0; 4]);
            }
            Address::Unnamed | Address::Unspecified => {}
        }
        bytes
    }

    /// The address and the port.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` for anything else.
    pub fn endpoint(&self) -> Result<IpEndpoint> {
        match self {
            Address::Inet(endpoint) => Ok(*endpoint),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: IpAddress, port: u16) -> Address {
        Address::Inet(IpEndpoint::new(address, port))
    }

    #[test]
    fn addresses_come_back_as_they_were() {
        let v4 = endpoint(IpAddress::v4(10, 0, 2, 15), 8080);
        let bytes = v4.encode(Family::Inet);
        assert_eq!(bytes[..8], [2, 0, 0x1f, 0x90, 10, 0, 2, 15]);
        assert_eq!(bytes.len(), 16);
        assert_eq!(Address::decode(&bytes), Ok(v4.clone()));
        let mapped = v4.encode(Family::Inet6);
        assert_eq!(mapped.len(), 28);
        assert_eq!(mapped[18..24], [0xff, 0xff, 10, 0, 2, 15]);
        assert_eq!(Address::decode(&mapped), Ok(v4));
        let any = endpoint(any(Family::Inet6), 80);
        assert_eq!(Address::decode(&any.encode(Family::Inet6)), Ok(any));
    }

    #[test]
    fn unix_addresses_are_paths_names_or_nothing() {
        assert_eq!(
            Address::decode(b"\x01\0/run/x\0junk"),
            Ok(Address::Path(b"/run/x".to_vec()))
        );
        let name = Address::Abstract(b"a\0b".to_vec());
        assert_eq!(name.encode(Family::Unix), b"\x01\0\0a\0b");
        assert_eq!(Address::decode(b"\x01\0\0a\0b"), Ok(name));
        assert_eq!(Address::decode(b"\x01\0"), Ok(Address::Unnamed));
        assert_eq!(Address::decode(b"\x01"), Err(Errno::INVAL));
        assert_eq!(Address::decode(b"\x02\0\x1f\x90"), Err(Errno::INVAL));
        assert_eq!(Address::decode(b"\x63\0\0\0"), Err(Errno::AFNOSUPPORT));
    }
}
