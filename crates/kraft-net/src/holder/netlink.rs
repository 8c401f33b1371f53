//! Devices and addresses of this network namespace (`rtnetlink(7)`).

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

/// The maximal size of an answer of the kernel in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A connection to the kernel.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a connection that concerns the network namespace of this thread.
    pub(crate) fn open() -> io::Result<Self> {
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
    pub(crate) fn index(&self, name: &str) -> io::Result<Option<u32>> {
        match name_to_index(&self.socket, name) {
            Ok(index) => Ok(Some(index)),
            Err(rustix::io::Errno::NODEV) => Ok(None),
            Err(e) => Err(e.into()),
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
        let new = Request::link(libc::RTM_NEWLINK, link);
        self.ask(new, NLM_F_CREATE | NLM_F_EXCL)?;
        let index = name_to_index(&self.socket, name)?;
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
        ];
        let new = Request {
            kind: libc::RTM_NEWADDR,
            body: Body::Address(message),
        };
        self.ask(new, NLM_F_CREATE | NLM_F_EXCL)?;
        self.set(index, vec![LinkAttribute::IfAlias(alias.to_owned())])?;
        Ok(index)
    }

    /// Starts a device, and makes it a port of a bridge.
    pub(crate) fn start(&mut self, index: u32, bridge: Option<u32>) -> io::Result<()> {
        let controller = bridge.map(LinkAttribute::Controller);
        self.set(index, controller.into_iter().collect())
    }

    fn set(&mut self, index: u32, attributes: Vec<LinkAttribute>) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = attributes;
        self.ask(Request::link(libc::RTM_SETLINK, link), 0)
    }

    /// Removes a device.
    pub(crate) fn remove(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.ask(Request::link(libc::RTM_DELLINK, link), 0)
    }

    /// Has the kernel make (`true`) or remove something that is described by a message as it is.
    pub(crate) fn raw(&mut self, kind: u16, message: Vec<u8>, make: bool) -> io::Result<()> {
        let body = Body::Raw(message);
        let flags = if make { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
        self.ask(Request { kind, body }, flags)
    }

    /// Asks the kernel for something, and waits until it is done.
    fn ask(&mut self, request: Request, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut bytes = vec![0; MAX_ANSWER];
        loop {
            let (received, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
            let mut rest = bytes.get(..received).unwrap_or_default();
            while !rest.is_empty() {
                let message = NetlinkMessage::<Ignored>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                if let NetlinkPayload::Error(error) = message.payload {
                    return error.code.map_or(Ok(()), |_| Err(error.to_io()));
                }
            }
        }
    }
}

/// A request to the kernel. The message type of `netlink-packet-route` knows everything that can be
/// asked and answered, which would be a fortieth of the program.
#[derive(Debug)]
struct Request {
    /// Its type, such as `RTM_NEWLINK`.
    kind: u16,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Link(LinkMessage),
    Address(AddressMessage),
    /// A message as it is.
    Raw(Vec<u8>),
}

impl Request {
    fn link(kind: u16, link: LinkMessage) -> Self {
        let body = Body::Link(link);
        Self { kind, body }
    }
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        match &self.body {
            Body::Link(message) => message.buffer_len(),
            Body::Address(message) => message.buffer_len(),
            Body::Raw(bytes) => bytes.len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match &self.body {
            Body::Link(message) => message.emit(buffer),
            Body::Address(message) => message.emit(buffer),
            Body::Raw(bytes) => {
                for (place, byte) in buffer.iter_mut().zip(bytes) {
                    *place = *byte;
                }
            }
        }
    }
}

/// A message of the kernel that is neither an acknowledgement nor an error.
#[derive(Debug)]
struct Ignored;

impl NetlinkDeserializable for Ignored {
    type Error = Infallible;

    fn deserialize(_header: &NetlinkHeader, _payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self)
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
