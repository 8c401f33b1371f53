//! Devices and addresses of this network namespace (`rtnetlink(7)`).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

/// The maximal size of an answer of the kernel in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A connection to the kernel.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a connection that concerns the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let family = rustix::net::AddressFamily::NETLINK;
        let flags = SocketFlags::CLOEXEC;
        // Without another protocol it is that of devices and addresses.
        let socket = socket_with(family, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Returns the index of a device; `None` if there is no such device.
    pub(super) fn index(&mut self, name: &str) -> io::Result<Option<u32>> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::GetLink(link), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link.header.index)),
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a bridge with an address, and returns its index. `alias` is what it is known by.
    ///
    /// Its hardware address follows from the other: without one of its own, a bridge has that of one
    /// of its ports, and machines would lose their gateway as others come and go.
    pub(super) fn make_bridge(
        &mut self,
        name: &str,
        alias: &str,
        (address, prefix): (Ipv4Addr, u8),
    ) -> io::Result<u32> {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware_address(address).to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        let new = RouteNetlinkMessage::NewLink(link);
        self.ask(new, NLM_F_CREATE | NLM_F_EXCL)?;
        let index = self.index(name)?.ok_or(ErrorKind::NotFound)?;
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
        ];
        let new = RouteNetlinkMessage::NewAddress(message);
        self.ask(new, NLM_F_CREATE | NLM_F_EXCL)?;
        self.set(index, vec![LinkAttribute::IfAlias(alias.to_owned())])?;
        Ok(index)
    }

    /// Starts a device, and makes it a port of a bridge.
    pub(super) fn start(&mut self, index: u32, bridge: Option<u32>) -> io::Result<()> {
        let controller = bridge.map(LinkAttribute::Controller);
        self.set(index, controller.into_iter().collect())
    }

    fn set(&mut self, index: u32, attributes: Vec<LinkAttribute>) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = attributes;
        self.ask(RouteNetlinkMessage::SetLink(link), 0).map(drop)
    }

    /// Removes a device.
    pub(super) fn remove(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.ask(RouteNetlinkMessage::DelLink(link), 0).map(drop)
    }

    /// Asks the kernel for something; returns the message that it answers with, if it does.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answer = None;
        let mut bytes = vec![0; MAX_ANSWER];
        loop {
            let (received, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
            let mut rest = bytes.get(..received).unwrap_or_default();
            while !rest.is_empty() {
                let invalid = |e| io::Error::new(ErrorKind::InvalidData, e);
                let message =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(invalid)?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(answer),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    NetlinkPayload::InnerMessage(inner) => answer = Some(inner),
                    _ => {}
                }
            }
        }
    }
}

/// Returns the hardware address of a bridge: administered locally, and none that machines are given,
/// which begin with `02:b0:b0`.
fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x06, 0xb0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_has_a_hardware_address_of_its_own() {
        let one = hardware_address(Ipv4Addr::new(172, 23, 0, 1));
        assert_eq!(one, [0x06, 0xb0, 172, 23, 0, 1]);
        // Bits of IEEE 802: administered locally, and no group.
        assert_eq!(one[0] & 3, 2);
    }
}
