//! Devices with one queue that answer requests: one at a time, waited for by looking.

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use bitflags::bitflags;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{DeviceTransport, MachineMemory};
use crate::abi::errno::{Errno, Result};
use crate::arch;

const QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 8;
/// Nanoseconds after which a device is taken for dead.
const LONGEST_ANSWER: u64 = 30_000_000_000;

bitflags! {
    /// What the driver knows about virtio's features.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        /// The tag of a 9p device is in its configuration (other devices do not get it).
        const MOUNT_TAG = 1;
        /// The device follows the standard.
        const VERSION_1 = 1 << 32;
    }
}

/// The only queue of a device.
pub struct RequestQueue {
    transport: DeviceTransport,
    queue: VirtQueue<MachineMemory, QUEUE_SIZE>,
    is_dead: bool,
}

/// A request and the room for its answer: the device may have both as long as it likes.
pub struct Exchange {
    /// What the device reads; may be empty.
    pub request: Vec<u8>,
    /// What the device writes; must not be empty.
    pub answer: Vec<u8>,
}

impl RequestQueue {
    /// Starts the device.
    ///
    /// # Errors
    /// `EIO` if it does not work as it should.
    pub fn new(mut transport: DeviceTransport) -> Result<RequestQueue> {
        transport.begin_init(Features::VERSION_1 | Features::MOUNT_TAG);
        let mut queue =
            VirtQueue::new(&mut transport, QUEUE, false, false).map_err(|_| Errno::IO)?;
        queue.set_dev_notify(false);
        transport.finish_init();
        Ok(RequestQueue {
            transport,
            queue,
            is_dead: false,
        })
    }

    /// The device's configuration.
    pub fn transport(&self) -> &DeviceTransport {
        &self.transport
    }

    /// Notifies the device that its interrupt was seen: lines are shared.
    pub fn acknowledge(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Makes a request; how many bytes the answer has.
    ///
    /// # Errors
    /// `EIO`; after an answer that did not come always.
    pub fn request(&mut self, exchange: &mut Exchange) -> Result {
        if self.is_dead || exchange.answer.is_empty() {
            return Err(Errno::IO);
        }
        let inputs: &[&[u8]] = if exchange.request.is_empty() {
            &[]
        } else {
            &[&exchange.request]
        };
        // SAFETY: the buffers stay until the answer is there; where it does not come they are
        // never freed.
        let token = unsafe { self.queue.add(inputs, &mut [&mut exchange.answer]) }
            .map_err(|_| Errno::IO)?;
        // The request is there before it is asked whether the device looks for it.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
        let deadline = arch::monotonic() + LONGEST_ANSWER;
        while !self.queue.can_pop() {
            if arch::monotonic() > deadline {
                self.is_dead = true;
                core::mem::forget(core::mem::take(&mut exchange.request));
                core::mem::forget(core::mem::take(&mut exchange.answer));
                return Err(Errno::IO);
            }
            core::hint::spin_loop();
        }
        // SAFETY: the same buffers as above.
        let length = unsafe {
            self.queue
                .pop_used(token, inputs, &mut [&mut exchange.answer])
        };
        Ok((length.map_err(|_| Errno::IO)? as usize).min(exchange.answer.len()))
    }
}
