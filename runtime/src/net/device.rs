//! Network cards: virtio devices whose packets smoltcp reads and writes.
//!
//! Notifying the device of something leaves the virtual machine, which costs more than a packet:
//! it is notified once of all packets that are there ([`Card::flush`]).
//!
//! Both sides say by a flag whether they want to be notified. (The other way, by the index of an
//! event, is not taken: the queue compares indices without regard to their overflow, so that the
//! device waits for ever about once in 65,536 packets.)
//!
//! Where the device can, it computes the checksums of TCP, and splits what is sent at once into
//! segments.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.7 and 5.1.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};
use core::sync::atomic::{Ordering, fence};

use bitflags::bitflags;
use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::time::Instant;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{packet, pieces, stack};
use crate::abi::errno::{Errno, Result};
use crate::random;
use crate::virtio::{DeviceTransport, Interrupts, MachineMemory};

/// Packets in each direction that the device and the kernel exchange.
const QUEUE: usize = 128;
/// Bytes of a packet with its headers.
const BUFFER: usize = 2048;
/// The longest packet, with the Ethernet header.
const LONGEST: usize = 1514;
/// The longest packet that the device splits, and how many of them it gets at a time.
const LARGE: usize = 16 << 10;
const MOST_LARGE: usize = 8;
/// Stands for the size of segments where a packet is to be sent in pieces, as datagrams are.
pub const IN_PIECES: NonZeroU16 = NonZeroU16::MAX;
/// Bytes of the largest header of the device.
const MOST_HEADER: usize = 12;

/// The numbers of the queues.
const RECEIVING: u16 = 0;
const SENDING: u16 = 1;

bitflags! {
    /// What the device can do and the driver uses.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        /// It computes checksums.
        const CHECKSUM = 1;
        /// It hands over packets whose checksum no one needs to compute.
        const CHECKED = 1 << 1;
        /// It splits what is longer than a segment of TCP, by IPv4 and by IPv6.
        const SEGMENTS_4 = 1 << 11;
        /// See [`Features::SEGMENTS_4`].
        const SEGMENTS_6 = 1 << 12;
        /// It has an address.
        const ADDRESS = 1 << 5;
        /// It keeps to version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

/// Memory of one packet.
#[repr(C, align(8))]
pub struct Buffer([u8; BUFFER]);

/// Memory for a packet that is sent.
enum Outbound {
    Usual(Box<Buffer>),
    /// What the device splits.
    Large(Box<[u8]>),
}

impl Outbound {
    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Outbound::Usual(buffer) => &mut buffer.0,
            Outbound::Large(bytes) => bytes,
        }
    }
}

/// A packet that was received: its buffer goes back with [`Card::recycle`].
pub struct Received {
    buffer: Box<Buffer>,
    start: usize,
    end: usize,
    /// Whether its checksum is still to be looked at.
    unchecked: bool,
}

impl Received {
    /// Whether it arrived as it was sent, as far as smoltcp does not see to that.
    pub fn is_intact(&self) -> bool {
        !self.unchecked || packet::is_intact(self.bytes())
    }

    /// The Ethernet frame.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.0.get(self.start..self.end).unwrap_or(&[])
    }
}

/// The driver of a network card.
#[expect(clippy::vec_box, reason = "the device knows where buffers are")]
pub struct Card {
    transport: DeviceTransport,
    address: [u8; 6],
    /// The address that the card had before, or the same.
    former: [u8; 6],
    receive_queue: VirtQueue<MachineMemory, QUEUE>,
    send_queue: VirtQueue<MachineMemory, QUEUE>,
    /// Whether something in these queues is new to the device.
    tell: [bool; 2],
    /// Whether the device interrupts when it has sent something.
    awaits_space: bool,
    /// The buffers that the device fills, by their tokens.
    receiving: [Option<Box<Buffer>>; QUEUE],
    /// The buffers that the device sends, by their tokens, with their lengths.
    sending: [Option<(Outbound, usize)>; QUEUE],
    /// Buffers for sending.
    free: Vec<Box<Buffer>>,
    /// Those for what the device splits, and how many there are.
    free_large: Vec<Box<[u8]>>,
    large: usize,
    header: usize,
    features: Features,
    /// Whether a packet found no buffer since someone asked.
    exhausted: bool,
    /// Memory for a packet that is sent in pieces, and how many there were.
    long: Vec<u8>,
    splits: u16,
}

