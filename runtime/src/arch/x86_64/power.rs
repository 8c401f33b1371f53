//! The end of the machine.

use core::arch::asm;

use super::console;
use super::ports::{in8, out8, out16};

/// QEMU's `isa-debug-exit` as kraft adds it: QEMU ends with status `value * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// QEMU's `pvpanic`: all it does is to appear in QEMU's event log, where kraft reads it.
const PANIC_DEVICE: u16 = 0x505;
const CRASH_LOADED: u8 = 2;
/// Power management of QEMU's machines: writing "sleep state 5" turns them off.
const SLEEP_PORTS: [u16; 2] = [0x604, 0xb004];
const SLEEP_5: u16 = 0x2000;

/// QEMU's configuration device: selector and data.
const CONFIGURATION: (u16, u16) = (0x510, 0x511);

/// An entry that the device does not have.
const PROGRAM_STARTS: u16 = 0x3b70;

/// Marks in QEMU's trace that the program is about to start: it has the time of each selection.
pub fn mark_program() {
    out16(CONFIGURATION.0, PROGRAM_STARTS);
}

/// Returns whether the machine is QEMU's. Firecracker answers nothing on ports that it does not know:
/// what is read there is what was read before.
fn is_qemu() -> bool {
    // Entry 0 is the signature, a byte at a time.
    out16(CONFIGURATION.0, 0);
    b"QEMU".iter().all(|&byte| in8(CONFIGURATION.1) == byte)
}

/// Ends the machine; `status` is the exit status of the program (0 to 255).
///
/// Where no device takes the status, it becomes the last line on the console, as on arm64.
pub fn power_off(status: u8) -> ! {
    // Only the device answers with a zero. It ends the machine a moment later: whatever follows
    // would be taken for the reason.
    let has_device = is_qemu() && in8(DEBUG_EXIT) == 0;
    if !has_device {
        if !console::is_at_line_start() {
            console::console_write(b"\r\n");
        }
        crate::print!("kraft: exit status {status}\n");
    }
    // An exit status of QEMU has space for 7 bits beside the 1: the event that a panic is handled
    // stands for the eighth.
    if status >= 128 {
        out8(PANIC_DEVICE, CRASH_LOADED);
    }
    out8(DEBUG_EXIT, status & 127);
    if !has_device {
        for port in SLEEP_PORTS {
            out16(port, SLEEP_5);
        }
        // A keyboard controller's reset line: Firecracker ends the machine on it.
        out8(0x64, 0xfe);
    }
    loop {
        halt();
    }
}

fn halt() {
    // SAFETY: stops the processor for good.
    unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
}
