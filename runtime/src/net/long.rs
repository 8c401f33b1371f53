//! Sending datagrams of IPv6 that are longer than a packet: smoltcp does not split them, and gets
//! their pieces.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::Ipv6Addr;

use smoltcp::socket::raw::{PacketBuffer, PacketMetadata, Socket as Raw};
use smoltcp::wire::{IpProtocol, IpVersion};

use super::pieces;
use super::stack::{self, Core, Station};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::task::WaitQueue;
use crate::time::SECOND;

/// Pieces and bytes of the longest datagram with the headers of all its pieces.
const PIECES: usize = 48;
const BYTES: usize = 72 << 10;
/// How long pieces wait for the other side's card to be found.
const PATIENCE: u64 = 3 * SECOND;

/// Sends the datagrams of one socket, one at a time.
pub struct Sender {
    core: Core,
    card: Cell<usize>,
    /// Who waits for space.
    queue: Rc<WaitQueue>,
    full: Cell<bool>,
    deadline: Cell<u64>,
}

fn socket(pieces: usize, bytes: usize) -> Result<Raw<'static>> {
    let mut memory = Vec::new();
    let reserved = memory.try_reserve_exact(bytes);
    reserved.map_err(|_| Errno::NOBUFS)?;
    memory.resize(bytes, 0);
    let sending = PacketBuffer::new(alloc::vec![PacketMetadata::EMPTY; pieces], memory);
    let receiving = PacketBuffer::new(Vec::new(), Vec::new());
    let (version, protocol) = (IpVersion::Ipv6, IpProtocol::Ipv6Frag);
    Ok(Raw::new(Some(version), Some(protocol), receiving, sending))
}

impl Sender {
    /// A sender for a socket that waits at `queue`.
    pub fn new(queue: &Rc<WaitQueue>) -> Rc<Sender> {
        let nothing = PacketBuffer::new(Vec::new(), Vec::new());
        let unused = PacketBuffer::new(Vec::new(), Vec::new());
        Rc::new(Sender {
            core: Core::new(Raw::new(None, None, nothing, unused)),
            card: Cell::new(0),
            queue: queue.clone(),
            full: Cell::new(false),
            deadline: Cell::new(0),
        })
    }

    /// Whether the last datagram is on its way; if not, its end is notified.
    pub fn is_free(&self) -> bool {
        let waits = self
            .core
            .with(|raw: &mut Raw<'static>| raw.send_queue() > 0);
        self.full.set(waits);
        !waits
    }

    /// Sends a datagram with its header of UDP by a card, after [`Sender::is_free`].
    ///
    /// # Errors
    /// `ENOBUFS`
    pub fn send(
        self: &Rc<Self>,
        card: usize,
        from: Ipv6Addr,
        to: Ipv6Addr,
        datagram: &[u8],
    ) -> Result<()> {
        self.core.with(|raw: &mut Raw<'static>| -> Result<()> {
            if raw.payload_send_capacity() == 0 {
                *raw = socket(PIECES, BYTES)?;
            }
            pieces::split_ipv6(from, to, datagram, |headers, bytes| {
                // All pieces of one datagram fit.
                if let Ok(room) = raw.send(headers.len() + bytes.len()) {
                    let (head, rest) = room.split_at_mut(headers.len());
                    head.copy_from_slice(headers);
                    rest.copy_from_slice(bytes);
                }
            });
            Ok(())
        })?;
        self.card.set(card);
        self.deadline.set(arch::monotonic() + PATIENCE);
        let station: Rc<dyn Station> = self.clone();
        stack::serve(&station);
        Ok(())
    }
}

impl Station for Sender {
    fn core(&self) -> &Core {
        &self.core
    }

    fn card(&self) -> usize {
        self.card.get()
    }

    fn changed(self: Rc<Self>) {
        let late = arch::monotonic() >= self.deadline.get();
        let waits = self.core.with(|raw: &mut Raw<'static>| {
            if raw.send_queue() > 0 && late {
                // No one is there: the pieces are lost, as on any network.
                if let Ok(empty) = socket(0, 0) {
                    *raw = empty;
                }
            }
            raw.send_queue() > 0
        });
        if !waits && self.full.replace(false) {
            self.queue.wake();
        }
    }
}
