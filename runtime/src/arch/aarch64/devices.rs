//! Where virtio devices are: on the PCI bus and at the addresses that the device tree names.

use alloc::vec::Vec;
use core::ptr::NonNull;

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{Cam, Command, ConfigurationAccess, MmioCam, PciRoot};

use super::{boot, memory};
use crate::arch::device_tree::{DeviceTree, Pci};
use crate::virtio::pci::place_registers;
use crate::virtio::{MachineMemory, VirtioDevice};

const VIRTIO_VENDOR: u16 = 0x1af4;
/// The value of the configuration space with the interrupt's line and pin.
const INTERRUPT: u8 = 0x3c;

/// The virtio devices of the machine.
pub fn virtio_devices(_command_line: &[u8]) -> Vec<VirtioDevice> {
    let Some(tree) = boot::tree() else {
        return Vec::new();
    };
    let mut devices = named_devices(&tree);
    if let Some(pci) = Pci::find(&tree) {
        devices.extend(bus_devices(&pci));
    }
    devices
}

fn named_devices(tree: &DeviceTree<'_>) -> Vec<VirtioDevice> {
    let mut devices = Vec::new();
    for node in tree.devices(&["virtio,mmio"]) {
        let (Some((start, length)), Some(line)) = (node.ranges().next(), node.interrupt(0)) else {
            continue;
        };
        let header =
            memory::map_device(start, length).and_then(|address| NonNull::new(address as *mut _));
        let Some(header) = header else { continue };
        // SAFETY: the device tree names the registers, and `new` checks the magic number. Most
        // places have no device.
        let transport: Option<MmioTransport<'static>> =
            unsafe { MmioTransport::new(header, length) }.ok();
        if let Some(transport) = transport {
            devices.push(VirtioDevice {
                transport: transport.into(),
                line,
            });
        }
    }
    devices
}

fn bus_devices(pci: &Pci<'_>) -> Vec<VirtioDevice> {
    let mut devices = Vec::new();
    let (configuration, window) = (pci.configuration, pci.memory);
    let (Some(configuration), Some(_)) = (
        memory::map_device(configuration.0, configuration.1),
        memory::map_device(window.0, window.1),
    ) else {
        return devices;
    };
    // SAFETY: the configuration space is mapped for good; it is used through this alone.
    let access = unsafe { MmioCam::new(configuration as *mut u8, Cam::Ecam) };
    // SAFETY: the two accesses are used one after the other.
    let mut root = PciRoot::new(unsafe { access.unsafe_clone() });
    let functions: Vec<_> = root
        .enumerate_bus(0)
        .filter(|(_, info)| info.vendor_id == VIRTIO_VENDOR)
        .map(|(function, _)| function)
        .collect();
    let (mut free, end) = (window.0 as u64, (window.0 + window.1) as u64);
    for function in functions {
        // Without firmware no register has a place.
        place_registers(&mut root, function, &mut free, end, |_, _| true);
        let (_, command) = root.get_status_command(function);
        root.set_command(
            function,
            command | Command::MEMORY_SPACE | Command::BUS_MASTER,
        );
        let pin = access.read_word(function, INTERRUPT) >> 8 & 0xff;
        let Some(line) = pci.interrupt(function.device, pin) else {
            continue;
        };
        if let Ok(transport) = PciTransport::new::<MachineMemory, _>(&mut root, function) {
            devices.push(VirtioDevice {
                transport: transport.into(),
                line,
            });
        }
    }
    devices
}
