//! What `/proc/cpuinfo` shows (Arm ARM, `MIDR_EL1`).

use core::arch::asm;
use core::fmt::{Result, Write};

/// The names of the bits of `AT_HWCAP` (Linux: `asm/hwcap.h`).
const FEATURES: &[&str] = &[
    "fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp",
    "asimdhp", "cpuid", "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4",
    "asimddp", "sha512", "sve", "asimdfhm", "dit", "uscat", "ilrcpc", "flagm", "ssbs", "sb",
    "paca", "pacg",
];

/// Writes `/proc/cpuinfo`.
///
/// # Errors
/// Those of `out`.
pub fn describe_processor(out: &mut dyn Write) -> Result {
    let midr: u64;
    // SAFETY: reading the register changes nothing.
    unsafe { asm!("mrs {}, midr_el1", out(reg) midr, options(nomem, nostack)) };
    let capabilities = super::hardware_capabilities();
    write!(out, "processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t:")?;
    for (bit, name) in FEATURES.iter().enumerate() {
        if capabilities & 1 << bit != 0 {
            write!(out, " {name}")?;
        }
    }
    writeln!(out, "\nCPU implementer\t: {:#04x}", midr >> 24 & 0xff)?;
    writeln!(out, "CPU architecture: 8")?;
    writeln!(out, "CPU variant\t: {:#x}", midr >> 20 & 0xf)?;
    writeln!(out, "CPU part\t: {:#05x}", midr >> 4 & 0xfff)?;
    writeln!(out, "CPU revision\t: {}\n", midr & 0xf)
}
