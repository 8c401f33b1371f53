//! Translation of addresses for a network namespace's own processes (`nft(8)`).
//!
//! ```text
//! other containers of a Pod, port forwarders ──► address of eth0 ──► address of the guest on the
//!                                                                    card between it and the namespace
//! ```
//!
//! A connection from inside the namespace to an address that a machine has taken over would end at the
//! namespace's own stack, where nothing listens. The kernel translates it (`linux/netfilter/nf_tables.h`).

use std::io;
use std::net::Ipv4Addr;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

use super::{attribute, nested};

/// The table with all rules.
const TABLE: &[u8] = b"kraft-runu\0";
/// The chain for what processes send, and that for what leaves.
const SENT: &[u8] = b"sent\0";
const LEAVING: &[u8] = b"leaving\0";

/// Messages: `NFNL_MSG_BATCH_BEGIN` and its end, and those of tables.
const BEGIN: u16 = 16;
const END: u16 = 17;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = NEW_TABLE + 2;
const NEW_CHAIN: u16 = NEW_TABLE + 3;
const NEW_RULE: u16 = NEW_TABLE + 6;

/// `NFPROTO_IPV4`
const IPV4: u8 = 2;
/// `NF_INET_LOCAL_OUT` and `NF_INET_POST_ROUTING`, with the priorities of translations there.
const OUTPUT: (u32, i32) = (3, -100);
const POSTROUTING: (u32, i32) = (4, 100);
/// `NFT_REG_1`
const REGISTER: u32 = 1;
/// `NFT_NAT_SNAT` and `NFT_NAT_DNAT`
const SOURCE: u32 = 0;
const DESTINATION: u32 = 1;

/// Has connections to some addresses go to another one, on whose network this namespace has the
/// address `own`.
pub(super) fn add(addresses: &[Ipv4Addr], own: Ipv4Addr, to: Ipv4Addr) -> io::Result<()> {
    let mut messages = vec![
        (NEW_TABLE, named(1, TABLE)),
        (NEW_CHAIN, chain(SENT, OUTPUT)),
        (NEW_CHAIN, chain(LEAVING, POSTROUTING)),
    ];
    for address in addresses {
        messages.push((NEW_RULE, rule(SENT, *address, DESTINATION, to)));
    }
    messages.push((NEW_RULE, rule(LEAVING, to, SOURCE, own)));
    commit(&messages)
}

/// Removes what [`add`] has made.
pub(super) fn remove() -> io::Result<()> {
    commit(&[(DELETE_TABLE, named(1, TABLE))])
}

fn named(kind: u16, name: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, kind, name);
    attributes
}

fn chain(name: &[u8], (hook, priority): (u32, i32)) -> Vec<u8> {
    let mut place = Vec::new();
    attribute(&mut place, 1, &hook.to_be_bytes());
    attribute(&mut place, 2, &priority.to_be_bytes());
    let mut attributes = named(1, TABLE);
    attribute(&mut attributes, 3, name);
    attribute(&mut attributes, 4, &place);
    attribute(&mut attributes, 7, b"nat\0");
    attributes
}

/// Returns the rule that replaces an address in packets to a destination.
fn rule(chain: &[u8], destination: Ipv4Addr, what: u32, address: Ipv4Addr) -> Vec<u8> {
    let number = |pairs: &[(u16, u32)]| {
        let mut data = Vec::new();
        for (kind, number) in pairs {
            attribute(&mut data, *kind, &number.to_be_bytes());
        }
        data
    };
    let value = |address: Ipv4Addr| nested(1, &address.octets());
    let mut expressions = Vec::new();
    let mut add = |name: &[u8], data: &[u8]| {
        let mut expression = named(1, name);
        attribute(&mut expression, 2, data);
        attribute(&mut expressions, 1, &expression);
    };
    // The destination is 4 bytes at 16 of the network header (1).
    add(
        b"payload\0",
        &number(&[(1, REGISTER), (2, 1), (3, 16), (4, 4)]),
    );
    let mut equal = number(&[(1, REGISTER), (2, 0)]);
    attribute(&mut equal, 3, &value(destination));
    add(b"cmp\0", &equal);
    let mut load = number(&[(1, REGISTER)]);
    attribute(&mut load, 2, &value(address));
    add(b"immediate\0", &load);
    add(
        b"nat\0",
        &number(&[(1, what), (2, IPV4.into()), (3, REGISTER)]),
    );
    let mut attributes = named(1, TABLE);
    attribute(&mut attributes, 2, chain);
    attribute(&mut attributes, 4, &expressions);
    attributes
}

/// Has the kernel do everything or nothing.
fn commit(messages: &[(u16, Vec<u8>)]) -> io::Result<()> {
    let family = rustix::net::AddressFamily::NETLINK;
    let socket = socket_with(
        family,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let mut bytes = Vec::new();
    append(&mut bytes, BEGIN, 0, SUBSYSTEM, &[]);
    for (at, (kind, attributes)) in messages.iter().enumerate() {
        // The last one is acknowledged; of the others only errors are reported.
        let acknowledge = if at + 1 == messages.len() {
            libc::NLM_F_ACK
        } else {
            0
        };
        let create = if *kind == DELETE_TABLE {
            0
        } else {
            libc::NLM_F_CREATE
        };
        let flags = u16::try_from(acknowledge | create).unwrap_or_default();
        append(&mut bytes, *kind, flags, 0, attributes);
    }
    append(&mut bytes, END, 0, SUBSYSTEM, &[]);
    send(&socket, &bytes, SendFlags::empty())?;
    // It has done so before the call returns.
    let mut answer = vec![0; 16 << 10];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    // Behind the header of 16 bytes, an error with a minus, or 0.
    let code = answer.get(16..20).filter(|_| length >= 20);
    let code = code
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Appends a message: its header (`nlmsghdr`), family and resource (`nfgenmsg`), and attributes.
fn append(to: &mut Vec<u8>, kind: u16, flags: u16, resource: u16, attributes: &[u8]) {
    let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
    let request = u16::try_from(libc::NLM_F_REQUEST).unwrap_or_default();
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend((flags | request).to_ne_bytes());
    to.extend([0; 8]);
    to.extend([if resource == 0 { IPV4 } else { 0 }, 0]);
    to.extend(resource.to_be_bytes());
    to.extend(attributes);
}
