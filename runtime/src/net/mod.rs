//! The network: the cards, their protocols, and sockets.

pub mod address;
mod channel;
pub mod device;
mod dhcp;
mod early;
mod interfaces;
mod long;
mod neighbors;
mod netlink;
mod packet;
mod pieces;
mod ports;
mod router;
pub mod settings;
pub mod socket;
mod stack;
pub mod table;
pub mod tcp;
mod udp;
mod unix;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::abi::errno::{Errno, Result};
use crate::file::File;
use crate::fs::Place;
use crate::mm::frames;
use address::{Address, Family};
use socket::{Base, Kind, V6_ONLY};

pub use socket::Socket;
pub use stack::poll;

/// The number of the loopback interface.
pub const LOOPBACK_INDEX: u32 = 1;
/// The number of the first card's interface; those of others follow.
pub const CARD_INDEX: u32 = 2;

/// Whether there is memory for another socket or message.
///
/// # Errors
/// `ENOBUFS`
pub fn check_memory() -> Result<()> {
    frames::check_spare().map_err(|_| Errno::NOBUFS)
}

/// Sets the network up with the addresses of the command line.
pub fn init(addresses: &[Vec<u8>], root: &Rc<Place>) {
    settings::init(addresses, root);
}

/// Waits a little for an address from a server, if the machine has a card and no address.
pub fn wait_for_address() {
    dhcp::wait();
}

/// Makes a socket.
///
/// # Errors
/// `EAFNOSUPPORT`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`
pub fn new_socket(family: usize, kind: usize, protocol: usize) -> Result<Rc<dyn File>> {
    check_memory()?;
    let kind = match kind {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        3 => Kind::Raw,
        5 => Kind::Sequence,
        _ => return Err(Errno::INVAL),
    };
    let inet = |family: Family| -> Result<Rc<dyn File>> {
        match (kind, protocol) {
            (Kind::Stream, 0 | 6) => Ok(tcp::TcpSocket::new(family)),
            (Kind::Datagram, 0 | 17) => Ok(udp::UdpSocket::new(family)),
            (Kind::Stream | Kind::Datagram, _) | (Kind::Raw, 0) => Err(Errno::PROTONOSUPPORT),
            _ => Err(Errno::SOCKTNOSUPPORT),
        }
    };
    match family {
        1 => unix::new_socket(kind),
        2 => inet(Family::Inet),
        10 => inet(Family::Inet6),
        16 if protocol == 0 => Ok(netlink::Netlink::new()),
        16 => Err(Errno::PROTONOSUPPORT),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

pub use unix::pair as socket_pair;

/// The address for a program of this machine of the family of another one.
fn loopback(like: IpAddress) -> IpAddress {
    match like {
        IpAddress::Ipv4(_) => IpAddress::Ipv4(Ipv4Addr::LOCALHOST),
        IpAddress::Ipv6(_) => IpAddress::Ipv6(Ipv6Addr::LOCALHOST),
    }
}

/// Whether a socket can have to do with an address.
fn check_family(base: &Base, address: IpAddress) -> Result<()> {
    match (base.family, address) {
        (Family::Inet, IpAddress::Ipv6(_)) => Err(Errno::AFNOSUPPORT),
        (Family::Inet6, IpAddress::Ipv4(_)) if base.is_on(V6_ONLY) => Err(Errno::NETUNREACH),
        _ => Ok(()),
    }
}

/// The endpoint to which a socket can be bound.
fn bindable(base: &Base, address: &Address) -> Result<IpEndpoint> {
    let endpoint = match address {
        // `AF_UNSPEC` stands for any address here.
        Address::Unspecified if base.family == Family::Inet => {
            IpEndpoint::new(address::any(base.family), 0)
        }
        other => other.endpoint()?,
    };
    check_family(base, endpoint.addr)?;
    let known = stack::is_own(endpoint.addr) || endpoint.addr.is_multicast();
    let any_broadcast = endpoint.addr.is_broadcast() && base.kind == Kind::Datagram;
    if known || any_broadcast {
        Ok(endpoint)
    } else {
        Err(Errno::ADDRNOTAVAIL)
    }
}
