//! When a guest reached the steps of its boot.
//!
//! The firmware gets the kernel from QEMU's configuration device (`fw_cfg`,
//! `docs/specs/fw_cfg.rst` of QEMU): when it selects the last entry that it needs, it is about to
//! start the kernel. The built-in runtime selects an entry that does not exist just before it
//! starts its program. QEMU's trace has the times of both:
//!
//! ```text
//! 4711@1700000000.123456:fw_cfg_select 0x55d0c0de key 0x0011 'kernel_data', ret: 1
//! ```
//!
//! Only a QEMU that was compiled with traces as logs, as all distributions do, writes this.

use std::path::PathBuf;

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_sys::fs;

use super::events;
use crate::driver::GuestTimes;
use crate::layout::MachineDir;

/// The file of the trace; the working directory of QEMU is that of the machine.
const TRACE: &str = "boot.trace";

/// The maximal size of a trace and of an event log that is read, in bytes: both are small while a
/// machine boots.
const MAX_READ: u64 = 1 << 20;

/// The entry that the built-in runtime selects before it starts its program
/// (`runtime/src/arch/x86_64/power.rs`).
const PROGRAM: u16 = 0x3b70;

/// Returns the path of the trace of a machine.
pub(super) fn trace(dir: &MachineDir) -> PathBuf {
    dir.path().join(TRACE)
}

/// Adds the options with which QEMU writes the trace.
pub(super) fn options(mut add: impl FnMut(&str, &str)) {
    add("-trace", "enable=fw_cfg_select");
    add("-msg", "timestamp=on");
    add("-D", TRACE);
}

/// Returns when a guest reached the steps of its boot; see
/// [`Driver::boot_times`](crate::driver::Driver::boot_times).
pub(super) fn boot_times(dir: &MachineDir, arch: Arch) -> GuestTimes {
    let read = |path: PathBuf| fs::read_tail(&path, MAX_READ).unwrap_or_default();
    let began = events::first_resume(&read(dir.events()));
    let (kernel, program) = parse(&String::from_utf8_lossy(&read(trace(dir))));
    GuestTimes {
        began,
        kernel: match arch {
            Arch::X86_64 => kernel,
            // QEMU's `virt` enters the kernel directly.
            Arch::Arm64 | Arch::Arm => began,
        },
        program,
    }
}

/// Returns when the kernel and the program were started.
fn parse(trace: &str) -> (Option<Timestamp>, Option<Timestamp>) {
    let (mut kernel, mut program) = (None, None);
    for (at, entry) in trace.lines().filter_map(selection) {
        match entry {
            PROGRAM => {
                program.get_or_insert(at);
            }
            // Kernel, root archive and command line: their addresses, sizes and contents.
            0x07..=0x0b | 0x10..=0x18 => kernel = Some(at),
            _ => {}
        }
    }
    (kernel, program)
}

/// Parses a line of the trace.
fn selection(line: &str) -> Option<(Timestamp, u16)> {
    let (stamp, event) = line.split_once(':')?;
    let event = event.strip_prefix("fw_cfg_select ")?;
    let (_, time) = stamp.split_once('@')?;
    let (seconds, micros) = time.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let micros: i64 = micros.parse().ok().filter(|_| micros.len() == 6)?;
    let at = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
    let mut words = event.split_ascii_whitespace();
    let entry = words.find(|word| *word == "key").and_then(|_| words.next());
    let entry = u16::from_str_radix(entry?.strip_prefix("0x")?, 16).ok()?;
    Some((Timestamp::from_microsecond(at).ok()?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_has_the_starts_of_the_kernel_and_of_the_program() {
        let trace = "qemu: a message\n\
            7@1700000000.000001:fw_cfg_select 0x55 key 0x0019 'file_dir', ret: 1\n\
            7@1700000000.100000:fw_cfg_select 0x55 key 0x0011 'kernel_data', ret: 1\n\
            7@1700000000.150000:fw_cfg_select 0x55 key 0x0015 'cmdline_data', ret: 1\n\
            7@1700000000.160000:fw_cfg_select 0x55 key 0x0000 'signature', ret: 1\n\
            7@1700000000.300000:fw_cfg_select 0x55 key 0x3b70 'unknown', ret: 0\n\
            7@1700000000.400000:fw_cfg_select 0x55 key 0x3b70 'unknown', ret: 0\n\
            7@99999999999999999999.0:fw_cfg_select 0x55 key 0x0011 'x', ret: 1\n\
            7@1700000000.5:fw_cfg_select";
        let at = |millis: i64| Timestamp::from_millisecond(1_700_000_000_000 + millis).ok();
        assert_eq!(parse(trace), (at(150), at(300)));
        assert_eq!(parse(""), (None, None));
    }
}