/// Notifies the card of that number.
struct Acknowledge(usize);

impl Interrupts for Acknowledge {
    fn acknowledge(&self) {
        stack::acknowledge_interrupt(self.0);
    }
}

/// Starts the driver of a network device.
pub fn start(mut transport: DeviceTransport) -> Option<Rc<dyn Interrupts>> {
    let features = transport.begin_init(Features::all());
    let address = if features.contains(Features::ADDRESS) {
        transport.read_config_space(0).ok()?
    } else {
        // Any address that no one gave to a card.
        let [a, b, c, d, e, ..] = random::number().to_le_bytes();
        [2, a, b, c, d, e]
    };
    let receive_queue = VirtQueue::new(&mut transport, RECEIVING, false, false).ok()?;
    let mut send_queue = VirtQueue::new(&mut transport, SENDING, false, false).ok()?;
    send_queue.set_dev_notify(false);
    transport.finish_init();
    let mut card = Card {
        transport,
        address,
        former: address,
        receive_queue,
        send_queue,
        tell: [false; 2],
        awaits_space: false,
        receiving: [const { None }; QUEUE],
        sending: [const { None }; QUEUE],
        free: Vec::with_capacity(QUEUE),
        free_large: Vec::new(),
        large: 0,
        features,
        // The number of buffers of a packet came with version 1.
        header: if features.contains(Features::VERSION_1) {
            12
        } else {
            10
        },
        exhausted: false,
        long: Vec::new(),
        splits: random::number() as u16,
    };
    for _ in 0..QUEUE {
        card.receive_into(Box::new(Buffer([0; BUFFER])));
    }
    if !card.allocate_large() {
        card.features
            .remove(Features::SEGMENTS_4 | Features::SEGMENTS_6);
    }
    // As many as the queue has places for, so that what has a buffer has a place.
    let large = if card.splits_segments() {
        MOST_LARGE
    } else {
        0
    };
    for _ in large..QUEUE {
        card.free.push(Box::new(Buffer([0; BUFFER])));
    }
    card.flush();
    let number = stack::attach(card)?;
    Some(Rc::new(Acknowledge(number)))
}

impl Card {
    /// The card's own address.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Gives the card another address. The device passes on packets for any. Who asked for the card a
    /// moment ago sends to the former one.
    pub fn set_address(&mut self, address: [u8; 6]) {
        self.former = core::mem::replace(&mut self.address, address);
    }

    /// Notifies the device that its interrupt was seen.
    pub fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Notifies the device of what it does not know yet.
    pub fn flush(&mut self) {
        let tell = core::mem::take(&mut self.tell);
        if tell == [false; 2] {
            return;
        }
        // What is new is there before it is asked whether the device looks for it.
        fence(Ordering::SeqCst);
        let [receiving, sending] = tell;
        if receiving && self.receive_queue.should_notify() {
            self.transport.notify(RECEIVING);
        }
        if sending && self.send_queue.should_notify() {
            self.transport.notify(SENDING);
        }
    }

    fn receive_into(&mut self, mut buffer: Box<Buffer>) {
        // SAFETY: the buffer is kept until the device gives it back, and not used meanwhile.
        let token = unsafe { self.receive_queue.add(&[], &mut [&mut buffer.0]) };
        self.tell[usize::from(RECEIVING)] = true;
        if let Ok(token) = token
            && let Some(place) = self.receiving.get_mut(usize::from(token))
        {
            *place = Some(buffer);
        } else {
            // The device has as many buffers as it takes; forgetting one is safe whatever it
            // does.
            core::mem::forget(buffer);
        }
    }

