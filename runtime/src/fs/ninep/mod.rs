//! Directories of the host: 9P2000.L over virtio.
//!
//! Nothing of names, sizes and times is kept here: the host may change them at any time. What
//! is kept are the pages of shared mappings, because all programs have to see the same ones;
//! changes to them are found by their checksums and written back by `msync`, `fsync`, before
//! the file is read or written there, and when the last user of the file is gone.
//!
//! Source: <https://github.com/chaos/diod/blob/master/protocol.md> and "virtio" 1.2.

mod client;
pub mod message;
mod node;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use virtio_drivers::transport::Transport;

use super::Node;
use crate::abi::errno::{Errno, Result};
use crate::sync::Global;
use crate::virtio::request::RequestQueue;
use crate::virtio::{DeviceTransport, Interrupts};
use client::Client;

/// The longest name of a device.
const LONGEST_TAG: usize = 256;

/// A device with the name that the VMM gave it.
struct Device {
    tag: Vec<u8>,
    client: Rc<Client>,
}

static DEVICES: Global<RefCell<Vec<Device>>> = Global::new(RefCell::new(Vec::new()));

impl Interrupts for Client {
    fn acknowledge(&self) {
        Client::acknowledge(self);
    }
}

/// Starts a device.
pub fn start(transport: DeviceTransport) -> Option<Rc<dyn Interrupts>> {
    let queue = RequestQueue::new(transport).ok()?;
    let tag = read_tag(queue.transport())?;
    let client = Client::new(queue);
    DEVICES.borrow_mut().push(Device {
        tag,
        client: client.clone(),
    });
    Some(client)
}

/// The tag in the configuration: its length (16 bits) and its bytes.
fn read_tag(transport: &DeviceTransport) -> Option<Vec<u8>> {
    let length: u16 = transport.read_config_space(0).ok()?;
    (0..usize::from(length).min(LONGEST_TAG))
        .map(|index| transport.read_config_space(2 + index).ok())
        .collect()
}

/// The root of the directory that a device shares.
///
/// # Errors
/// `ENODEV` if there is no such device, and what the host says.
pub fn open(tag: &[u8]) -> Result<Rc<dyn Node>> {
    let client = DEVICES
        .borrow()
        .iter()
        .find(|device| device.tag == tag)
        .map(|device| device.client.clone());
    node::root(&client.ok_or(Errno::NODEV)?)
}

/// Writes back everything that shared mappings changed.
pub fn sync_all() {
    let clients: Vec<_> = DEVICES
        .borrow()
        .iter()
        .map(|device| device.client.clone())
        .collect();
    for client in clients {
        node::sync_all(&client);
    }
}
