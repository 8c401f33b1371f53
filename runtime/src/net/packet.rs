//! Which connection a packet belongs to.
//!
//! Source: RFC 791, RFC 792, RFC 8200, RFC 9293 and RFC 768.

use smoltcp::wire::{IpAddress, IpEndpoint};

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
        /// Why (the code of RFC 792).
        code: u8,
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
            let code = *payload.get(1)?;
            let (protocol, from, to, inner) = ipv4(payload.get(8..)?)?;
            Some(Packet::Unreachable {
                protocol,
                source: IpEndpoint::new(from, number(inner, 0)?),
                destination: IpEndpoint::new(to, number(inner, 2)?),
                code,
            })
        }
        ICMP6 => Some(Packet::Neighbor),
        _ => None,
    }
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
                code: 3
            }
        );
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
