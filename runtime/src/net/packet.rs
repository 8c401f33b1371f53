//! Which connection a packet belongs to.
//!
//! Source: RFC 791, RFC 792, RFC 4443, RFC 8200, RFC 9293 and RFC 768.

use core::net::Ipv4Addr;

use smoltcp::wire::{IpAddress, IpEndpoint, TcpPacket, UdpPacket};

use crate::abi::errno::Errno;

/// The length of a frame of [`arp_request`] in bytes.
pub const ARP_REQUEST: usize = 42;

/// Returns a frame that asks which card has an address. If that is the own one, it announces to the
/// network of the card that it has it (RFC 5227, section 3): hosts that knew another one send to this
/// one from now on.
pub fn arp_request(card: [u8; 6], own: Ipv4Addr, address: Ipv4Addr) -> [u8; ARP_REQUEST] {
    /// Ethernet and IPv4, with addresses of 6 and 4 bytes; a request (RFC 826).
    const REQUEST: [u8; 10] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    let mut frame = [0; ARP_REQUEST];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&card);
    frame[12..22].copy_from_slice(&REQUEST);
    frame[22..28].copy_from_slice(&card);
    frame[28..32].copy_from_slice(&own.octets());
    frame[38..].copy_from_slice(&address.octets());
    frame
}

/// What a packet says about its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A segment of TCP.
    Tcp {
        /// Who sent it.
        source: IpEndpoint,
        /// For whom it is.
        destination: IpEndpoint,
        /// The flags of its header.
        flags: u8,
    },
    /// A datagram of UDP.
    Udp {
        /// Who sent it.
        source: IpEndpoint,
        /// For whom it is.
        destination: IpEndpoint,
    },
    /// Someone could not deliver what was sent.
    Unreachable {
        /// 6 for TCP, 17 for UDP.
        protocol: u8,
        /// From where it was sent.
        source: IpEndpoint,
        /// To where.
        destination: IpEndpoint,
        /// The error that the sender gets.
        error: Errno,
    },
    /// A piece of a packet that was too long.
    Piece,
    /// Anything about neighbors: who waits for one may continue.
    Neighbor,
    /// Anything else.
    Other,
}

/// A connection begins.
pub const SYN: u8 = 2;
/// It is refused or ends at once.
pub const RST: u8 = 4;
/// Something is acknowledged.
pub const ACK: u8 = 16;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const PIECE6: u8 = 44;
const ICMP6: u8 = 58;

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Protocol, both addresses, and what follows the header of an IPv4 packet.
fn ipv4(bytes: &[u8]) -> Option<(u8, IpAddress, IpAddress, &[u8])> {
    let header = usize::from(bytes.first()? & 15) * 4;
    // Only the first piece of a packet says what the packet is.
    if number(bytes, 6)? & 0x1fff != 0 {
        return None;
    }
    let address = |at: usize| -> Option<IpAddress> {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddress::Ipv4(octets.into()))
    };
    Some((
        *bytes.get(9)?,
        address(12)?,
        address(16)?,
        bytes.get(header..)?,
    ))
}

fn ipv6(bytes: &[u8]) -> Option<(u8, IpAddress, IpAddress, &[u8])> {
    let address = |at: usize| -> Option<IpAddress> {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddress::Ipv6(octets.into()))
    };
    Some((*bytes.get(6)?, address(8)?, address(24)?, bytes.get(40..)?))
}

/// What was sent and could not be delivered.
fn unreachable(
    (protocol, from, to, payload): (u8, IpAddress, IpAddress, &[u8]),
    error: Errno,
) -> Option<Packet> {
    Some(Packet::Unreachable {
        protocol,
        source: IpEndpoint::new(from, number(payload, 0)?),
        destination: IpEndpoint::new(to, number(payload, 2)?),
        error,
    })
}

/// Looks at an Ethernet frame.
pub fn classify(frame: &[u8]) -> Packet {
    look(frame).unwrap_or(Packet::Other)
}

