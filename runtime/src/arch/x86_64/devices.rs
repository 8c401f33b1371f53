//! Where virtio devices are: on the PCI bus, or at the addresses that the command line names
//! (`virtio_mmio.device=4K@0xfeb00e00:12`, as on Linux; QEMU's microvm and Firecracker).

use alloc::vec::Vec;
use core::ptr::NonNull;

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};

use super::interrupts::enable_shared_lines;
use super::ports::{in32, out32};
use super::{MAPPED_AT_BOOT, PHYSICAL};
use crate::virtio::pci::place_registers;
use crate::virtio::{MachineMemory, VirtioDevice};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const VIRTIO_VENDOR: u16 = 0x1af4;
/// Interrupt line and, in the second byte, interrupt pin: 1 for A.
const INTERRUPT: u8 = 0x3c;
/// The bridge of QEMU's pc to its older devices, and where it sends the interrupts of the four pins,
/// a byte for each (Intel 82371SB, section 2.2.9).
const BRIDGE: DeviceFunction = DeviceFunction {
    bus: 0,
    device: 1,
    function: 0,
};
const PIIX3: u32 = 0x7000_8086;
const ROUTES: u8 = 0x60;
/// Addresses for registers that are no one's: the machines have no memory from 3.5 GiB on, and
/// firmware gives out the end of the space below 4 GiB first.
const WINDOW: u64 = 0xf000_0000;
/// Where the controllers of interrupts are.
const WINDOW_END: u64 = 0xfec0_0000;
/// The largest registers that are moved.
const LARGEST: u64 = 1 << 20;

/// Access to PCI's configuration space by its two ports.
struct Ports;

impl Ports {
    fn select(function: DeviceFunction, offset: u8) {
        let address = 1 << 31
            | u32::from(function.bus) << 16
            | u32::from(function.device) << 11
            | u32::from(function.function) << 8
            | u32::from(offset & 0xfc);
        out32(ADDRESS, address);
    }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        Ports::select(function, offset);
        in32(DATA)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, value: u32) {
        Ports::select(function, offset);
        out32(DATA, value);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Ports
    }
}

/// Whether registers have no address, as qboot leaves them, or one above the memory that the
/// kernel maps.
fn needs_place(address: u64, size: u64) -> bool {
    let is_reachable = address != 0 && address + size <= MAPPED_AT_BOOT as u64;
    !is_reachable && size <= LARGEST
}

/// The line on which a function interrupts: the firmware notes it, but qboot notes the wrong one.
fn interrupt_line(function: DeviceFunction) -> u32 {
    let noted = Ports.read_word(function, INTERRUPT);
    let (line, pin) = (noted & 0xff, noted >> 8 & 0xff);
    if Ports.read_word(BRIDGE, 0) != PIIX3 {
        return line;
    }
    // The pins of each device follow on those of the one before.
    let route = (u32::from(function.device) + pin + 2) & 3;
    let route = Ports.read_word(BRIDGE, ROUTES) >> (8 * route) & 0xff;
    if route < 16 { route } else { line }
}

/// The virtio devices of the machine.
pub fn virtio_devices(command_line: &[u8]) -> Vec<VirtioDevice> {
    let mut devices = named_devices(command_line);
    // Without a PCI bus the address port does not keep what is written.
    out32(ADDRESS, 1 << 31);
    if in32(ADDRESS) != 1 << 31 {
        return devices;
    }
    let mut root = PciRoot::new(Ports);
    let functions: Vec<_> = root
        .enumerate_bus(0)
        .filter(|(_, info)| info.vendor_id == VIRTIO_VENDOR)
        .map(|(function, _)| function)
        .collect();
    let mut free = WINDOW;
    for function in functions {
        place_registers(&mut root, function, &mut free, WINDOW_END, needs_place);
        let (_, command) = root.get_status_command(function);
        root.set_command(
            function,
            command | Command::MEMORY_SPACE | Command::BUS_MASTER,
        );
        let line = interrupt_line(function);
        if let Ok(transport) = PciTransport::new::<MachineMemory, _>(&mut root, function) {
            devices.push(VirtioDevice {
                transport: transport.into(),
                line,
            });
        }
    }
    if !devices.is_empty() {
        enable_shared_lines();
    }
    devices
}

fn named_devices(command_line: &[u8]) -> Vec<VirtioDevice> {
    let mut devices = Vec::new();
    for word in command_line.split(|&byte| byte == b' ') {
        let Some(value) = word.strip_prefix(b"virtio_mmio.device=") else {
            continue;
        };
        let Some((address, line)) = crate::boot::parse_mmio_device(value) else {
            continue;
        };
        if address >= 4 << 30 || line >= 16 {
            continue;
        }
        let Some(header) = NonNull::new((PHYSICAL + address) as *mut _) else {
            continue;
        };
        // SAFETY: the VMM names the addresses of its devices; a page is mapped there, and
        // `new` checks the device's magic number.
        let transport: Option<MmioTransport<'static>> =
            unsafe { MmioTransport::new(header, 0x200) }.ok();
        if let Some(transport) = transport {
            devices.push(VirtioDevice {
                transport: transport.into(),
                line,
            });
        }
    }
    devices
}
