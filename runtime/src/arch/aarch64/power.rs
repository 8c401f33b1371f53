//! The end of the machine.

use core::arch::asm;
use core::cell::Cell;

use super::console;
use crate::sync::Global;

/// How the firmware is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Conduit {
    /// The device tree names no firmware.
    None,
    /// A call of the hypervisor.
    Hypervisor,
    /// A call of the secure monitor.
    Monitor,
}

static CONDUIT: Global<Cell<Conduit>> = Global::new(Cell::new(Conduit::None));

/// `SYSTEM_OFF` (ARM DEN 0022, "Power State Coordination Interface").
const SYSTEM_OFF: u64 = 0x8400_0008;

/// Notes how the firmware is called.
pub fn set_conduit(conduit: Conduit) {
    CONDUIT.set(conduit);
}

/// Marks the start of the program where QEMU's trace has the time of that: not on this processor.
pub fn mark_program() {}

/// Ends the machine; `status` is the exit status of the program (0 to 255).
///
/// The machine has no device that takes a status, so that it becomes the last line on the
/// console: `kraft: exit status N`. Anyone who reads the console knows it by its place: nothing
/// that the program writes comes after it.
pub fn power_off(status: u8) -> ! {
    if !console::is_at_line_start() {
        console::console_write(b"\r\n");
    }
    crate::print!("kraft: exit status {status}\n");
    // SAFETY: the firmware turns the machine off.
    unsafe {
        match CONDUIT.get() {
            Conduit::Hypervisor => {
                asm!("hvc #0", inout("x0") SYSTEM_OFF => _, clobber_abi("C"), options(nostack));
            }
            Conduit::Monitor => {
                asm!("smc #0", inout("x0") SYSTEM_OFF => _, clobber_abi("C"), options(nostack));
            }
            Conduit::None => {}
        }
    }
    loop {
        // SAFETY: stops the processor for good.
        unsafe { asm!("wfi", options(nomem, nostack)) }
    }
}