    /// The next packet that came.
    pub fn receive(&mut self) -> Option<Received> {
        let token = self.receive_queue.peek_used()?;
        let mut buffer = self.receiving.get_mut(usize::from(token))?.take()?;
        // SAFETY: this is the buffer that was given with this token.
        let length = unsafe {
            self.receive_queue
                .pop_used(token, &[], &mut [&mut buffer.0])
        };
        /// The checksum is not there yet, or was right.
        const FINE: u8 = 1 | 2;
        let fine = buffer.0[0] & FINE != 0;
        if let Some(receiver) = buffer.0.get_mut(self.header..self.header + 6)
            && *receiver == self.former
        {
            receiver.copy_from_slice(&self.address);
        }
        Some(Received {
            unchecked: self.features.contains(Features::CHECKED) && !fine,
            buffer,
            start: self.header,
            end: length.unwrap_or(0) as usize,
        })
    }

    /// Gives the buffer of a packet back to the device.
    pub fn recycle(&mut self, packet: Received) {
        self.receive_into(packet.buffer);
    }

    /// Has the device interrupt when it has sent something, or not.
    fn await_space(&mut self, waits: bool) {
        if self.awaits_space != waits {
            self.awaits_space = waits;
            self.send_queue.set_dev_notify(waits);
        }
    }

    /// Takes back what the device has sent when buffers are wanted. If there is nothing, the device
    /// is notified of what it may not know yet, and interrupts when it has sent something.
    fn reap(&mut self) {
        self.take_sent();
        let is_short = |card: &Card| {
            card.free.is_empty() || (card.splits_segments() && card.free_large.is_empty())
        };
        self.await_space(false);
        if is_short(self) {
            self.flush();
            self.await_space(true);
            // It may have sent something just before it was asked to interrupt.
            fence(Ordering::SeqCst);
            self.take_sent();
        }
    }

    fn take_sent(&mut self) {
        while let Some(token) = self.send_queue.peek_used() {
            let Some((mut buffer, length)) = self
                .sending
                .get_mut(usize::from(token))
                .and_then(Option::take)
            else {
                return;
            };
            let bytes = buffer.bytes().get(..length).unwrap_or(&[]);
            // SAFETY: this is what was given with this token.
            let done = unsafe { self.send_queue.pop_used(token, &[bytes], &mut []) };
            if done.is_err() {
                core::mem::forget(buffer);
                return;
            }
            self.keep(buffer);
        }
    }

    fn keep(&mut self, buffer: Outbound) {
        match buffer {
            Outbound::Usual(buffer) => self.free.push(buffer),
            Outbound::Large(bytes) => self.free_large.push(bytes),
        }
    }

    /// Whether the device splits what is longer than a segment.
    fn splits_segments(&self) -> bool {
        self.features
            .intersects(Features::SEGMENTS_4 | Features::SEGMENTS_6)
    }

    /// Makes a buffer for what the device splits.
    fn allocate_large(&mut self) -> bool {
        let mut bytes = Vec::new();
        let length = MOST_HEADER + LARGE;
        if self.large == MOST_LARGE || bytes.try_reserve_exact(length).is_err() {
            return false;
        }
        bytes.resize(length, 0);
        self.free_large.push(bytes.into_boxed_slice());
        self.large += 1;
        true
    }

    /// Makes sure that there is a buffer for what the device splits, where it does.
    fn prepare_large(&mut self) -> bool {
        if !self.splits_segments() || !self.free_large.is_empty() {
            return true;
        }
        self.take_sent();
        if !self.free_large.is_empty() || self.allocate_large() {
            return true;
        }
        self.reap();
        self.exhausted |= self.free_large.is_empty();
        !self.free_large.is_empty()
    }

    fn take_free(&mut self) -> Option<Box<Buffer>> {
        if self.free.is_empty() {
            self.reap();
        }
        let buffer = self.free.pop();
        self.exhausted |= buffer.is_none();
        buffer
    }

