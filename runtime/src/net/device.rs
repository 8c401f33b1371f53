//! Network cards: virtio devices whose packets smoltcp reads and writes.
//!
//! Notifying the device of something leaves the virtual machine, which costs more than a packet:
//! it is notified once of all packets that are there ([`Card::flush`]).
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.7 and 5.1.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use bitflags::bitflags;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{pieces, stack};
use crate::abi::errno::{Errno, Result};
use crate::random;
use crate::virtio::{DeviceTransport, Interrupts, MachineMemory};

/// Packets in each direction that the device and the kernel exchange.
const QUEUE: usize = 128;
/// Bytes of a packet with its headers.
const BUFFER: usize = 2048;
/// The longest packet, with the Ethernet header.
const LONGEST: usize = 1514;

/// The numbers of the queues.
const RECEIVING: u16 = 0;
const SENDING: u16 = 1;

bitflags! {
    /// What the device can do and the driver uses.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        /// It has an address.
        const ADDRESS = 1 << 5;
        /// Both sides say when they want to be notified of something.
        const EVENT_INDEX = 1 << 29;
        /// It keeps to version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

/// Memory of one packet.
#[repr(C, align(8))]
pub struct Buffer([u8; BUFFER]);

/// A packet that was received: its buffer goes back with [`Card::recycle`].
pub struct Received {
    buffer: Box<Buffer>,
    start: usize,
    end: usize,
}

impl Received {
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
    receive_queue: VirtQueue<MachineMemory, QUEUE>,
    send_queue: VirtQueue<MachineMemory, QUEUE>,
    /// Whether the device waits to be notified of something in these queues.
    tell: [bool; 2],
    /// The buffers that the device fills, by their tokens.
    receiving: [Option<Box<Buffer>>; QUEUE],
    /// The buffers that the device sends, by their tokens, with their lengths.
    sending: [Option<(Box<Buffer>, usize)>; QUEUE],
    /// Buffers for sending; the device's header in them stays as it is.
    free: Vec<Box<Buffer>>,
    header: usize,
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
    let events = features.contains(Features::EVENT_INDEX);
    let receive_queue = VirtQueue::new(&mut transport, RECEIVING, false, events).ok()?;
    let send_queue = VirtQueue::new(&mut transport, SENDING, false, events).ok()?;
    transport.finish_init();
    let mut card = Card {
        transport,
        address,
        receive_queue,
        send_queue,
        tell: [false; 2],
        receiving: [const { None }; QUEUE],
        sending: [const { None }; QUEUE],
        free: Vec::with_capacity(QUEUE),
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

    /// Notifies the device that its interrupt was seen.
    pub fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Notifies the device of what it does not know yet.
    pub fn flush(&mut self) {
        for queue in [RECEIVING, SENDING] {
            if core::mem::take(&mut self.tell[usize::from(queue)]) {
                self.transport.notify(queue);
            }
        }
    }

    fn receive_into(&mut self, mut buffer: Box<Buffer>) {
        // SAFETY: the buffer is kept until the device gives it back, and not used meanwhile.
        let token = unsafe { self.receive_queue.add(&[], &mut [&mut buffer.0]) };
        self.tell[usize::from(RECEIVING)] |= self.receive_queue.should_notify();
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
        Some(Received {
            buffer,
            start: self.header,
            end: length.unwrap_or(0) as usize,
        })
    }

    /// Gives the buffer of a packet back to the device.
    pub fn recycle(&mut self, packet: Received) {
        self.receive_into(packet.buffer);
    }

    /// Takes back what the device has sent. Only when buffers are wanted: the device does not
    /// interrupt for more than the first packet until then.
    fn reap(&mut self) {
        while let Some(token) = self.send_queue.peek_used() {
            let Some((buffer, length)) = self
                .sending
                .get_mut(usize::from(token))
                .and_then(Option::take)
            else {
                return;
            };
            // SAFETY: this is what was given with this token.
            let done = unsafe {
                self.send_queue
                    .pop_used(token, &[buffer.0.get(..length).unwrap_or(&[])], &mut [])
            };
            if done.is_err() {
                core::mem::forget(buffer);
                return;
            }
            self.free.push(buffer);
        }
    }

    fn take_free(&mut self) -> Option<Box<Buffer>> {
        if self.free.is_empty() {
            self.reap();
            if self.free.is_empty() {
                // The device may not know yet that there is something to do.
                self.flush();
            }
        }
        let buffer = self.free.pop();
        self.exhausted |= buffer.is_none();
        buffer
    }

    fn send(&mut self, buffer: Box<Buffer>, length: usize) {
        let Some(bytes) = buffer.0.get(..length) else {
            self.free.push(buffer);
            return;
        };
        // SAFETY: the buffer is kept until the device gives it back, and not used meanwhile.
        let token = unsafe { self.send_queue.add(&[bytes], &mut []) };
        self.tell[usize::from(SENDING)] |= self.send_queue.should_notify();
        let place = token
            .ok()
            .and_then(|token| self.sending.get_mut(usize::from(token)));
        match place {
            Some(place) => *place = Some((buffer, length)),
            None => self.free.push(buffer),
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
                self.send(buffer, end);
            }
        });
    }

    /// Whether a packet found no buffer since the last call.
    pub fn take_exhausted(&mut self) -> bool {
        core::mem::take(&mut self.exhausted)
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
            self.card.send(buffer, header + length);
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
            },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        let buffer = self.card.take_free()?;
        Some(Outgoing {
            card: self.card,
            buffer: Some(buffer),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = LONGEST;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }
}
