//! One address for a machine and for the processes of its network namespace.
//!
//! ```text
//! packets to eth0 ──► a process has a socket for it? ─yes─► the namespace's own stack
//!                                 └─no──► the machine
//! packets of processes to their own addresses (127.0.0.1, that of eth0), on the loopback:
//!                                 the same question; for the machine, as from SUPERVISOR to GUEST,
//!                                 and its answers back
//! ```
//!
//! The other containers of a Pod so have servers and clients as in every Pod, and what connects to the Pod from
//! inside, such as `kubectl port-forward`, reaches the machine. The question is asked for each packet, by a
//! program in the kernel: nothing has to be known about ports.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use kraft_core::net::Mac;

use super::program::{Call, Label, Program, Register, STACK, Width};
use super::{EVERY_PROTOCOL, INGRESS_HANDLE, KIND, OPTIONS, attribute, head};

/// The card between a namespace and its machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    /// Its index.
    pub(super) index: u32,
    /// The address and the hardware address of the namespace there.
    pub(super) own: (Ipv4Addr, Mac),
    /// Those of the machine.
    pub(super) machine: (Ipv4Addr, Mac),
}

/// What a packet begins with, on the stack: headers of Ethernet, of IP without options, and ports. The
/// addresses and ports are aligned, and in the order in which sockets are searched by.
const PACKET: i16 = -46;
const PACKET_LENGTH: i32 = 42;
const PROTOCOL_OF_FRAME: i16 = PACKET + 12;
const VERSION: i16 = PACKET + 14;
const FRAGMENT: i16 = PACKET + 20;
/// Of ARP: whether it is a request or an answer.
const OPERATION: i16 = PACKET + 20;
const PROTOCOL: i16 = PACKET + 23;
const SOURCE: i16 = PACKET + 26;
const DESTINATION: i16 = PACKET + 30;
const CONNECTION_LENGTH: i32 = 12;
/// Hardware addresses that replace others.
const HARDWARE: i16 = -60;

/// Offsets in a packet: of the addresses, and of checksums.
const AT_ADDRESSES: i32 = 26;
const AT_HEADER_CHECKSUM: i32 = 24;
const AT_TCP_CHECKSUM: i32 = 50;
const AT_UDP_CHECKSUM: i32 = 40;

/// Protocols, of frames and of packets.
const IP: u16 = 0x0800;
const ARP: u16 = 0x0806;
const TCP: u32 = 6;
const UDP: u32 = 17;
/// IP version 4 without options.
const PLAIN_HEADER: u32 = 0x45;
/// The bits that say that a packet is a part of another.
const FRAGMENTED: u16 = 0x3fff;
/// An answer of ARP.
const ANSWER: u16 = 2;

/// A change of four bytes; also of the pseudo header; a checksum of UDP that is 0 stays so.
const FOUR_BYTES: i32 = 4;
const PSEUDO_HEADER: i32 = 0x10;
const UDP_HAS_NONE: i32 = 0x20;

/// The state in the description of a socket (`struct bpf_sock`), and that of one that listens.
const STATE: i16 = 72;
const LISTENS: u32 = 10;

/// The packet continues to the namespace's stack (`TC_ACT_OK`).
const KEEP: i32 = 0;
/// It arrives at the interface, rather than to leave by it (`BPF_F_INGRESS`).
const ARRIVES: i32 = 1;
/// The namespace of the packet (`BPF_F_CURRENT_NETNS`).
const OWN_NAMESPACE: i32 = -1;

/// The packet, and the protocol in it; registers that survive calls.
const CONTEXT: Register = 6;
const FLAGS: Register = 7;
const KIND_OF_PACKET: Register = 9;

/// Returns the program of an interface that a machine takes over by a device: what is not for a socket of the
/// namespace goes there. Answers of ARP go to both.
pub(super) fn of_interface(device: u32) -> io::Result<OwnedFd> {
    let mut it = Program::default();
    let (machine, arp, keep) = (it.label(), it.label(), it.label());
    it.copy(CONTEXT, 1);
    load_packet(&mut it, machine);
    it.load(Width::Half, 1, STACK, PROTOCOL_OF_FRAME);
    it.jump_if(1, network_order(ARP), arp);
    check_packet(&mut it, machine);
    find_socket(&mut it, machine, None);
    it.place(keep);
    it.set(0, KEEP);
    it.exit();
    it.place(arp);
    it.load(Width::Half, 1, STACK, OPERATION);
    it.jump_unless(1, network_order(ANSWER), machine);
    it.copy(1, CONTEXT);
    it.set_word(2, device);
    it.set(3, 0);
    it.call(Call::CloneRedirect);
    it.jump(keep);
    it.place(machine);
    it.set_word(1, device);
    it.set(2, 0);
    it.call(Call::Redirect);
    it.exit();
    it.verified()
}

