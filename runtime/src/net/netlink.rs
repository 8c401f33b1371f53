//! Netlink sockets, as far as programs ask them for interfaces, addresses and routes.
//!
//! Source: `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h` and `linux/if_addr.h` of
//! Linux; RFC 3549.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

use smoltcp::wire::{IpAddress, IpCidr};

use super::address::{Address, Family};
use super::channel::Channel;
use super::interfaces::{self, Interface};
use super::socket::{Base, Control, Kind, Message, Received, Socket};
use super::{CARD_INDEX, stack};
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::{Events, File};
use crate::fs::{self, Metadata};
use crate::task::{self, WaitQueue};

/// Types of messages.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
/// Flags of messages.
const MULTI: u16 = 2;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
/// Bytes of a message's header.
const HEADER: usize = 16;
/// The longest request.
const LONGEST: usize = 4096;

/// A netlink socket for routes.
pub struct Netlink {
    base: Base,
    queue: Rc<WaitQueue>,
    inbox: Rc<Channel>,
    number: Cell<u32>,
}

/// A message that is being made.
struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    fn new(kind: u16, flags: u16, sequence: u32, number: u32) -> Reply {
        let mut bytes = alloc::vec![0; 4];
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        Reply { bytes }
    }

    fn put(mut self, bytes: &[u8]) -> Reply {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Reply {
        let length = value.len() as u16 + 4;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() as u32).to_le_bytes();
        self.bytes[..4].copy_from_slice(&length);
        self.bytes
    }
}

fn octets(address: IpAddress) -> Vec<u8> {
    match address {
        IpAddress::Ipv4(address) => address.octets().to_vec(),
        IpAddress::Ipv6(address) => address.octets().to_vec(),
    }
}

fn family_of(address: IpAddress) -> u8 {
    match address {
        IpAddress::Ipv4(_) => Family::Inet as u8,
        IpAddress::Ipv6(_) => Family::Inet6 as u8,
    }
}

/// A request: its type, flags and sequence number, and the family that it asks for.
struct Request {
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
}

impl Request {
    fn parse(bytes: &[u8]) -> Option<Request> {
        let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let sequence = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
        Some(Request {
            kind: half(4)?,
            flags: half(6)?,
            sequence,
            family: bytes.get(HEADER).copied().unwrap_or(0),
        })
    }

    fn wants(&self, family: u8) -> bool {
        self.family == 0 || self.family == family
    }
}

impl Netlink {
    /// A socket without a number.
    pub fn new() -> Rc<Netlink> {
        let queue = Rc::new(WaitQueue::new());
        Rc::new(Netlink {
            base: Base::new(Family::Netlink, Kind::Raw, 0),
            inbox: Channel::new(queue.clone(), None),
            queue,
            number: Cell::new(0),
        })
    }

    fn number(&self) -> u32 {
        if self.number.get() == 0 {
            self.number.set(task::current_process().id as u32);
        }
        self.number.get()
    }

    fn reply(&self, bytes: Vec<u8>) {
        self.inbox.deliver(bytes, Address::Netlink(0));
    }

    fn answer(&self, bytes: &[u8]) {
        let Some(request) = Request::parse(bytes) else {
            return;
        };
        let number = self.number();
        let make = |kind: u16, flags: u16| Reply::new(kind, flags, request.sequence, number);
        let many = request.flags & DUMP != 0;
        let flags = if many { MULTI } else { 0 };
        let interfaces = interfaces::all();
        let mut replies: Vec<Vec<u8>> = Vec::new();
        match request.kind {
            GET_LINK => {
                let index = bytes
                    .get(HEADER + 4..HEADER + 8)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map_or(0, u32::from_le_bytes);
                let wanted = |interface: &&Interface| many || interface.index == index;
                let all = interfaces.iter().filter(wanted);
                replies.extend(all.map(|interface| link(make(NEW_LINK, flags), interface)));
            }
            GET_ADDRESS => {
                for interface in &interfaces {
                    for address in &interface.addresses {
                        if request.wants(family_of(address.address())) {
                            replies.push(address_of(make(NEW_ADDRESS, flags), interface, address));
                        }
                    }
                }
            }
            GET_ROUTE => {
                for (target, gateway, index) in routes(&interfaces) {
                    if request.wants(family_of(target.address())) {
                        replies.push(route(make(NEW_ROUTE, flags), target, gateway, index));
                    }
                }
            }
            _ => {
                let code = -i32::from(Errno::OPNOTSUPP.0);
                let error = make(ERROR, 0).put(&code.to_le_bytes());
                self.reply(error.put(&bytes[..HEADER]).finish());
                return;
            }
        }
        if many {
            replies.push(make(DONE, MULTI).put(&0_i32.to_le_bytes()).finish());
        } else if replies.is_empty() || request.flags & ACKNOWLEDGE != 0 {
            let code = if replies.is_empty() {
                -i32::from(Errno::NODEV.0)
            } else {
                0
            };
            let error = make(ERROR, 0).put(&code.to_le_bytes());
            replies.push(error.put(&bytes[..HEADER]).finish());
        }
        // The end of a list comes alone, as programs with small buffers expect it.
        let last = replies.pop().unwrap_or_default();
        let rest = replies.concat();
        if !rest.is_empty() {
            self.reply(rest);
        }
        self.reply(last);
    }
}

