//! Memory: frames, the kernel's heap, page tables, address spaces, and access to the memory
//! of programs.

pub mod frames;
#[cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "the host has a heap of its own")
)]
mod heap;
mod space;
mod table;
pub mod user;

use bitflags::bitflags;

pub use frames::Frame;
pub use heap::{leave_early_heap, start_early_heap};
pub use space::{Area, Backing, FaultError, Space};

bitflags! {
    /// What may be done with a page; the bits of `mmap` and of ELF's `p_flags` are converted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protection: u32 {
        /// `PROT_READ`
        const READ = 1;
        /// `PROT_WRITE`
        const WRITE = 2;
        /// `PROT_EXEC`
        const EXECUTE = 4;
    }
}

/// Rounds down to the beginning of a page.
pub const fn page_start(address: usize) -> usize {
    address & !(crate::arch::PAGE - 1)
}

/// Rounds up to the beginning of a page; `None` above the last page.
pub const fn page_end(address: usize) -> Option<usize> {
    match address.checked_add(crate::arch::PAGE - 1) {
        Some(end) => Some(page_start(end)),
        None => None,
    }
}