fn look(frame: &[u8]) -> Option<Packet> {
    let rest = frame.get(14..)?;
    let (protocol, from, to, payload) = match number(frame, 12)? {
        0x0806 => return Some(Packet::Neighbor),
        // More pieces follow, or some came before.
        0x0800 if number(rest, 6)? & 0x3fff != 0 => return Some(Packet::Piece),
        0x86dd if *rest.get(6)? == PIECE6 => return Some(Packet::Piece),
        0x0800 => ipv4(rest)?,
        0x86dd => ipv6(rest)?,
        _ => return None,
    };
    let ends = || -> Option<(IpEndpoint, IpEndpoint)> {
        Some((
            IpEndpoint::new(from, number(payload, 0)?),
            IpEndpoint::new(to, number(payload, 2)?),
        ))
    };
    match protocol {
        TCP => {
            let (source, destination) = ends()?;
            Some(Packet::Tcp {
                source,
                destination,
                flags: *payload.get(13)?,
            })
        }
        UDP => {
            let (source, destination) = ends()?;
            Some(Packet::Udp {
                source,
                destination,
            })
        }
        ICMP if *payload.first()? == 3 => {
            // The beginning of what could not be delivered follows.
            let error = match *payload.get(1)? {
                0 | 6 => Errno::NETUNREACH,
                2 | 3 => Errno::CONNREFUSED,
                _ => Errno::HOSTUNREACH,
            };
            unreachable(ipv4(payload.get(8..)?)?, error)
        }
        ICMP6 if *payload.first()? == 1 => {
            let error = match *payload.get(1)? {
                0 => Errno::NETUNREACH,
                1 | 5 | 6 => Errno::ACCES,
                4 => Errno::CONNREFUSED,
                _ => Errno::HOSTUNREACH,
            };
            unreachable(ipv6(payload.get(8..)?)?, error)
        }
        ICMP6 => Some(Packet::Neighbor),
        _ => None,
    }
}

/// The protocol of a frame that is no piece, its addresses, where what follows the header of IP
/// begins, and how long that is.
fn transport(frame: &[u8]) -> Option<(u8, IpAddress, IpAddress, usize, usize)> {
    let rest = frame.get(14..)?;
    let ((protocol, from, to, payload), length) = match number(frame, 12)? {
        0x0800 if number(rest, 6)? & 0x3fff == 0 => (ipv4(rest)?, usize::from(number(rest, 2)?)),
        0x86dd => (ipv6(rest)?, 40 + usize::from(number(rest, 4)?)),
        _ => return None,
    };
    let header = rest.len() - payload.len();
    let length = length.checked_sub(header)?;
    (length <= payload.len()).then_some((protocol, from, to, 14 + header, length))
}

/// Whether the checksum of TCP or UDP of a frame is right, where it has one.
pub fn is_intact(frame: &[u8]) -> bool {
    let Some((protocol, from, to, start, length)) = transport(frame) else {
        // smoltcp refuses it, or looks at its checksum.
        return true;
    };
    let bytes = frame.get(start..start + length).unwrap_or(&[]);
    match protocol {
        TCP => TcpPacket::new_checked(bytes).is_ok_and(|it| it.verify_checksum(&from, &to)),
        UDP => UdpPacket::new_checked(bytes).is_ok_and(|it| it.verify_checksum(&from, &to)),
        _ => true,
    }
}

