//! The end of the machine.

use core::arch::asm;

use super::ports::{out8, out16};

/// QEMU's `isa-debug-exit` as kraft adds it: QEMU ends with status `value * 2 + 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// Power management of QEMU's machines: writing "sleep state 5" turns them off.
const SLEEP_PORTS: [u16; 2] = [0x604, 0xb004];
const SLEEP_5: u16 = 0x2000;

/// Ends the machine; `status` is the exit status of the program (0 to 255).
pub fn power_off(status: u8) -> ! {
    out8(DEBUG_EXIT, status);
    for port in SLEEP_PORTS {
        out16(port, SLEEP_5);
    }
    // A keyboard controller's reset line: Firecracker ends the machine on it.
    out8(0x64, 0xfe);
    loop {
        // SAFETY: stops the processor for good.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
