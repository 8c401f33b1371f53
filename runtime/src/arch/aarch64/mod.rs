//! arm64: entry by Linux's boot protocol with a device tree, the GIC, the generic timer, PL011.

mod boot;
mod clock;
mod console;
mod cpu;
mod devices;
mod fpu;
mod interrupts;
mod memory;
mod paging;
mod power;
mod registers;
mod signal;
mod trap;

core::arch::global_asm!(include_str!("boot.s"));

pub use clock::{finish as finish_clock, monotonic, set_timer, wall_clock_at_boot};
pub use console::{console_byte, console_write};
pub use cpu::{hardware_capabilities, hardware_random, set_kernel_stack, set_user_tls, user_tls};
pub use devices::virtio_devices;
pub use fpu::FpuState;
pub use interrupts::{enable_interrupt, wait_for_interrupt};
pub use memory::physical_of_kernel;
pub use paging::{
    Entry, KERNEL_ENTRIES, MAPPED_AT_BOOT, MOST_MEMORY, activate, flush, kernel_table, map_memory,
    synchronize_code, synchronize_tables,
};
pub use power::{mark_program, power_off};
pub use registers::Registers;
pub use signal::{pop_signal_frame, push_signal_frame};

/// Where all physical memory is mapped, at its address plus this one.
pub const PHYSICAL: usize = 0xffff_8000_0000_0000;

/// Where the kernel's image is linked.
pub const IMAGE: usize = 0xffff_ffff_8000_0000;

/// The first address that user mode cannot have. What lies above belongs to the last entry of
/// the top table, which maps the code that returns from signal handlers (see `paging.rs`).
pub const USER_END: usize = 0xff80_0000_0000;

/// `e_machine` of programs for this processor (ELF: `EM_AARCH64`).
pub const ELF_MACHINE: u16 = 183;

/// The name in `uname` and in the auxiliary vector.
pub const NAME: &str = "aarch64";

unsafe extern "C" {
    /// Saves the callee-saved registers and the stack pointer, continues at another stack.
    ///
    /// # Safety
    /// `to` must come from this function or from [`prepare_stack`].
    pub unsafe fn switch_stacks(from: *mut usize, to: usize);
    fn return_to_user() -> !;
}

/// The registers that `switch_stacks` keeps: x19 to x30.
const SWITCH_WORDS: usize = 12;

/// Lays out a fresh kernel stack that ends at `top` so that `switch_stacks` to the returned
/// pointer enters user mode with `registers`.
///
/// # Safety
/// `top` is the 16-byte aligned end of writable memory that nothing else uses.
pub unsafe fn prepare_stack(top: usize, registers: &Registers) -> usize {
    let frame = top - size_of::<Registers>();
    // SAFETY: the caller owns the stack; the frame and the registers below it are within it.
    unsafe {
        (frame as *mut Registers).write(*registers);
        let at = (frame as *mut usize).sub(SWITCH_WORDS);
        at.write_bytes(0, SWITCH_WORDS);
        // x30, the address at which the thread begins.
        at.add(SWITCH_WORDS - 1)
            .write(return_to_user as *const () as usize);
        at as usize
    }
}
