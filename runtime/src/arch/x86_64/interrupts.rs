//! The interrupt controllers: the 8259 pair for devices, the local APIC for the timer.

use core::arch::asm;

use super::PHYSICAL;
use super::ports::{in8, out8};

/// The first vector of the 8259's sixteen lines.
pub const DEVICES: usize = 32;
/// The vectors of the last lines of both.
const LAST_OF_MAIN: usize = DEVICES + 7;
const LAST_OF_SECOND: usize = DEVICES + 15;
/// The vector of the local APIC's timer.
pub const TIMER: usize = 48;
/// The vector of an interrupt that vanished.
pub const SPURIOUS: usize = 63;

const LOCAL_APIC: usize = 0xfee0_0000;

/// A register of the local APIC (Intel SDM volume 3, chapter 11).
#[derive(Clone, Copy)]
pub enum Apic {
    /// End of interrupt.
    End = 0xb0,
    /// Spurious interrupt vector, and the switch that turns the APIC on.
    Spurious = 0xf0,
    /// What the timer does.
    Timer = 0x320,
    /// What line 0 does: the 8259 is connected to it.
    Line0 = 0x350,
    /// The count from which the timer counts down.
    Initial = 0x380,
    /// Where the timer stands.
    Current = 0x390,
    /// By what the clock of the timer is divided.
    Divide = 0x3e0,
}

/// Writes a register of the local APIC.
pub fn apic_write(register: Apic, value: u32) {
    // SAFETY: the local APIC is at this address, which is mapped at PHYSICAL.
    unsafe { ((PHYSICAL + LOCAL_APIC + register as usize) as *mut u32).write_volatile(value) }
}

/// Reads a register of the local APIC.
pub fn apic_read(register: Apic) -> u32 {
    // SAFETY: see `apic_write`.
    unsafe { ((PHYSICAL + LOCAL_APIC + register as usize) as *const u32).read_volatile() }
}

/// Sets both controllers up with all lines masked.
pub fn init() {
    for (port, value) in [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, DEVICES as u8),
        (0xa1, DEVICES as u8 + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xfb),
        (0xa1, 0xff),
    ] {
        out8(port, value);
    }
    apic_write(Apic::Spurious, 0x100 | SPURIOUS as u32);
    apic_write(Apic::Line0, 0x700);
    apic_write(Apic::Divide, 0xb); // by one
    apic_write(Apic::Timer, TIMER as u32);
    enable_interrupt(4); // the console
}

/// Lets a device's line interrupt.
pub fn enable_interrupt(line: u32) {
    if line < 16 {
        let port = if line < 8 { 0x21 } else { 0xa1 };
        out8(port, in8(port) & !(1 << (line & 7)));
    }
}

/// Lets the lines interrupt that PCI devices share: the level-triggered ones.
///
/// The line in the configuration of a device is what the firmware believes, and qboot is wrong
/// about it: its devices interrupt by another one.
///
/// Source: Intel 82371AB (PIIX4) datasheet, 4.2.6, edge and level control registers.
pub fn enable_shared_lines() {
    for (levels, mask) in [(0x4d0, 0x21), (0x4d1, 0xa1)] {
        let lines = in8(levels);
        // Nothing answers there on a machine without such registers.
        if lines != 0xff {
            out8(mask, in8(mask) & !lines);
        }
    }
}

/// Whether the last line of a controller really interrupts: it also stands for a line that was let
/// go before the processor came, which must not be ended there.
///
/// Source: Intel 8259A datasheet, "reading the 8259A status" and "edge and level triggered modes".
fn is_in_service(command: u16) -> bool {
    out8(command, 0x0b); // the next read gives the lines in service
    in8(command) & 0x80 != 0
}

/// Notifies the controller that the interrupt is dealt with.
pub fn end(vector: usize) {
    const MAIN: u16 = 0x20;
    const SECOND: u16 = 0xa0;
    const END: u8 = 0x20;
    match vector {
        TIMER => apic_write(Apic::End, 0),
        SPURIOUS => {}
        LAST_OF_MAIN if !is_in_service(MAIN) => {}
        LAST_OF_SECOND if !is_in_service(SECOND) => out8(MAIN, END),
        _ => {
            if vector >= DEVICES + 8 {
                out8(SECOND, END);
            }
            out8(MAIN, END);
        }
    }
}

/// Stops the processor until an interrupt has been taken.
pub fn wait_for_interrupt() {
    // SAFETY: `sti` lets interrupts in only after the next instruction, so none is missed.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}