    /// Sends a short frame, or loses it if too much is being sent.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let Some(mut buffer) = self.take_free() else {
            return;
        };
        match buffer.0.get_mut(self.header..self.header + frame.len()) {
            Some(bytes) => {
                bytes.copy_from_slice(frame);
                self.send(Outbound::Usual(buffer), frame.len(), None);
                self.flush();
            }
            None => self.free.push(buffer),
        }
    }

    /// Sends a frame of `length` bytes, which is in the buffer after the device's header. A
    /// segment size says that the device is to split it.
    fn send(&mut self, mut buffer: Outbound, length: usize, segment: Option<u16>) {
        let length = self.header + length;
        let offload = self.features.contains(Features::CHECKSUM);
        let Some((header, frame)) = buffer
            .bytes()
            .get_mut(..length)
            .map(|bytes| bytes.split_at_mut(self.header))
        else {
            self.keep(buffer);
            return;
        };
        header.fill(0);
        if offload && let Some(start) = packet::prepare_checksum(frame) {
            describe(header, frame, start, segment);
        }
        let bytes = buffer.bytes().get(..length).unwrap_or(&[]);
        // SAFETY: the buffer is kept until the device gives it back, and not used meanwhile.
        let token = unsafe { self.send_queue.add(&[bytes], &mut []) };
        self.tell[usize::from(SENDING)] = true;
        let place = token
            .ok()
            .and_then(|token| self.sending.get_mut(usize::from(token)));
        match place {
            Some(place) => *place = Some((buffer, length)),
            None => self.keep(buffer),
        }
    }

    /// Sends a frame; without a buffer it is lost.
    pub fn transmit(&mut self, frame: &[u8]) {
        if let Some(mut buffer) = self.take_free() {
            let end = self.header + frame.len();
            if let Some(place) = buffer.0.get_mut(self.header..end) {
                place.copy_from_slice(frame);
            }
            self.send(Outbound::Usual(buffer), frame.len(), None);
        }
    }

    /// Makes sure that a frame of `length` bytes can be sent in pieces.
    ///
    /// # Errors
    /// `ENOBUFS`
    pub fn prepare_pieces(&mut self, length: usize) -> Result<()> {
        let missing = length.saturating_sub(self.long.len());
        self.long
            .try_reserve_exact(missing)
            .map_err(|_| Errno::NOBUFS)?;
        self.long.resize(length.max(self.long.len()), 0);
        Ok(())
    }

    /// Sends a frame that is too long in pieces.
    fn send_pieces(&mut self, frame: &[u8]) {
        self.splits = self.splits.wrapping_add(1);
        pieces::split(frame, self.splits, |headers, bytes| {
            let start = self.header;
            let (middle, end) = (start + headers.len(), start + headers.len() + bytes.len());
            // Without a buffer the piece is lost, and the packet with it.
            if let Some(mut buffer) = self.take_free() {
                if let Some(place) = buffer.0.get_mut(start..middle) {
                    place.copy_from_slice(headers);
                }
                if let Some(place) = buffer.0.get_mut(middle..end) {
                    place.copy_from_slice(bytes);
                }
                self.send(Outbound::Usual(buffer), end - start, None);
            }
        });
    }

    /// Whether a packet found no buffer since the last call.
    pub fn take_exhausted(&mut self) -> bool {
        core::mem::take(&mut self.exhausted)
    }
}

