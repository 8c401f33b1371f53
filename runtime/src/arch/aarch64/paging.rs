//! Entries of page tables, the register that names the table in use, and the caches.

use core::arch::asm;

use super::memory::physical_of_kernel;
use super::{PHYSICAL, USER_END};
use crate::arch::PAGE;
use crate::mm::Protection;

/// Valid, and a page or a table (not a block).
const PRESENT: u64 = 3;
/// Attribute 1 (memory, see boot.s), inner shareable, accessed, not global.
const MEMORY: u64 = 1 << 2 | 3 << 8 | 1 << 10 | 1 << 11;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
/// The kernel, and user mode, never run the page.
const NOT_FOR_KERNEL: u64 = 1 << 53;
const NOT_FOR_USER: u64 = 1 << 54;
/// The physical address.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// One entry of a page table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// Nothing.
    pub const EMPTY: Entry = Entry(0);

    /// A pointer to a table of the next level.
    pub fn table(physical: usize) -> Entry {
        Entry(physical as u64 | PRESENT)
    }

    /// A page of user memory; a page that is copied on write causes a page fault at the first one.
    pub fn page(physical: usize, protection: Protection, copy_on_write: bool) -> Entry {
        let mut bits = physical as u64 | PRESENT | MEMORY | NOT_FOR_KERNEL;
        if !protection.is_empty() {
            bits |= USER;
        }
        if !protection.contains(Protection::WRITE) || copy_on_write {
            bits |= READ_ONLY;
        }
        if !protection.contains(Protection::EXECUTE) {
            bits |= NOT_FOR_USER;
        }
        Entry(bits)
    }

    /// Whether the entry points to something.
    pub fn is_present(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether user mode may read the page.
    pub fn is_readable(self) -> bool {
        self.0 & (USER | 1) == USER | 1
    }

    /// Whether user mode may run the page.
    pub fn is_executable(self) -> bool {
        self.is_readable() && self.0 & NOT_FOR_USER == 0
    }

    /// Whether user mode may write to the page.
    pub fn is_writable(self) -> bool {
        self.is_readable() && self.0 & READ_ONLY == 0
    }

    /// The physical address of the page or table.
    pub fn physical(self) -> usize {
        (self.0 & ADDRESS) as usize
    }
}

/// The entries of a top table that are the same in every table: the kernel has a table of its
/// own; the last entry leads to the page with [`return_from_handler_code`].
pub const KERNEL_ENTRIES: core::ops::Range<usize> = 511..512;

/// Where handlers of signals return to unless they name a place.
pub const HANDLER_RETURN: usize = USER_END;

unsafe extern "C" {
    static mut user_top: [u64; 512];
    static mut user_tables: [[u64; 512]; 4];
    static return_from_handler_code: [u32; 2];
}

/// The physical address of the table of user mode that maps no program.
pub fn kernel_table() -> usize {
    physical_of_kernel(&raw const user_top as usize)
}

/// Maps the page to which handlers return; called once at boot.
pub fn init() {
    let [third, second, first, page] = core::array::from_fn(|index| {
        (&raw mut user_tables)
            .cast::<[u64; 512]>()
            .wrapping_add(index)
    });
    let physical = |at: *mut [u64; 512]| physical_of_kernel(at as usize);
    let code = Entry::page(
        physical(page),
        Protection::READ | Protection::EXECUTE,
        false,
    );
    // SAFETY: the tables are the kernel's own and mapped by no one yet; each has 512 entries.
    unsafe {
        let instructions = (&raw const return_from_handler_code).read();
        page.cast::<[u32; 2]>().write(instructions);
        first.cast::<u64>().write(code.0);
        second.cast::<u64>().write(Entry::table(physical(first)).0);
        third.cast::<u64>().write(Entry::table(physical(second)).0);
        (&raw mut user_top)
            .cast::<u64>()
            .add(KERNEL_ENTRIES.start)
            .write(Entry::table(physical(third)).0);
    }
    synchronize_code(physical(page));
    synchronize_tables();
}

/// Uses the table at `physical` from now on.
///
/// # Safety
/// The table is one of user mode.
pub unsafe fn activate(physical: usize) {
    // SAFETY: the caller answers for the table. All programs have number 0: what the processor
    // remembers of the program before goes.
    unsafe {
        asm!(
            "dsb ishst",
            "msr ttbr0_el1, {table}",
            "isb",
            "tlbi aside1, xzr",
            "dsb nsh",
            "isb",
            table = in(reg) physical,
            options(nostack)
        );
    }
}

/// Forgets what the processor remembers of a user's page.
pub fn flush(address: usize) {
    let page = address >> 12 & 0xfff_ffff_ffff;
    // SAFETY: forgetting is always allowed.
    unsafe {
        asm!(
            "dsb ishst",
            "tlbi vaae1, {page}",
            "dsb nsh",
            "isb",
            page = in(reg) page,
            options(nostack)
        );
    }
}

/// Makes new entries visible to the processor.
pub fn synchronize_tables() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack)) }
}

/// Makes the instructions of the page at `physical` those that its bytes are: the cache of
/// instructions does not follow writes.
pub fn synchronize_code(physical: usize) {
    let geometry: u64;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) geometry, options(nomem, nostack)) }
    let (start, end) = (PHYSICAL + physical, PHYSICAL + physical + PAGE);
    // SAFETY: cleaning and forgetting lines of caches changes no memory.
    unsafe {
        // IDC: the cache of data need not be cleaned.
        if geometry & 1 << 28 == 0 {
            for line in (start..end).step_by(4 << (geometry >> 16 & 15)) {
                asm!("dc cvau, {}", in(reg) line, options(nostack));
            }
        }
        asm!("dsb ish", options(nostack));
        // DIC: the cache of instructions follows.
        if geometry & 1 << 29 == 0 {
            for line in (start..end).step_by(4 << (geometry & 15)) {
                asm!("ic ivau, {}", in(reg) line, options(nostack));
            }
        }
        asm!("dsb ish", "isb", options(nostack));
    }
}

/// Bytes of physical memory that are mapped at `PHYSICAL` when the kernel starts: all that the
/// device tree names.
pub const MAPPED_AT_BOOT: usize = MOST_MEMORY;
/// What one table of the third level maps: the most that the kernel uses.
pub const MOST_MEMORY: usize = 512 << 30;

/// Maps physical memory beyond [`MAPPED_AT_BOOT`]: there is none.
pub fn map_memory(_end: usize, _page: impl FnMut() -> usize) {}
