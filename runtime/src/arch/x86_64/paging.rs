//! Entries of page tables, and the register that names the table in use.

use core::arch::asm;

use super::{IMAGE, PHYSICAL};
use crate::mm::Protection;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const NO_EXECUTE: u64 = 1 << 63;
/// The physical address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// One entry of a page table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// Nothing.
    pub const EMPTY: Entry = Entry(0);

    /// A pointer to a table of the next level.
    pub fn table(physical: usize) -> Entry {
        Entry(physical as u64 | PRESENT | WRITABLE | USER)
    }

    /// A page of user memory; a page that is copied on write causes a page fault at the first one.
    pub fn page(physical: usize, protection: Protection, copy_on_write: bool) -> Entry {
        let mut bits = physical as u64 | PRESENT;
        if !protection.is_empty() {
            bits |= USER;
        }
        if protection.contains(Protection::WRITE) && !copy_on_write {
            bits |= WRITABLE;
        }
        if !protection.contains(Protection::EXECUTE) {
            bits |= NO_EXECUTE;
        }
        Entry(bits)
    }

    /// Whether the entry points to something.
    pub fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Whether user mode may read the page.
    pub fn is_readable(self) -> bool {
        self.0 & (PRESENT | USER) == PRESENT | USER
    }

    /// Whether user mode may run the page.
    pub fn is_executable(self) -> bool {
        self.is_readable() && self.0 & NO_EXECUTE == 0
    }

    /// Whether user mode may write to the page.
    pub fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// The physical address of the page or table.
    pub fn physical(self) -> usize {
        (self.0 & ADDRESS) as usize
    }
}

/// The entries of a top table that map the kernel, the same in every table.
pub const KERNEL_ENTRIES: core::ops::Range<usize> = 256..512;

unsafe extern "C" {
    static boot_tables: u8;
}

/// The physical address of the table that maps the kernel only.
pub fn kernel_table() -> usize {
    &raw const boot_tables as usize - IMAGE
}

/// Uses the table at `physical` from now on.
///
/// # Safety
/// The table maps the kernel as the table in use does.
pub unsafe fn activate(physical: usize) {
    // SAFETY: the caller answers for the table.
    unsafe { asm!("mov cr3, {}", in(reg) physical, options(nostack)) }
}

/// Forgets what the processor remembers of a user's page.
pub fn flush(address: usize) {
    // SAFETY: forgetting is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack)) }
}

/// Makes new entries visible to the processor: nothing to do here.
pub fn synchronize_tables() {}

/// Makes the instructions of the page at `physical` those that its bytes are: the processor
/// sees to that itself.
pub fn synchronize_code(_physical: usize) {}

/// Bytes of physical memory that the boot code mapped at `PHYSICAL`.
pub const MAPPED_AT_BOOT: usize = 4 << 30;
/// What one table of the third level maps: the most that the kernel uses.
pub const MOST_MEMORY: usize = 512 << 30;

/// Maps physical memory from [`MAPPED_AT_BOOT`] to `end` at `PHYSICAL`, and drops the mapping
/// of the boot code. `page` gives empty pages for tables.
pub fn map_memory(end: usize, mut page: impl FnMut() -> usize) {
    const LARGE: u64 = 0x183;
    let top = (PHYSICAL + kernel_table()) as *mut u64;
    // SAFETY: nothing runs in the low half before the first program does; the new entries map
    // what was not mapped, with pages of 2 MiB, and all tables have 512 entries.
    unsafe {
        top.write(0);
        let gigabytes = (PHYSICAL + (top.add(256).read() & ADDRESS) as usize) as *mut u64;
        for gigabyte in MAPPED_AT_BOOT >> 30..end.div_ceil(1 << 30) {
            let table = page();
            for index in 0..512 {
                let physical = (gigabyte << 30 | index << 21) as u64;
                ((PHYSICAL + table) as *mut u64)
                    .add(index)
                    .write(physical | LARGE);
            }
            gigabytes.add(gigabyte).write(table as u64 | 3);
        }
        activate(kernel_table());
    }
}
