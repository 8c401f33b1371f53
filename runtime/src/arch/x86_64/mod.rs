//! x86_64: PVH and Multiboot entry, `SYSCALL`, the 8259 and the local APIC, COM1.

mod boot;
mod clock;
mod console;
mod cpu;
mod devices;
mod fpu;
mod interrupts;
mod paging;
mod ports;
mod power;
mod registers;
mod signal;
mod trap;

core::arch::global_asm!(include_str!("boot.s"));

pub use clock::{finish as finish_clock, monotonic, set_timer, wall_clock_at_boot};
pub use console::{console_byte, console_write};
pub use cpu::{hardware_random, set_kernel_stack, set_user_tls, user_tls};
pub use devices::virtio_devices;
pub use fpu::FpuState;
pub use interrupts::{enable_interrupt, wait_for_interrupt};
pub use paging::{
    Entry, KERNEL_ENTRIES, MAPPED_AT_BOOT, MOST_MEMORY, activate, flush, kernel_table, map_memory,
    synchronize_code, synchronize_tables,
};
pub use power::{mark_program, power_off};
pub use registers::Registers;
pub use signal::{pop_signal_frame, push_signal_frame};

/// Where all physical memory is mapped, at its address plus this one.
pub const PHYSICAL: usize = 0xffff_8000_0000_0000;

/// Where the kernel's image is linked, minus its physical address.
pub const IMAGE: usize = 0xffff_ffff_8000_0000;

/// The first address that user mode cannot have: the last page of the lower half stays free,
/// as on Linux.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// `e_machine` of programs for this processor (ELF: `EM_X86_64`).
pub const ELF_MACHINE: u16 = 62;

/// The name in `uname` and in the auxiliary vector.
pub const NAME: &str = "x86_64";

/// `AT_HWCAP`: the features of CPUID leaf 1, EDX.
pub fn hardware_capabilities() -> usize {
    core::arch::x86_64::__cpuid(1).edx as usize
}

unsafe extern "C" {
    /// Saves the callee-saved registers and the stack pointer, continues at another stack.
    ///
    /// # Safety
    /// `to` must come from this function or from [`prepare_stack`].
    pub unsafe fn switch_stacks(from: *mut usize, to: usize);
    fn return_to_user() -> !;
}

/// Lays out a fresh kernel stack that ends at `top` so that `switch_stacks` to the returned
/// pointer enters user mode with `registers`.
///
/// # Safety
/// `top` is the 16-byte aligned end of writable memory that nothing else uses.
pub unsafe fn prepare_stack(top: usize, registers: &Registers) -> usize {
    let frame = top - size_of::<Registers>();
    // SAFETY: the caller owns the stack; the frame and the seven words below it lie within it.
    unsafe {
        (frame as *mut Registers).write(*registers);
        let mut at = frame as *mut usize;
        // The address at which the thread begins, and the six registers that the switch pops.
        at = at.sub(1);
        at.write(return_to_user as *const () as usize);
        for _ in 0..6 {
            at = at.sub(1);
            at.write(0);
        }
        at as usize
    }
}

/// The physical address of memory of the kernel: of its heap, its stacks or its image.
pub fn physical_of_kernel(address: usize) -> usize {
    if address >= IMAGE {
        address - IMAGE
    } else {
        address - PHYSICAL
    }
}
