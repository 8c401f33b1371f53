//! Packets that are longer than what Ethernet carries: they travel in pieces.
//!
//! Source: RFC 791, sections 2.3 and 3.2; RFC 8200, section 4.5; RFC 1858 and RFC 8900 for what not
//! to accept.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpEndpoint, IpProtocol, Ipv4Packet,
    Ipv6FragmentHeader, Ipv6Packet, Ipv6Repr, UdpPacket,
};

use crate::random;
use crate::time::SECOND;

/// The most bytes of a packet.
pub const LONGEST: usize = 65_535;
/// Bytes of the Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of the IP header without options, which no one sends.
const HEADER: usize = 20;
/// The same of IPv6, and the bytes of its header of a piece.
const HEADER6: usize = 40;
const PIECE_HEADER: usize = 8;
/// Bytes of a piece that come after the headers.
const PIECE: usize = (1500 - HEADER) & !7;
const PIECE6: usize = (1500 - HEADER6 - PIECE_HEADER) & !7;
/// How many routers a piece of IPv6 may pass.
const HOPS: u8 = 64;
/// How long the pieces of a packet are waited for.
const PATIENCE: u64 = 15 * SECOND;
/// The most packets that wait for pieces.
const MOST_PACKETS: usize = 8;
/// The most ranges of a packet that are there, with gaps between them.
const MOST_RANGES: usize = 32;

/// Splits a frame with a packet of IPv4, and gives `send` each piece: its headers and its bytes.
/// `number` is what the pieces have in common.
pub fn split(frame: &[u8], number: u16, mut send: impl FnMut(&[u8], &[u8])) {
    let (Some(head), Some(payload)) = (
        frame.get(..ETHERNET + HEADER),
        frame.get(ETHERNET + HEADER..),
    ) else {
        return;
    };
    let mut headers = [0; ETHERNET + HEADER];
    let last = payload.len().div_ceil(PIECE).saturating_sub(1);
    for (index, bytes) in payload.chunks(PIECE).enumerate() {
        headers.copy_from_slice(head);
        let mut packet = Ipv4Packet::new_unchecked(&mut headers[ETHERNET..]);
        packet.set_ident(number);
        packet.set_dont_frag(false);
        packet.set_more_frags(index < last);
        packet.set_frag_offset((index * PIECE) as u16);
        packet.set_total_len((HEADER + bytes.len()) as u16);
        packet.fill_checksum();
        send(&headers, bytes);
    }
}

/// Splits a datagram with its header of UDP, and gives `send` the headers and the bytes of each
/// packet of IPv6 that carries a piece of it.
pub fn split_ipv6(
    from: Ipv6Addr,
    to: Ipv6Addr,
    datagram: &[u8],
    mut send: impl FnMut(&[u8], &[u8]),
) {
    let number = random::number() as u32;
    let mut headers = [0; HEADER6 + PIECE_HEADER];
    let last = datagram.len().div_ceil(PIECE6).saturating_sub(1);
    for (index, bytes) in datagram.chunks(PIECE6).enumerate() {
        let header = Ipv6Repr {
            src_addr: from,
            dst_addr: to,
            next_header: IpProtocol::Ipv6Frag,
            payload_len: PIECE_HEADER + bytes.len(),
            hop_limit: HOPS,
        };
        header.emit(&mut Ipv6Packet::new_unchecked(&mut headers[..]));
        let (_, rest) = headers.split_at_mut(HEADER6);
        rest[0] = IpProtocol::Udp.into();
        let mut header = Ipv6FragmentHeader::new_unchecked(&mut rest[2..]);
        header.set_frag_offset((index * PIECE6 / 8) as u16);
        header.set_more_frags(index < last);
        header.set_ident(number);
        send(&headers, bytes);
    }
}

/// A datagram whose pieces are all there.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpEndpoint,
    /// For whom it is.
    pub destination: IpEndpoint,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What all pieces of a packet have in common: source, destination, number.
