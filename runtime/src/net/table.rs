//! The tables of `/proc/net`: the sockets that programs have open.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::wire::{IpAddress, IpEndpoint};

use super::address::{Address, Family};
use super::socket::{Kind, Socket};
use crate::file::Description;
use crate::fs::generated::Text;
use crate::{put, task};

/// States of a row, as `linux/tcp_states.h` counts them.
const ESTABLISHED: u8 = 1;
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;

/// The open files of all programs that are sockets of a family and a kind, each once, with the
/// user whose program has it.
fn open(family: Family, kind: Option<Kind>) -> Vec<(Rc<Description>, u32)> {
    let mut found: Vec<(u64, (Rc<Description>, u32))> = Vec::new();
    for process in task::all_processes() {
        let user = process.credentials.borrow().user();
        let files = process.file_table();
        for fd in files.descriptors() {
            let Ok(description) = files.get(fd) else {
                continue;
            };
            let base = description.file.socket().map(Socket::base);
            let number = base
                .filter(|base| base.family == family && kind.is_none_or(|kind| base.kind == kind));
            let Some(number) = number.map(|base| base.number) else {
                continue;
            };
            if let Err(place) = found.binary_search_by_key(&number, |one| one.0) {
                found.insert(place, (number, (description, user)));
            }
        }
    }
    found.into_iter().map(|(_, one)| one).collect()
}

fn put_end(text: &mut Text, family: Family, end: Option<IpEndpoint>) {
    let (address, port) = match end {
        Some(end) => (end.addr, end.port),
        None => (super::address::any(family), 0),
    };
    match (family, address) {
        (Family::Inet6, IpAddress::Ipv6(address)) => put_words(text, &address.octets()),
        (Family::Inet6, IpAddress::Ipv4(address)) if address != Ipv4Addr::UNSPECIFIED => {
            put_words(text, &address.to_ipv6_mapped().octets());
        }
        (Family::Inet6, IpAddress::Ipv4(_)) => put_words(text, &[0; 16]),
        (_, IpAddress::Ipv4(address)) => put_words(text, &address.octets()),
        (_, IpAddress::Ipv6(_)) => put_words(text, &[0; 4]),
    }
    put!(text, ":{port:04X}");
}

/// An address is shown as numbers of the machine.
fn put_words(text: &mut Text, octets: &[u8]) {
    for word in octets.chunks_exact(4) {
        if let Ok(word) = word.try_into() {
            put!(text, "{:08X}", u32::from_ne_bytes(word));
        }
    }
}

fn endpoint(address: &Address) -> Option<IpEndpoint> {
    match address {
        Address::Inet(endpoint) => Some(*endpoint),
        _ => None,
    }
}

/// Writes the rows of `tcp`, `tcp6`, `udp` or `udp6`.
pub fn put_inet(text: &mut Text, family: Family, kind: Kind) {
    let mut row = 0;
    for (description, user) in open(family, Some(kind)) {
        let Some(socket) = description.file.socket() else {
            continue;
        };
        let own = endpoint(&socket.local());
        let peer = socket.peer();
        let other = peer.as_ref().ok().and_then(endpoint);
        let state = match (kind, socket.listens(), &peer) {
            (_, true, _) => LISTENING,
            (_, _, Ok(_)) => ESTABLISHED,
            // What only has an address is in no table of Linux.
            (Kind::Stream, ..) => continue,
            _ if own.is_some_and(|own| own.port != 0) => CLOSED,
            _ => continue,
        };
        put!(text, "{row:4}: ");
        put_end(text, family, own);
        text.put(b" ");
        put_end(text, family, other);
        put!(
            text,
            " {state:02X} 00000000:00000000 00:00000000 00000000 {user:5}        0 {} 1 \
             0000000000000000 0\n",
            socket.base().number
        );
        row += 1;
    }
}

/// Writes the rows of `unix`.
pub fn put_unix(text: &mut Text) {
    const LISTENS: u32 = 0x1_0000;
    const UNCONNECTED: u8 = 1;
    const CONNECTED: u8 = 3;
    for (description, _) in open(Family::Unix, None) {
        let Some(socket) = description.file.socket() else {
            continue;
        };
        let flags = if socket.listens() { LISTENS } else { 0 };
        let kind = match socket.base().kind {
            Kind::Stream => 1,
            Kind::Datagram => 2,
            Kind::Raw => 3,
            Kind::Sequence => 5,
        };
        let state = if socket.peer().is_ok() {
            CONNECTED
        } else {
            UNCONNECTED
        };
        put!(
            text,
            "0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {state:02X} {:5}",
            socket.base().number
        );
        match socket.local() {
            Address::Path(path) => {
                text.put(b" ");
                text.put(&path);
            }
            Address::Abstract(name) => {
                text.put(b" @");
                text.put(&name);
            }
            _ => {}
        }
        text.put(b"\n");
    }
}