/// Returns the program of the loopback: what is for one of some addresses, and for no socket, goes to the
/// machine.
pub(super) fn of_loopback(addresses: &[Ipv4Addr], between: Between) -> io::Result<OwnedFd> {
    let mut it = Program::default();
    let (keep, own, machine) = (it.label(), it.label(), it.label());
    it.copy(CONTEXT, 1);
    load_packet(&mut it, keep);
    check_packet(&mut it, keep);
    it.load(Width::Word, 1, STACK, DESTINATION);
    for address in addresses {
        it.jump_if(1, word(*address), own);
    }
    it.jump(keep);
    it.place(own);
    find_socket(&mut it, machine, None);
    it.place(keep);
    it.set(0, KEEP);
    it.exit();
    it.place(machine);
    let ((own, own_mac), (to, to_mac)) = (between.own, between.machine);
    for place in [SOURCE, DESTINATION] {
        let new = if place == SOURCE { own } else { to };
        it.load(Width::Word, FLAGS, STACK, place);
        replace_checksums(&mut it, FLAGS, word(new));
    }
    replace_addresses(&mut it, own, to);
    replace_hardware(&mut it, to_mac, own_mac);
    it.set_word(1, between.index);
    it.set(2, 0);
    it.call(Call::Redirect);
    it.exit();
    it.verified()
}

/// Returns the program of the card between a namespace and its machine: answers to what [`of_loopback`] has
/// sent arrive at the loopback.
pub(super) fn of_card(
    addresses: &[Ipv4Addr],
    between: Between,
    loopback: u32,
) -> io::Result<OwnedFd> {
    let mut it = Program::default();
    let (keep, back) = (it.label(), it.label());
    it.copy(CONTEXT, 1);
    load_packet(&mut it, keep);
    check_packet(&mut it, keep);
    for (place, address) in [(SOURCE, between.machine.0), (DESTINATION, between.own.0)] {
        it.load(Width::Word, 1, STACK, place);
        it.jump_unless(1, word(address), keep);
    }
    for address in addresses {
        let next = it.label();
        it.store(SOURCE, word(*address));
        it.store(DESTINATION, word(*address));
        find_socket(&mut it, next, Some(next));
        it.jump(back);
        it.place(next);
    }
    it.place(keep);
    it.set(0, KEEP);
    it.exit();
    it.place(back);
    // The addresses are on the stack; both are the same.
    for old in [between.machine.0, between.own.0] {
        it.set_word(FLAGS, word(old));
        replace_checksums_by_stack(&mut it, FLAGS);
    }
    store(&mut it, AT_ADDRESSES, SOURCE, 8);
    // The loopback has none.
    replace_hardware(&mut it, Mac([0; 6]), Mac([0; 6]));
    it.set_word(1, loopback);
    it.set(2, ARRIVES);
    it.call(Call::Redirect);
    it.exit();
    it.verified()
}

/// Returns a filter that has a program decide on everything that arrives at an interface.
pub(super) fn filter(interface: u32, program: &OwnedFd) -> Vec<u8> {
    /// `TCA_BPF_FD`, `TCA_BPF_NAME` and `TCA_BPF_FLAGS`, with `TCA_BPF_FLAG_ACT_DIRECT`.
    const DESCRIPTOR: u16 = 6;
    const NAME: u16 = 7;
    const FLAGS: u16 = 8;
    const DECIDES: u32 = 1;
    let priority = 1 << 16;
    let info = priority | u32::from(EVERY_PROTOCOL.to_be());
    let mut message = head(interface, 0, INGRESS_HANDLE, info);
    attribute(&mut message, KIND, b"bpf\0");
    let mut options = Vec::new();
    attribute(&mut options, DESCRIPTOR, &program.as_raw_fd().to_ne_bytes());
    attribute(&mut options, NAME, b"kraft-runu\0");
    attribute(&mut options, FLAGS, &DECIDES.to_ne_bytes());
    attribute(&mut message, OPTIONS, &options);
    message
}

/// Loads the beginning of the packet, which may be too short.
fn load_packet(it: &mut Program, too_short: Label) {
    it.copy(1, CONTEXT);
    it.set(2, 0);
    it.address(3, PACKET);
    it.set(4, PACKET_LENGTH);
    it.call(Call::LoadBytes);
    it.jump_if_some(0, too_short);
}