type Key = (IpAddress, IpAddress, u32);

/// A piece of a datagram.
struct Piece<'a> {
    key: Key,
    start: usize,
    is_last: bool,
    bytes: &'a [u8],
}

/// Reads a frame with a piece. `None` for pieces of anything but datagrams: no one else sends so
/// much at once.
fn parse(frame: &[u8]) -> Option<Piece<'_>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let piece = if frame.ethertype() == EthernetProtocol::Ipv6 {
        parse_ipv6(frame.payload())?
    } else {
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        if !packet.verify_checksum() || packet.next_header() != IpProtocol::Udp {
            return None;
        }
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let header = usize::from(packet.header_len());
        Piece {
            key: (source.into(), destination.into(), u32::from(packet.ident())),
            start: usize::from(packet.frag_offset()),
            is_last: !packet.more_frags(),
            bytes: frame
                .payload()
                .get(header..usize::from(packet.total_len()))?,
        }
    };
    let is_whole = piece.is_last || piece.bytes.len().is_multiple_of(8);
    (is_whole && !piece.bytes.is_empty()).then_some(piece)
}

fn parse_ipv6(bytes: &[u8]) -> Option<Piece<'_>> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let rest = bytes.get(HEADER6..packet.total_len())?;
    let (header, bytes) = rest.split_at_checked(PIECE_HEADER)?;
    if IpProtocol::from(*header.first()?) != IpProtocol::Udp {
        return None;
    }
    let header = Ipv6FragmentHeader::new_checked(header.get(2..)?).ok()?;
    Some(Piece {
        key: (source.into(), destination.into(), header.ident()),
        start: usize::from(header.frag_offset()) * 8,
        is_last: !header.more_frags(),
        bytes,
    })
}

/// A packet that comes in pieces.
struct Parts {
    key: Key,
    deadline: u64,
    bytes: Vec<u8>,
    /// The ranges that are there, in order and not adjacent.
    ranges: Vec<(usize, usize)>,
    /// The length, when the last piece is there.
    length: Option<usize>,
}

impl Parts {
    /// Enters a piece. `None` if it does not fit to the others: the packet is given up.
    fn add(&mut self, start: usize, piece: &[u8], is_last: bool) -> Option<()> {
        let end = start + piece.len();
        let known = self
            .ranges
            .iter()
            .any(|&(from, to)| from <= start && end <= to);
        if known && (!is_last || self.length == Some(end)) {
            return Some(()); // it came twice
        }
        let overlaps = self
            .ranges
            .iter()
            .any(|&(from, to)| start < to && from < end);
        let after_end = self.length.is_some_and(|length| end > length || is_last);
        if overlaps || after_end || end > LONGEST - HEADER {
            return None;
        }
        if is_last {
            if self.bytes.len() > end {
                return None;
            }
            self.length = Some(end);
        }
        if end > self.bytes.len() {
            self.bytes.try_reserve(end - self.bytes.len()).ok()?;
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(start..end)?.copy_from_slice(piece);
        let place = self.ranges.partition_point(|&(other, _)| other < start);
        self.ranges.insert(place, (start, end));
        self.ranges.dedup_by(|next, range| {
            let adjacent = range.1 == next.0;
            if adjacent {
                range.1 = next.1;
            }
            adjacent
        });
        (self.ranges.len() <= MOST_RANGES).then_some(())
    }

    fn is_complete(&self) -> bool {
        self.length
            .is_some_and(|length| self.ranges == [(0, length)])
    }
}

/// The packets that wait for pieces.
#[derive(Default)]
pub struct Pieces(Vec<Parts>);

impl Pieces {
    /// No packets.
    pub const fn new() -> Pieces {
        Pieces(Vec::new())
    }

