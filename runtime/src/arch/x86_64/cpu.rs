//! Descriptor tables, the system call entry and what else a processor needs once.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step};
use core::cell::UnsafeCell;

use super::ports::{read_msr, write_msr};

const EFER_STAR: u32 = 0xc000_0081;
const EFER_LSTAR: u32 = 0xc000_0082;
const EFER_FMASK: u32 = 0xc000_0084;
const FS_BASE: u32 = 0xc000_0100;

/// Memory that the processor reads by itself; only this file writes it.
#[repr(C, align(16))]
struct Table<T>(UnsafeCell<T>);
// SAFETY: there is one processor, and it writes these tables only in this file, with
// interrupts off.
unsafe impl<T> Sync for Table<T> {}

/// null, kernel code 8, kernel data 16, user data 0x18, user code 0x20, task state 0x28.
static GDT: Table<[u64; 7]> = Table(UnsafeCell::new([
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0,
]));
static TASK_STATE: Table<[u32; 26]> = Table(UnsafeCell::new([0; 26]));
static IDT: Table<[[u64; 2]; 64]> = Table(UnsafeCell::new([[0; 2]; 64]));
/// The stack for an exception in the kernel's own stack handling.
static DOUBLE_FAULT_STACK: Table<[u8; 8192]> = Table(UnsafeCell::new([0; 8192]));

unsafe extern "C" {
    fn syscall_entry();
    fn trap_table();
    static mut syscall_kernel_stack: usize;
}

/// A pointer as `lgdt` and `lidt` read it.
fn pointer<T>(table: &Table<T>) -> [u16; 5] {
    let at = table.0.get() as usize;
    [
        (size_of::<T>() - 1) as u16,
        at as u16,
        (at >> 16) as u16,
        (at >> 32) as u16,
        (at >> 48) as u16,
    ]
}

/// Sets up the tables; called once, before the first trap.
pub fn init() {
    let state = TASK_STATE.0.get() as u64;
    // SAFETY: the tables are written before the processor is given them, and all have the
    // layout that the processor wants (Intel SDM volume 3, chapters 3, 6 and 7).
    unsafe {
        let gdt = &mut *GDT.0.get();
        gdt[5] = 0x0000_8900_0000_0067 | (state & 0xff_ffff) << 16 | (state >> 24 & 0xff) << 56;
        gdt[6] = state >> 32;
        let double_fault = DOUBLE_FAULT_STACK.0.get() as u64 + 8192;
        (*TASK_STATE.0.get())[9] = double_fault as u32;
        (*TASK_STATE.0.get())[10] = (double_fault >> 32) as u32;
        let gdt_pointer = pointer(&GDT);
        asm!("lgdt [{}]", in(reg) &gdt_pointer, options(nostack));
        asm!("ltr ax", in("ax") 0x28_u16, options(nostack));
        for (vector, gate) in (*IDT.0.get()).iter_mut().enumerate() {
            let entry = trap_table as *const () as u64 + vector as u64 * 16;
            let stack = u64::from(vector == 8);
            // Programs may use the instructions for breakpoints (3) and overflow (4).
            let kind: u64 = if matches!(vector, 3 | 4) {
                0xee00
            } else {
                0x8e00
            };
            *gate = [
                entry & 0xffff | 8 << 16 | stack << 32 | kind << 32 | (entry >> 16 & 0xffff) << 48,
                entry >> 32,
            ];
        }
        let idt_pointer = pointer(&IDT);
        asm!("lidt [{}]", in(reg) &idt_pointer, options(nostack));
        // Kernel segments from 8, user segments from 0x10 + 8 (see `GDT`).
        write_msr(EFER_STAR, 0x0010_0008 << 32);
        write_msr(EFER_LSTAR, syscall_entry as *const () as u64);
        // Cleared on entry: trap, interrupts, direction, nested task, alignment check.
        write_msr(EFER_FMASK, 0x4_7700);
        let features = __cpuid_count(7, 0).ebx;
        let mut cr4: usize;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack));
        // The kernel never runs (SMEP) nor reads (SMAP) memory by a user's address.
        if features & 1 << 7 != 0 {
            cr4 |= 1 << 20;
        }
        if features & 1 << 20 != 0 {
            cr4 |= 1 << 21;
        }
        asm!("mov cr4, {}", in(reg) cr4, options(nostack));
    }
    super::fpu::init();
}

/// Names the stack on which the kernel begins when user mode enters it.
pub fn set_kernel_stack(top: usize) {
    // SAFETY: interrupts are off, and user mode is left only after this is set.
    unsafe {
        syscall_kernel_stack = top;
        (*TASK_STATE.0.get())[1] = top as u32;
        (*TASK_STATE.0.get())[2] = (top >> 32) as u32;
    }
}

/// Sets the thread pointer of user mode.
pub fn set_user_tls(value: usize) {
    // A value that is no canonical address causes an exception.
    if (value as isize) << 16 >> 16 == value as isize {
        // SAFETY: only user mode uses this register.
        unsafe { write_msr(FS_BASE, value as u64) }
    }
}

/// The thread pointer of user mode.
pub fn user_tls() -> usize {
    read_msr(FS_BASE) as usize
}

/// Random bits of the processor, if it has a generator.
pub fn hardware_random() -> Option<u64> {
    if __cpuid(1).ecx & 1 << 30 == 0 {
        return None;
    }
    let mut value = 0;
    for _ in 0..10 {
        // SAFETY: CPUID says that the instruction exists.
        if unsafe { random_step(&mut value) } {
            return Some(value);
        }
    }
    None
}

#[target_feature(enable = "rdrand")]
fn random_step(value: &mut u64) -> bool {
    _rdrand64_step(value) == 1
}
