//! Input and output ports, and model-specific registers.

use core::arch::asm;

/// Writes a byte to a port.
pub fn out8(port: u16, value: u8) {
    // SAFETY: ports reach devices only; the callers are drivers of these devices.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) }
}

/// Reads a byte from a port.
pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: see `out8`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack)) }
    value
}

/// Writes 16 bits to a port.
pub fn out16(port: u16, value: u16) {
    // SAFETY: see `out8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack)) }
}

/// Writes 32 bits to a port.
pub fn out32(port: u16, value: u32) {
    // SAFETY: see `out8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) }
}

/// Reads 32 bits from a port.
pub fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: see `out8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack)) }
    value
}

/// Writes a model-specific register.
///
/// # Safety
/// The value must be right for the register: it can change how memory and traps work.
pub unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller answers for the value.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// Reads a model-specific register that the processor has.
pub fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading one of the registers that the callers name has no effect.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack)) }
    u64::from(high) << 32 | u64::from(low)
}
