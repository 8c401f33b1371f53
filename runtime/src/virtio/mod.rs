//! Virtio devices: their memory and their interrupts.

mod entropy;
pub mod pci;
pub mod request;
mod transport;

pub use transport::DeviceTransport;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use crate::arch::{self, PHYSICAL};
use crate::mm::frames;
use crate::sync::Global;

/// A device that the machine has.
pub struct VirtioDevice {
    /// How it is reached.
    pub transport: DeviceTransport,
    /// Its interrupt.
    pub line: u32,
}

/// The memory that devices use: that of the kernel, all of which is mapped at [`PHYSICAL`].
pub struct MachineMemory;

// SAFETY: blocks of frames are contiguous, aligned to pages and not handed out twice.
unsafe impl Hal for MachineMemory {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let order = pages.next_power_of_two().trailing_zeros() as usize;
        let Some(physical) = frames::allocate(order) else {
            return (0, NonNull::dangling());
        };
        let at = (PHYSICAL + physical) as *mut u8;
        // SAFETY: the block was just allocated; devices want it zeroed.
        unsafe { at.write_bytes(0, pages * PAGE_SIZE) };
        (
            physical as PhysAddr,
            NonNull::new(at).unwrap_or(NonNull::dangling()),
        )
    }

    unsafe fn dma_dealloc(physical: PhysAddr, _at: NonNull<u8>, pages: usize) -> i32 {
        let order = pages.next_power_of_two().trailing_zeros() as usize;
        frames::release(physical as usize, order);
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, _size: usize) -> NonNull<u8> {
        let at = (PHYSICAL + physical as usize) as *mut u8;
        NonNull::new(at).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        arch::physical_of_kernel(buffer.cast::<u8>().as_ptr() as usize) as PhysAddr
    }

    unsafe fn unshare(_physical: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// A driver that wants to know about interrupts.
pub trait Interrupts {
    /// Notifies the device that its interrupt was seen.
    fn acknowledge(&self);
}

static DRIVERS: Global<RefCell<Vec<Rc<dyn Interrupts>>>> = Global::new(RefCell::new(Vec::new()));

/// Starts a driver for each device that has one.
pub fn init(command_line: &[u8]) {
    for device in arch::virtio_devices(command_line) {
        let line = device.line;
        let driver: Option<Rc<dyn Interrupts>> = match device.transport.device_type() {
            DeviceType::_9P => crate::fs::ninep::start(device.transport),
            DeviceType::EntropySource => {
                entropy::start(device.transport);
                None
            }
            DeviceType::Network => crate::net::device::start(device.transport),
            _ => None,
        };
        if let Some(driver) = driver {
            DRIVERS.borrow_mut().push(driver);
            arch::enable_interrupt(line);
        }
    }
}

/// An interrupt came from some device.
pub fn acknowledge() {
    for driver in DRIVERS.borrow().iter() {
        driver.acknowledge();
    }
}
