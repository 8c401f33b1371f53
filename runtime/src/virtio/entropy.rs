//! The virtio device that gives random bytes.

use alloc::vec;
use alloc::vec::Vec;

use super::DeviceTransport;
use super::request::{Exchange, RequestQueue};
use crate::random;

/// Bytes that are asked for.
const BYTES: usize = 64;

/// Mixes random bytes of the device into those of the kernel; the device is not used again.
pub fn start(transport: DeviceTransport) {
    let Ok(mut queue) = RequestQueue::new(transport) else {
        return;
    };
    let mut exchange = Exchange {
        request: Vec::new(),
        answer: vec![0; BYTES],
    };
    if let Ok(length) = queue.request(&mut exchange) {
        for word in exchange.answer[..length].chunks_exact(8) {
            let word = word.try_into().unwrap_or_default();
            random::add_entropy(u64::from_le_bytes(word));
        }
    }
    // Its memory stays the device's: Firecracker looks at the queues when a machine is resumed, and
    // does not reset this device.
    core::mem::forget(queue);
}