/// Prepares a frame for a device that computes the checksum of TCP: the checksum of the addresses
/// is in its place. Returns where the segment begins; `None` for anything else.
pub fn prepare_checksum(frame: &mut [u8]) -> Option<usize> {
    let (protocol, from, to, start, length) = transport(frame)?;
    if protocol != TCP {
        return None;
    }
    let words = |bytes: &[u8]| -> u32 {
        let words = bytes.as_chunks::<2>().0.iter();
        words.map(|&word| u32::from(u16::from_be_bytes(word))).sum()
    };
    let address = |address| match address {
        IpAddress::Ipv4(address) => words(&address.octets()),
        IpAddress::Ipv6(address) => words(&address.octets()),
    };
    let sum = address(from) + address(to) + u32::from(TCP) + length as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let place = frame.get_mut(start + 16..start + 18)?;
    place.copy_from_slice(&(sum as u16).to_be_bytes());
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(protocol: u8, payload: &[u8]) -> alloc::vec::Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        frame.extend_from_slice(&[8, 0]);
        frame.extend_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend_from_slice(&[10, 0, 2, 2, 10, 0, 2, 15]);
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn an_announcement_is_read_as_a_request_for_its_own_address() {
        use smoltcp::wire::{ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol};
        let (card, address) = ([2, 0xb0, 0xb0, 0, 0, 5], Ipv4Addr::new(10, 0, 2, 15));
        let frame = arp_request(card, address, address);
        let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
        assert!(frame.dst_addr().is_broadcast());
        assert_eq!(frame.ethertype(), EthernetProtocol::Arp);
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).unwrap()).unwrap()
        else {
            panic!("another kind of packet");
        };
        assert_eq!(operation, smoltcp::wire::ArpOperation::Request);
        assert_eq!((source_hardware_addr.0, frame.src_addr().0), (card, card));
        assert_eq!(
            (source_protocol_addr, target_protocol_addr),
            (address, address)
        );
    }

    fn end(last: u8, port: u16) -> IpEndpoint {
        IpEndpoint::new(IpAddress::v4(10, 0, 2, last), port)
    }

    #[test]
    fn a_segment_has_two_ends() {
        let mut segment = [0; 20];
        segment[..4].copy_from_slice(&[0x30, 0x39, 0x1f, 0x90]);
        segment[13] = SYN;
        assert_eq!(
            classify(&frame(TCP, &segment)),
            Packet::Tcp {
                source: end(2, 12345),
                destination: end(15, 8080),
                flags: SYN
            }
        );
        assert_eq!(classify(&frame(TCP, &segment[..8])), Packet::Other);
    }

    #[test]
    fn an_error_names_what_was_sent() {
        let inner = frame(UDP, &[0x1f, 0x90, 0, 53, 0, 8, 0, 0]);
        let mut error = alloc::vec![3, 3, 0, 0, 0, 0, 0, 0];
        error.extend_from_slice(&inner[14..]);
        assert_eq!(
            classify(&frame(ICMP, &error)),
            Packet::Unreachable {
                protocol: UDP,
                source: end(2, 8080),
                destination: end(15, 53),
                error: Errno::CONNREFUSED
            }
        );
    }

    #[test]
    fn an_error_of_ipv6_names_what_was_sent_too() {
        let address = |last: u8| {
            let mut octets = [0; 16];
            (octets[0], octets[15]) = (0xfd, last);
            octets
        };
        let packet = |next: u8, from: u8, to: u8, payload: &[u8]| {
            let head = [0x60, 0, 0, 0, 0, 0, next, 64];
            [&head[..], &address(from), &address(to), payload].concat()
        };
        let inner = packet(TCP, 2, 9, &[0x1f, 0x90, 0, 80]);
        let error = [&[1, 0, 0, 0, 0, 0, 0, 0], &inner[..]].concat();
        let mut frame = alloc::vec![0; 12];
        frame.extend_from_slice(&[0x86, 0xdd]);
        frame.extend(packet(ICMP6, 1, 2, &error));
        let end = |last, port| IpEndpoint::new(IpAddress::Ipv6(address(last).into()), port);
        assert_eq!(
            classify(&frame),
            Packet::Unreachable {
                protocol: TCP,
                source: end(2, 8080),
                destination: end(9, 80),
                error: Errno::NETUNREACH
            }
        );
    }

    #[test]
    fn a_device_can_finish_a_checksum_and_a_wrong_one_is_seen() {
        let mut segment = alloc::vec![0; 20];
        segment[..4].copy_from_slice(&[0x30, 0x39, 0x1f, 0x90]);
        segment[12] = 0x50;
        segment.extend_from_slice(b"odd");
        let mut whole = frame(TCP, &segment);
        let length = (whole.len() - 14) as u16;
        whole[16..18].copy_from_slice(&length.to_be_bytes());
        assert!(!is_intact(&whole));
        let start = prepare_checksum(&mut whole).unwrap();
        assert_eq!(start, 34);
        // What the device does: the sum from there on, padded, goes to its place.
        let mut padded = whole[start..].to_vec();
        padded.push(0);
        let words = padded.as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|&it| u32::from(u16::from_be_bytes(it))).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        whole[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
        assert!(is_intact(&whole));
        whole[40] ^= 1;
        assert!(!is_intact(&whole));
        let mut datagram = frame(UDP, &[0; 8]);
        assert_eq!(prepare_checksum(&mut datagram), None);
    }

    #[test]
    fn a_piece_says_nothing_about_its_flow() {
        for bits in [[0x20, 0], [0, 185], [0x20, 185]] {
            let mut piece = frame(UDP, &[0; 8]);
            piece[20..22].copy_from_slice(&bits);
            assert_eq!(classify(&piece), Packet::Piece);
        }
        let mut whole = frame(UDP, &[0; 8]);
        whole[20] = 0x40; // it must not be split
        assert!(matches!(classify(&whole), Packet::Udp { .. }));
    }

    #[test]
    fn short_frames_are_nothing() {
        let whole = frame(TCP, &[0; 20]);
        for length in 0..whole.len() - 7 {
            assert_eq!(classify(&whole[..length]), Packet::Other);
        }
    }
}
