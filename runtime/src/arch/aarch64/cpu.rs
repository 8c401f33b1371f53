//! What a processor needs once, and what it has.

use core::arch::asm;

use crate::random;

/// Reads a system register.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading one of the registers that this macro is used with has no effect.
        unsafe { core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack)) }
        value
    }};
}
/// Writes a system register; the use says why it is safe.
macro_rules! write_register {
    ($name:literal, $value:expr) => {
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) $value as u64, options(nostack))
    };
}
pub(super) use {read_register, write_register};

/// One field of four bits of an identification register.
fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 15
}

/// Sets up what the boot code did not; called once.
pub fn init() {
    let can_deny = field(read_register!("id_aa64mmfr1_el1"), 20) != 0;
    let control = read_register!("sctlr_el1");
    // SAFETY: the kernel never uses addresses of user mode, so that denying them to it (PAN)
    // changes nothing that is right; user mode may read the clock.
    unsafe {
        if can_deny {
            write_register!("sctlr_el1", control & !(1 << 23));
            asm!(".inst 0xd500419f", options(nostack)); // msr pan, #1
        }
        write_register!("cntkctl_el1", 3);
        write_register!("tpidr_el0", 0);
        write_register!("mdscr_el1", 0);
        asm!("isb", options(nostack));
    }
}

/// Names the stack on which the kernel begins when user mode enters it: the one from which user
/// mode was entered, so that there is nothing to do.
pub fn set_kernel_stack(_top: usize) {}

/// Sets the thread pointer of user mode.
pub fn set_user_tls(value: usize) {
    // SAFETY: only user mode uses this register.
    unsafe { write_register!("tpidr_el0", value) }
}

/// The thread pointer of user mode.
pub fn user_tls() -> usize {
    read_register!("tpidr_el0") as usize
}

/// Random bits of the processor, if it has a generator.
pub fn hardware_random() -> Option<u64> {
    if field(read_register!("id_aa64isar0_el1"), 60) == 0 {
        return None;
    }
    for _ in 0..10 {
        let (value, failed): (u64, u64);
        // SAFETY: the processor says that the register (RNDR) exists.
        unsafe {
            asm!(
                "mrs {value}, S3_3_C2_C4_0",
                "cset {failed}, eq",
                value = out(reg) value,
                failed = out(reg) failed,
                options(nomem, nostack)
            );
        }
        if failed == 0 {
            return Some(value);
        }
    }
    None
}

/// Mixes the random bits that the device tree has into the kernel's.
pub fn add_seed(seed: &[u8]) {
    for bytes in seed.chunks_exact(8).take(8) {
        random::add_entropy(u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
    }
}

/// `AT_HWCAP`: what user mode can use (Linux, `asm/hwcap.h`), without what the kernel would have
/// to save or emulate.
pub fn hardware_capabilities() -> usize {
    let first = read_register!("id_aa64isar0_el1");
    let second = read_register!("id_aa64isar1_el1");
    let processor = read_register!("id_aa64pfr0_el1");
    // Bit of the vector, register, field, least value.
    let features = [
        (3, first, 4, 1),       // AES
        (4, first, 4, 2),       // PMULL
        (5, first, 8, 1),       // SHA1
        (6, first, 12, 1),      // SHA2
        (7, first, 16, 1),      // CRC32
        (8, first, 20, 2),      // ATOMICS
        (12, first, 28, 1),     // ASIMDRDM
        (13, second, 12, 1),    // JSCVT
        (14, second, 16, 1),    // FCMA
        (15, second, 20, 1),    // LRCPC
        (16, second, 0, 1),     // DCPOP
        (17, first, 32, 1),     // SHA3
        (18, first, 36, 1),     // SM3
        (19, first, 40, 1),     // SM4
        (20, first, 44, 1),     // ASIMDDP
        (21, first, 12, 2),     // SHA512
        (23, first, 48, 1),     // ASIMDFHM
        (24, processor, 48, 1), // DIT
        (26, second, 20, 2),    // ILRCPC
        (27, first, 52, 1),     // FLAGM
    ];
    let mut capabilities = 0;
    for (bit, register, shift, least) in features {
        if field(register, shift) >= least {
            capabilities |= 1 << bit;
        }
    }
    // FP and ASIMD, with half precision where the field is 1.
    match field(processor, 16) {
        0 => capabilities | 3,
        1 => capabilities | 3 | 1 << 9 | 1 << 10,
        _ => capabilities,
    }
}
