//! The console: a PL011, or a 16550 in memory (Firecracker).

use core::cell::Cell;

use super::memory::{map_device, read32, write8, write32};
use crate::sync::Global;

#[derive(Clone, Copy)]
enum Port {
    /// What is written goes nowhere.
    None,
    Pl011(usize),
    Serial16550(usize),
}

static PORT: Global<Cell<Port>> = Global::new(Cell::new(Port::None));
/// Whether the last byte ended a line.
static AT_LINE_START: Global<Cell<bool>> = Global::new(Cell::new(true));

/// Registers of the PL011 (ARM DDI 0183) and what they say.
mod pl011 {
    pub const DATA: usize = 0;
    pub const FLAGS: usize = 0x18;
    pub const LINE_CONTROL: usize = 0x2c;
    pub const CONTROL: usize = 0x30;
    pub const INTERRUPTS: usize = 0x38;
    pub const CLEAR: usize = 0x44;
    pub const NOTHING_RECEIVED: u32 = 1 << 4;
    pub const CANNOT_SEND: u32 = 1 << 5;
    /// Received, and received some time ago.
    pub const RECEIVED: u32 = 1 << 4 | 1 << 6;
}

fn read8(address: usize) -> u8 {
    // SAFETY: the address is a register of the port, which `init` mapped.
    unsafe { (address as *const u8).read_volatile() }
}

/// Uses the PL011 at a physical address.
pub fn use_pl011(device: usize) {
    if let Some(base) = map_device(device, 0x1000) {
        write32(base + pl011::LINE_CONTROL, 0x70); // eight bits, queues on
        write32(base + pl011::CONTROL, 0x301); // on, in both directions
        write32(base + pl011::INTERRUPTS, pl011::RECEIVED);
        PORT.set(Port::Pl011(base));
    }
}

/// Uses the 16550 at a physical address.
pub fn use_16550(device: usize) {
    if let Some(base) = map_device(device, 8) {
        write8(base + 2, 0x07); // queues on and empty
        write8(base + 4, 0x0b); // ready, and the interrupt line connected
        write8(base + 1, 0x01); // interrupt for received bytes
        PORT.set(Port::Serial16550(base));
    }
}

/// Notifies the port that its interrupt was seen.
pub fn acknowledge() {
    if let Port::Pl011(base) = PORT.get() {
        write32(base + pl011::CLEAR, pl011::RECEIVED);
    }
}

/// Writes bytes as they are.
pub fn console_write(bytes: &[u8]) {
    for &byte in bytes {
        match PORT.get() {
            Port::None => return,
            Port::Pl011(base) => {
                while read32(base + pl011::FLAGS) & pl011::CANNOT_SEND != 0 {
                    core::hint::spin_loop();
                }
                write32(base + pl011::DATA, byte.into());
            }
            Port::Serial16550(base) => {
                while read8(base + 5) & 0x20 == 0 {
                    core::hint::spin_loop();
                }
                write8(base, byte);
            }
        }
        AT_LINE_START.set(byte == b'\n');
    }
}

/// Whether what was written last ended a line.
pub fn is_at_line_start() -> bool {
    AT_LINE_START.get()
}

/// A byte of the keyboard, if there is one.
pub fn console_byte() -> Option<u8> {
    match PORT.get() {
        Port::None => None,
        Port::Pl011(base) => (read32(base + pl011::FLAGS) & pl011::NOTHING_RECEIVED == 0)
            .then(|| read32(base + pl011::DATA) as u8),
        Port::Serial16550(base) => (read8(base + 5) & 1 != 0).then(|| read8(base)),
    }
}