    /// Enters a frame with a piece that came at `now`; the datagram, if that was all of it.
    pub fn add(&mut self, frame: &[u8], now: u64) -> Option<Datagram> {
        self.0.retain(|parts| parts.deadline > now);
        let Piece {
            key,
            start,
            is_last,
            bytes: piece,
        } = parse(frame)?;
        let index = match self.0.iter().position(|parts| parts.key == key) {
            Some(index) => index,
            None => {
                if self.0.len() == MOST_PACKETS {
                    self.0.remove(0);
                }
                self.0.push(Parts {
                    key,
                    deadline: now + PATIENCE,
                    bytes: Vec::new(),
                    ranges: Vec::new(),
                    length: None,
                });
                self.0.len() - 1
            }
        };
        let parts = self.0.get_mut(index)?;
        if parts.add(start, piece, is_last).is_none() {
            self.0.remove(index);
            return None;
        }
        if !parts.is_complete() {
            return None;
        }
        let mut bytes = self.0.remove(index).bytes;
        let udp = UdpPacket::new_checked(&bytes[..]).ok()?;
        let (from, to, _) = key;
        // Only IPv4 does without a checksum.
        let is_unchecked = matches!(from, IpAddress::Ipv6(_)) && udp.checksum() == 0;
        if is_unchecked || !udp.verify_checksum(&from, &to) {
            return None;
        }
        let source = IpEndpoint::new(from, udp.src_port());
        let destination = IpEndpoint::new(to, udp.dst_port());
        let length = udp.payload().len();
        bytes.drain(..8);
        bytes.truncate(length);
        Some(Datagram {
            source,
            destination,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a datagram of `length` bytes, from 10.0.2.2:7 to 10.0.2.15:9.
    fn frame(length: usize) -> Vec<u8> {
        let mut frame = alloc::vec![0; ETHERNET + HEADER + 8 + length];
        frame[12] = 8;
        let (from, to) = ([10, 0, 2, 2].into(), [10, 0, 2, 15].into());
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[ETHERNET..]);
        packet.set_version(4);
        packet.set_header_len(HEADER as u8);
        packet.set_next_header(IpProtocol::Udp);
        packet.set_src_addr(from);
        packet.set_dst_addr(to);
        packet.set_total_len((HEADER + 8 + length) as u16);
        packet.set_dont_frag(true);
        packet.fill_checksum();
        let mut udp = UdpPacket::new_unchecked(&mut frame[ETHERNET + HEADER..]);
        udp.set_src_port(7);
        udp.set_dst_port(9);
        udp.set_len((8 + length) as u16);
        for (index, byte) in udp.payload_mut().iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        udp.fill_checksum(&IpAddress::Ipv4(from), &IpAddress::Ipv4(to));
        frame
    }

    fn pieces_of(length: usize) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        split(&frame(length), 77, |headers, bytes| {
            assert!(headers.len() + bytes.len() <= 1514);
            pieces.push([headers, bytes].concat());
        });
        pieces
    }

    /// The same datagram with its header, from fd00::2 to fd00::15.
    fn datagram6(length: usize) -> Vec<u8> {
        let mut datagram = frame(length).split_off(ETHERNET + HEADER);
        let [from, to] = ENDS6.map(IpAddress::Ipv6);
        UdpPacket::new_unchecked(&mut datagram[..]).fill_checksum(&from, &to);
        datagram
    }

    const ENDS6: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x15),
    ];

    fn pieces_of6(datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut ethernet = [0; ETHERNET];
        ethernet[12..].copy_from_slice(&[0x86, 0xdd]);
        split_ipv6(ENDS6[0], ENDS6[1], datagram, |headers, bytes| {
            assert!(headers.len() + bytes.len() <= 1500);
            pieces.push([&ethernet, headers, bytes].concat());
        });
        pieces
    }

    fn is_right(datagram: &Datagram, length: usize) -> bool {
        datagram.source.port == 7
            && datagram.destination.port == 9
            && datagram.bytes.len() == length
            && datagram
                .bytes
                .iter()
                .enumerate()
                .all(|(i, &byte)| byte == (i % 251) as u8)
    }