/// Writes the header that says what the device does with a frame: it computes the checksum of TCP
/// from `start` on, and splits the frame into segments of a size.
fn describe(header: &mut [u8], frame: &[u8], start: usize, segment: Option<u16>) {
    /// The checksum is to be computed; where it is in the header of TCP.
    const CHECKSUM: u8 = 1;
    const PLACE: u16 = 16;
    /// The frame is split, by the version of IP.
    const SPLIT_4: u8 = 1;
    const SPLIT_6: u8 = 4;
    let Some(header) = header.first_chunk_mut::<10>() else {
        return;
    };
    header[0] = CHECKSUM;
    header[6..8].copy_from_slice(&(start as u16).to_le_bytes());
    header[8..10].copy_from_slice(&PLACE.to_le_bytes());
    if let Some(size) = segment {
        let is_ipv4 = frame.get(12) == Some(&8);
        header[1] = if is_ipv4 { SPLIT_4 } else { SPLIT_6 };
        // The length of the header of TCP is in units of four bytes.
        let words = frame.get(start + 12).map_or(5, |byte| byte >> 4);
        let headers = start + usize::from(words) * 4;
        header[2..4].copy_from_slice(&(headers as u16).to_le_bytes());
        header[4..6].copy_from_slice(&size.to_le_bytes());
    }
}

/// The card as smoltcp sees it, with at most one packet to receive.
pub struct Link<'a> {
    /// The card.
    pub card: &'a mut Card,
    /// The packet.
    pub packet: Option<&'a [u8]>,
}

/// A packet that is received.
pub struct Incoming<'a>(&'a [u8]);

/// The right to send a packet.
pub struct Outgoing<'a> {
    card: &'a mut Card,
    buffer: Option<Box<Buffer>>,
    /// The size of the segments into which the device splits the packet.
    segment: Option<u16>,
}

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, body: F) -> R {
        body(self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, length: usize, body: F) -> R {
        let header = self.card.header;
        if length <= LONGEST
            && let Some(mut buffer) = self.buffer.take()
        {
            let result = match buffer.0.get_mut(header..header + length) {
                Some(bytes) => body(bytes),
                None => body(&mut []),
            };
            self.card.send(Outbound::Usual(buffer), length, None);
            return result;
        }
        if self.segment.is_some()
            && self.card.splits_segments()
            && length <= LARGE
            && let Some(mut buffer) = self.card.free_large.pop()
        {
            let result = body(&mut buffer[header..header + length]);
            self.card
                .send(Outbound::Large(buffer), length, self.segment);
            return result;
        }
        if length > LONGEST && length <= self.card.long.len() {
            let mut long = core::mem::take(&mut self.card.long);
            let result = body(&mut long[..length]);
            self.card.send_pieces(&long[..length]);
            self.card.long = long;
            return result;
        }
        // The packet is lost, as on any network that is too busy.
        body(&mut alloc::vec![0; length])
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        let size = meta.segmentation_offload_size;
        self.segment = size.filter(|&size| size != IN_PIECES).map(u16::from);
    }
}

impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        self.card.free.extend(self.buffer.take());
    }
}

impl phy::Device for Link<'_> {
    type RxToken<'b>
        = Incoming<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Outgoing<'b>
    where
        Self: 'b;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let packet = self.packet.take()?;
        let buffer = self.card.take_free();
        Some((
            Incoming(packet),
            Outgoing {
                card: self.card,
                buffer,
                segment: None,
            },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        if !self.card.prepare_large() {
            return None;
        }
        let buffer = self.card.take_free()?;
        Some(Outgoing {
            card: self.card,
            buffer: Some(buffer),
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = LONGEST;
        capabilities.medium = Medium::Ethernet;
        let features = self.card.features;
        let checksum = &mut capabilities.checksum;
        if features.contains(Features::CHECKED) {
            // What needs it is looked at when it comes.
            (checksum.tcp, checksum.udp) = (Checksum::Tx, Checksum::Tx);
        }
        if features.contains(Features::CHECKSUM) {
            checksum.tcp = match checksum.tcp {
                Checksum::Both => Checksum::Rx,
                _ => Checksum::None,
            };
            let splits = |kind| features.contains(kind).then(|| NonZeroUsize::new(LARGE));
            capabilities.segmentation.tcpv4 = splits(Features::SEGMENTS_4).flatten();
            capabilities.segmentation.tcpv6 = splits(Features::SEGMENTS_6).flatten();
        }
        capabilities
    }
}