fn link(reply: Reply, interface: &Interface) -> Vec<u8> {
    let mut name = interface.name.as_bytes().to_vec();
    name.push(0);
    let broadcast = if interface.index >= CARD_INDEX {
        [0xff; 6]
    } else {
        [0; 6]
    };
    reply
        .put(&[0, 0])
        .put(&interface.link.to_le_bytes())
        .put(&interface.index.to_le_bytes())
        .put(&interface.flags.to_le_bytes())
        .put(&[0; 4])
        .attribute(3, &name)
        .attribute(1, &interface.card)
        .attribute(2, &broadcast)
        .attribute(4, &interface.mtu.to_le_bytes())
        .attribute(13, &1000_u32.to_le_bytes())
        .attribute(16, &[6])
        .finish()
}

/// `RT_SCOPE_*`
fn scope(address: IpAddress) -> u8 {
    match address {
        IpAddress::Ipv4(address) if address.is_loopback() => 254,
        IpAddress::Ipv6(address) if address.is_loopback() => 254,
        IpAddress::Ipv6(address) if address.is_unicast_link_local() => 253,
        _ => 0,
    }
}

fn address_of(reply: Reply, interface: &Interface, address: &IpCidr) -> Vec<u8> {
    const PERMANENT: u8 = 0x80;
    let own = address.address();
    let bytes = octets(own);
    let mut name = interface.name.as_bytes().to_vec();
    name.push(0);
    let mut reply = reply
        .put(&[family_of(own), address.prefix_len(), PERMANENT, scope(own)])
        .put(&interface.index.to_le_bytes())
        .attribute(1, &bytes);
    if let IpCidr::Ipv4(address) = address {
        reply = reply.attribute(2, &bytes);
        if let Some(broadcast) = address.broadcast().filter(|_| scope(own) == 0) {
            reply = reply.attribute(4, &broadcast.octets());
        }
        reply = reply.attribute(3, &name);
    }
    reply.finish()
}

/// Networks, their gateways, and the numbers of the interfaces that lead there.
fn routes(interfaces: &[Interface]) -> Vec<(IpCidr, Option<IpAddress>, u32)> {
    let mut routes = Vec::new();
    for (card, index) in (0..stack::count()).zip(CARD_INDEX..) {
        stack::with_network(card, |network| {
            let table = network.interface.routes();
            let defaults = [
                table.get_default_ipv4_route(),
                table.get_default_ipv6_route(),
            ];
            for route in defaults.into_iter().flatten() {
                routes.push((route.cidr, Some(route.via_router), index));
            }
        });
    }
    for interface in interfaces {
        if interface.index >= CARD_INDEX {
            let near = interface.addresses.iter();
            routes.extend(near.map(|address| (*address, None, interface.index)));
        }
    }
    routes
}

fn route(reply: Reply, target: IpCidr, gateway: Option<IpAddress>, index: u32) -> Vec<u8> {
    const MAIN: u8 = 254;
    const BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    const LINK: u8 = 253;
    let scope = if gateway.is_some() { 0 } else { LINK };
    let bits = target.prefix_len();
    let mut reply = reply
        .put(&[family_of(target.address()), bits, 0, 0])
        .put(&[MAIN, BOOT, scope, UNICAST])
        .put(&[0; 4]);
    if bits > 0 {
        let network = match target {
            IpCidr::Ipv4(target) => octets(IpAddress::Ipv4(target.network().address())),
            IpCidr::Ipv6(target) => octets(IpAddress::Ipv6(target.address())),
        };
        reply = reply.attribute(1, &network);
    }
    if let Some(gateway) = gateway {
        reply = reply.attribute(5, &octets(gateway));
    }
    reply.attribute(4, &index.to_le_bytes()).finish()
}

impl File for Netlink {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        self.receive(out, Message::empty())
            .map(|received| received.length)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        self.send(input, None, &mut Control::default(), Message::empty())
    }

    fn ready(&self) -> Events {
        if self.inbox.is_empty() {
            Events::OUT
        } else {
            Events::OUT | Events::IN
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(fs::Kind::Socket, self.base.number)
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        interfaces::control(request, argument)
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for Netlink {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, address: Address) -> Result<()> {
        let Address::Netlink(number) = address else {
            return Err(Errno::INVAL);
        };
        self.number.set(number);
        self.number();
        Ok(())
    }

    fn connect(&self, address: Address) -> Result<()> {
        match address {
            Address::Netlink(0) | Address::Unspecified => Ok(()),
            Address::Netlink(_) => Err(Errno::CONNREFUSED),
            _ => Err(Errno::INVAL),
        }
    }

    fn local(&self) -> Address {
        Address::Netlink(self.number.get())
    }

    fn peer(&self) -> Result<Address> {
        Ok(Address::Netlink(0))
    }

    fn send(
        &self,
        input: &mut Input<'_>,
        _address: Option<&Address>,
        _control: &mut Control,
        _flags: Message,
    ) -> Result {
        let bytes = input.take_all(LONGEST)?;
        let mut rest = &bytes[..];
        while let Some(length) = rest.get(..4).and_then(|length| length.try_into().ok()) {
            let length = u32::from_le_bytes(length) as usize;
            if length < HEADER || length > rest.len() {
                break;
            }
            self.answer(&rest[..length]);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(bytes.len())
    }

    fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        self.inbox.receive(out, flags)
    }

    fn shutdown(&self, _receiving: bool, _sending: bool) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }
}