    #[test]
    fn a_datagram_arrives_in_whatever_order_its_pieces_come() {
        let lengths = [1473, 1480, 5000, LONGEST - 28];
        let cases = lengths.map(|length| {
            let ipv6 = pieces_of6(&datagram6(length));
            [(length, pieces_of(length), PIECE), (length, ipv6, PIECE6)]
        });
        for (length, mut order, piece) in cases.into_iter().flatten() {
            assert_eq!(order.len(), (length + 8).div_ceil(piece));
            for _ in 0..order.len() {
                order.rotate_left(1);
                let mut pieces = Pieces::new();
                let (last, first) = order.split_last().unwrap();
                assert!(first.iter().all(|piece| pieces.add(piece, 0).is_none()));
                // What comes twice does not matter.
                assert_eq!(pieces.add(&first[0], 0), None);
                assert!(is_right(&pieces.add(last, 0).unwrap(), length));
                assert!(pieces.0.is_empty());
            }
        }
    }

    #[test]
    fn pieces_that_do_not_fit_end_their_packet() {
        let sent = pieces_of(5000);
        let mut pieces = Pieces::new();
        let mut overlap = sent[1].clone();
        let mut header = Ipv4Packet::new_unchecked(&mut overlap[ETHERNET..]);
        header.set_frag_offset(8);
        header.fill_checksum();
        assert_eq!(pieces.add(&sent[0], 0), None);
        assert_eq!(pieces.add(&overlap, 0), None);
        assert!(pieces.0.is_empty());
        for cut in 0..ETHERNET + HEADER + 8 {
            assert_eq!(pieces.add(&sent[0][..cut], 0), None);
        }
        let mut wrong = sent.clone();
        wrong[2][600] ^= 1;
        assert!(wrong.iter().all(|piece| pieces.add(piece, 0).is_none()));
        assert!(pieces.0.is_empty());
    }

    #[test]
    fn pieces_of_ipv6_that_do_not_fit_end_their_packet() {
        let sent = pieces_of6(&datagram6(5000));
        let mut pieces = Pieces::new();
        let mut overlap = sent[1].clone();
        overlap[ETHERNET + HEADER6 + 2..][..2].copy_from_slice(&[0, 9]);
        assert_eq!(pieces.add(&sent[0], 0), None);
        assert_eq!(pieces.add(&overlap, 0), None);
        assert!(pieces.0.is_empty());
        for cut in 0..sent[0].len() {
            assert_eq!(pieces.add(&sent[0][..cut], 0), None);
        }
        assert!(pieces.0.is_empty());
        let mut unchecked = datagram6(5000);
        unchecked[6..8].copy_from_slice(&[0, 0]);
        let sent = pieces_of6(&unchecked);
        assert!(sent.iter().all(|piece| pieces.add(piece, 0).is_none()));
        // A packet in one piece is a packet.
        let mut alone = pieces_of6(&datagram6(100)).swap_remove(0);
        assert!(is_right(&pieces.add(&alone, 0).unwrap(), 100));
        alone[ETHERNET + HEADER6] = 6;
        assert_eq!(pieces.add(&alone, 0), None);
    }

    #[test]
    fn few_packets_wait_and_none_for_ever() {
        let mut pieces = Pieces::new();
        for number in 0..100 {
            let mut piece = pieces_of(5000).swap_remove(0);
            let mut header = Ipv4Packet::new_unchecked(&mut piece[ETHERNET..]);
            header.set_ident(number);
            header.fill_checksum();
            assert_eq!(pieces.add(&piece, 0), None);
        }
        assert_eq!(pieces.0.len(), MOST_PACKETS);
        assert_eq!(pieces.add(&pieces_of(2000)[1], PATIENCE), None);
        assert_eq!(pieces.0.len(), 1);
    }
}
