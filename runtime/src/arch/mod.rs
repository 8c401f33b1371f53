//! What differs between processors: entry, traps, page table entries, clocks, interrupts and
//! how the machine is left. Each architecture has the same items under the same names.
//!
//! `host` takes the place of a machine when the kernel is compiled for tests and fuzzing.

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
#[path = "x86_64/mod.rs"]
mod machine;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
#[path = "aarch64/mod.rs"]
mod machine;

#[cfg(not(target_os = "none"))]
#[path = "host.rs"]
mod machine;

#[cfg(any(not(target_os = "none"), target_arch = "aarch64"))]
pub mod device_tree;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
#[path = "x86_64/describe.rs"]
mod describe;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
#[path = "aarch64/describe.rs"]
mod describe;

#[cfg(target_os = "none")]
pub use describe::describe_processor;
pub use machine::*;

/// Bytes of the smallest page of memory, on every architecture the kernel knows.
pub const PAGE: usize = 4096;

/// What the machine's firmware or VMM said at boot.
#[derive(Default)]
pub struct BootInfo {
    /// Ranges of usable memory as (physical start, bytes).
    pub memory: alloc::vec::Vec<(usize, usize)>,
    /// Ranges within `memory` that hold something already: kernel, initrd, tables.
    pub reserved: alloc::vec::Vec<(usize, usize)>,
    /// The command line.
    pub command_line: alloc::vec::Vec<u8>,
    /// The root archive as (physical start, bytes).
    pub initrd: Option<(usize, usize)>,
}