/// Accepts whole packets of TCP and UDP.
fn check_packet(it: &mut Program, other: Label) {
    let good = it.label();
    it.load(Width::Half, 1, STACK, PROTOCOL_OF_FRAME);
    it.jump_unless(1, network_order(IP), other);
    it.load(Width::Byte, 1, STACK, VERSION);
    it.jump_unless(1, PLAIN_HEADER, other);
    it.load(Width::Half, 1, STACK, FRAGMENT);
    it.mask(1, FRAGMENTED.to_be());
    it.jump_unless(1, 0, other);
    it.load(Width::Byte, KIND_OF_PACKET, STACK, PROTOCOL);
    it.jump_if(KIND_OF_PACKET, TCP, good);
    it.jump_unless(KIND_OF_PACKET, UDP, other);
    it.place(good);
}

/// Continues if the namespace has a socket for the addresses and ports on the stack; one that listens may not
/// count.
fn find_socket(it: &mut Program, none: Label, listens: Option<Label>) {
    let found = it.label();
    for (kind, call) in [(TCP, Call::FindTcp), (UDP, Call::FindUdp)] {
        let other = it.label();
        it.jump_unless(KIND_OF_PACKET, kind, other);
        it.copy(1, CONTEXT);
        it.address(2, SOURCE);
        it.set(3, CONNECTION_LENGTH);
        it.set(4, OWN_NAMESPACE);
        it.set(5, 0);
        it.call(call);
        it.jump_if_none(0, none);
        it.load(Width::Word, FLAGS, 0, STATE);
        it.copy(1, 0);
        it.call(Call::Release);
        if let Some(listens) = listens {
            it.jump_if(FLAGS, LISTENS, listens);
        }
        it.jump(found);
        it.place(other);
    }
    it.jump(none);
    it.place(found);
}

/// Has both checksums follow the replacement of an address, which is in a register.
fn replace_checksums(it: &mut Program, old: Register, new: u32) {
    for_checksums(it, old, |it| it.set_word(4, new));
}

/// As [`replace_checksums`], with the new address on the stack.
fn replace_checksums_by_stack(it: &mut Program, old: Register) {
    for_checksums(it, old, |it| {
        it.load(Width::Word, 4, STACK, SOURCE);
    });
}

fn for_checksums(it: &mut Program, old: Register, new: impl Fn(&mut Program)) {
    let (udp, header) = (it.label(), it.label());
    let replace = |it: &mut Program, call, offset, flags| {
        it.copy(1, CONTEXT);
        it.set(2, offset);
        it.copy(3, old);
        new(it);
        it.set(5, flags);
        it.call(call);
    };
    it.jump_unless(KIND_OF_PACKET, TCP, udp);
    let flags = FOUR_BYTES | PSEUDO_HEADER;
    replace(it, Call::ReplaceChecksum, AT_TCP_CHECKSUM, flags);
    it.jump(header);
    it.place(udp);
    let flags = flags | UDP_HAS_NONE;
    replace(it, Call::ReplaceChecksum, AT_UDP_CHECKSUM, flags);
    it.place(header);
    let call = Call::ReplaceHeaderChecksum;
    replace(it, call, AT_HEADER_CHECKSUM, FOUR_BYTES);
}

/// Replaces both addresses of a packet.
fn replace_addresses(it: &mut Program, source: Ipv4Addr, destination: Ipv4Addr) {
    it.store(SOURCE, word(source));
    it.store(DESTINATION, word(destination));
    store(it, AT_ADDRESSES, SOURCE, 8);
}

/// Replaces both hardware addresses.
fn replace_hardware(it: &mut Program, destination: Mac, source: Mac) {
    let bytes = [destination.0, source.0].concat();
    let offsets = [HARDWARE, HARDWARE + 4, HARDWARE + 8];
    for (part, offset) in bytes.chunks_exact(4).zip(offsets) {
        let part = <[u8; 4]>::try_from(part).unwrap_or_default();
        it.store(offset, u32::from_ne_bytes(part));
    }
    store(it, 0, HARDWARE, 12);
}

/// Copies bytes from the stack to the packet.
fn store(it: &mut Program, offset: i32, from: i16, length: i32) {
    it.copy(1, CONTEXT);
    it.set(2, offset);
    it.address(3, from);
    it.set(4, length);
    it.set(5, 0);
    it.call(Call::StoreBytes);
}

/// Returns an address as a word in memory.
fn word(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Returns a number as it is in a packet.
fn network_order(number: u16) -> u32 {
    number.to_be().into()
}
