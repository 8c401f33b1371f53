//! The network device.

use alloc::rc::Rc;

use virtio_drivers::transport::SomeTransport;

use crate::virtio::Interrupts;

/// Starts the driver of a network device.
pub fn start(_transport: SomeTransport<'static>) -> Option<Rc<dyn Interrupts>> {
    None
}
