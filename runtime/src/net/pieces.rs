//! Packets of IPv4 that are longer than what Ethernet carries: they travel in pieces.
//!
//! Source: RFC 791, sections 2.3 and 3.2; RFC 1858 and RFC 8900 for what not to accept.

use alloc::vec::Vec;

use smoltcp::wire::{EthernetFrame, IpAddress, IpEndpoint, IpProtocol, Ipv4Packet, UdpPacket};

use crate::time::SECOND;

/// The most bytes of a packet.
pub const LONGEST: usize = 65_535;
/// Bytes of a piece that come after its IP header.
const PIECE: usize = (1500 - HEADER) & !7;
/// Bytes of the Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of the IP header without options, which no one sends.
const HEADER: usize = 20;
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
type Key = ([u8; 4], [u8; 4], u16);

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
        self.ranges.push((start, end));
        self.ranges.sort_unstable();
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
    /// Whatever is no datagram of UDP is dropped: no one else sends so much at once.
    pub fn add(&mut self, frame: &[u8], now: u64) -> Option<Datagram> {
        self.0.retain(|parts| parts.deadline > now);
        let frame = EthernetFrame::new_checked(frame).ok()?;
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let (start, is_last) = (usize::from(packet.frag_offset()), !packet.more_frags());
        let piece = packet.payload();
        let whole = !piece.is_empty() && (is_last || piece.len().is_multiple_of(8));
        if !packet.verify_checksum() || packet.next_header() != IpProtocol::Udp || !whole {
            return None;
        }
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        let key = (source.octets(), destination.octets(), packet.ident());
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
        let (from, to) = (IpAddress::Ipv4(source), IpAddress::Ipv4(destination));
        if !udp.verify_checksum(&from, &to) {
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

    fn is_right(datagram: &Datagram, length: usize) -> bool {
        datagram.source.port == 7
            && datagram.destination == IpEndpoint::new(IpAddress::v4(10, 0, 2, 15), 9)
            && datagram.bytes.len() == length
            && datagram
                .bytes
                .iter()
                .enumerate()
                .all(|(i, &byte)| byte == (i % 251) as u8)
    }

    #[test]
    fn a_datagram_arrives_in_whatever_order_its_pieces_come() {
        for length in [1473, 1480, 5000, LONGEST - 28] {
            let mut order = pieces_of(length);
            assert_eq!(order.len(), (length + 8).div_ceil(PIECE));
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
