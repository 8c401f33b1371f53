//! A stand-in for a machine: the kernel as a part of a program of the host, for tests and
//! fuzzing. Its memory is mapped at a fixed address, its clocks are those of the host, its
//! console is a buffer. Nothing switches between threads.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::PAGE;
use crate::abi::errno::{Errno, Result};
use crate::mm::{Protection, frames, user};
use crate::signal::{AlternateStack, Frame};
use crate::virtio::VirtioDevice;

/// Where the memory of the machine is in the program: its physical address 0.
pub const PHYSICAL: usize = 0x2000_0000_0000;
/// There is no image; no address is above it.
pub const IMAGE: usize = usize::MAX;
/// The first address that user mode cannot have.
pub const USER_END: usize = 0x7fff_ffff_f000;
/// Programs for x86_64, so that tests have the same ones everywhere.
pub const ELF_MACHINE: u16 = 62;
/// The name in `uname`.
pub const NAME: &str = "x86_64";
/// No entry of a top table maps the kernel.
pub const KERNEL_ENTRIES: Range<usize> = 0..0;
/// All memory is mapped.
pub const MAPPED_AT_BOOT: usize = MEMORY;
/// The most memory.
pub const MOST_MEMORY: usize = MEMORY;

/// Bytes of memory.
const MEMORY: usize = 64 << 20;

unsafe extern "C" {
    fn mmap(
        address: *mut u8,
        length: usize,
        protection: i32,
        flags: i32,
        fd: i32,
        offset: i64,
    ) -> *mut u8;
}

static LOCK: Mutex<()> = Mutex::new(());
static READY: Once = Once::new();
static STARTED: OnceLock<Instant> = OnceLock::new();
static SHOWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static TYPED: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());
static TLS: Mutex<usize> = Mutex::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed with the lock does not fail the others.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the machine: only the holder may use the kernel's memory and its global values.
pub fn machine() -> MutexGuard<'static, ()> {
    let guard = lock(&LOCK);
    READY.call_once(|| {
        const READ_AND_WRITE: i32 = 3;
        // Private, anonymous, at this address.
        let flags = if cfg!(target_os = "linux") {
            0x32
        } else {
            0x1012
        };
        // SAFETY: programs have nothing at this address, so that nothing is replaced.
        let at = unsafe { mmap(PHYSICAL as *mut u8, MEMORY, READ_AND_WRITE, flags, -1, 0) };
        assert_eq!(at as usize, PHYSICAL, "the host has no memory for the test");
        // Physical address 0 is left out, as on real machines.
        frames::init(&[(0, MEMORY)], &[(0, PAGE)], MEMORY);
    });
    guard
}

/// Writes `/proc/cpuinfo`: there is no processor of its own.
///
/// # Errors
/// Those of `out`.
pub fn describe_processor(out: &mut dyn core::fmt::Write) -> core::fmt::Result {
    writeln!(out, "processor\t: 0\n")
}

/// Nanoseconds since the first call.
pub fn monotonic() -> u64 {
    STARTED.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds since 1970 at the first call of [`monotonic`].
pub fn wall_clock_at_boot() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.unwrap_or_default().as_nanos() as u64).saturating_sub(monotonic())
}

/// The host's clock needs no measurement.
pub fn finish_clock() {}

/// There is no timer: anyone who waits looks at the clock.
pub fn set_timer(_nanoseconds: Option<u64>) {}

/// Keeps what is shown, for [`shown`].
pub fn console_write(bytes: &[u8]) {
    lock(&SHOWN).extend_from_slice(bytes);
}

/// What was shown since the last call.
pub fn shown() -> Vec<u8> {
    core::mem::take(&mut *lock(&SHOWN))
}

/// Types at the console.
pub fn type_in(bytes: &[u8]) {
    lock(&TYPED).extend(bytes);
}

/// A byte of the keyboard, if there is one.
pub fn console_byte() -> Option<u8> {
    lock(&TYPED).pop_front()
}

/// Tests can be repeated: there is no source of random bits.
pub fn hardware_random() -> Option<u64> {
    None
}

/// There are no features.
pub fn hardware_capabilities() -> usize {
    0
}

/// There is no other stack.
pub fn set_kernel_stack(_top: usize) {}

/// Keeps the thread pointer of user mode.
pub fn set_user_tls(value: usize) {
    *lock(&TLS) = value;
}

/// The thread pointer of user mode.
pub fn user_tls() -> usize {
    *lock(&TLS)
}

/// There are no devices.
pub fn virtio_devices(_command_line: &[u8]) -> Vec<VirtioDevice> {
    Vec::new()
}

/// There are no interrupts.
pub fn enable_interrupt(_line: u32) {}

/// Nothing could come.
pub fn wait_for_interrupt() {
    panic!("the kernel waits for an interrupt, but there are none on the host");
}

/// Uses a table: nothing to do, programs do not run.
///
/// # Safety
/// Always safe here.
pub unsafe fn activate(_physical: usize) {}

/// Forgets a page: nothing to do.
pub fn flush(_address: usize) {}

/// There is no table of the kernel.
pub fn kernel_table() -> usize {
    0
}

/// All memory is mapped already.
pub fn map_memory(_end: usize, _page: impl FnMut() -> usize) {}

/// Makes new entries visible: nothing to do.
pub fn synchronize_tables() {}

/// Makes a page's instructions those that its bytes are: nothing runs them.
pub fn synchronize_code(_physical: usize) {}

/// Marks the start of the program: no one looks.
pub fn mark_program() {}

/// The kernel must not end the machine in a test.
pub fn power_off(status: u8) -> ! {
    panic!(
        "the machine ended with status {status}: {}",
        String::from_utf8_lossy(&shown())
    );
}

/// The physical address of memory of the kernel.
pub fn physical_of_kernel(address: usize) -> usize {
    address - PHYSICAL
}

/// Stays where it is: what follows runs in the name of the other thread.
///
/// # Safety
/// Always safe here.
pub unsafe fn switch_stacks(_from: *mut usize, _to: usize) {}

/// Puts the registers where the kernel expects them: at the end of a stack.
///
/// # Safety
/// `top` is the aligned end of writable memory that nothing else uses.
pub unsafe fn prepare_stack(top: usize, registers: &Registers) -> usize {
    let frame = top - size_of::<Registers>();
    // SAFETY: the caller owns the stack.
    unsafe { (frame as *mut Registers).write_unaligned(*registers) };
    frame
}

/// One entry of a page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Entry(usize);

const PRESENT: usize = 1;
const WRITABLE: usize = 2;
const READABLE: usize = 4;
const EXECUTABLE: usize = 8;

impl Entry {
    /// Nothing.
    pub const EMPTY: Entry = Entry(0);

    /// A pointer to a table of the next level.
    pub fn table(physical: usize) -> Entry {
        Entry(physical | PRESENT | WRITABLE | READABLE)
    }

    /// A page of user memory; a page that is copied on write causes a page fault at the first one.
    pub fn page(physical: usize, protection: Protection, copy_on_write: bool) -> Entry {
        let mut bits = physical | PRESENT;
        if !protection.is_empty() {
            bits |= READABLE;
        }
        if protection.contains(Protection::WRITE) && !copy_on_write {
            bits |= WRITABLE;
        }
        if protection.contains(Protection::EXECUTE) {
            bits |= EXECUTABLE;
        }
        Entry(bits)
    }

    /// Whether the entry points to something.
    pub fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Whether user mode may read the page.
    pub fn is_readable(self) -> bool {
        self.is_present() && self.0 & READABLE != 0
    }

    /// Whether user mode may run the page.
    pub fn is_executable(self) -> bool {
        self.is_readable() && self.0 & EXECUTABLE != 0
    }

    /// Whether user mode may write to the page.
    pub fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// The physical address of the page or table.
    pub fn physical(self) -> usize {
        self.0 & !(PAGE - 1)
    }
}

/// The registers of user mode.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Registers {
    number: usize,
    arguments: [usize; 6],
    result: usize,
    instruction: usize,
    stack: usize,
}

impl Registers {
    /// The registers with which a program starts.
    pub fn start(entry: usize, stack: usize) -> Registers {
        Registers {
            instruction: entry,
            stack,
            ..Registers::default()
        }
    }

    /// The registers of a system call.
    pub fn call(number: usize, arguments: [usize; 6]) -> Registers {
        Registers {
            number,
            arguments,
            ..Registers::default()
        }
    }

    /// The number of the system call.
    pub fn call_number(&self) -> usize {
        self.number
    }

    /// The six arguments of the system call.
    pub fn arguments(&self) -> [usize; 6] {
        self.arguments
    }

    /// Sets what the system call returns.
    pub fn set_result(&mut self, value: usize) {
        self.result = value;
    }

    /// What the system call returns.
    pub fn result(&self) -> usize {
        self.result
    }

    /// Makes the system call again.
    pub fn repeat_call(&mut self, number: usize, first_argument: usize) {
        self.number = number;
        self.arguments[0] = first_argument;
    }

    /// The address of the next instruction.
    pub fn instruction(&self) -> usize {
        self.instruction
    }

    /// The stack pointer.
    pub fn stack(&self) -> usize {
        self.stack
    }

    /// Sets the stack pointer.
    pub fn set_stack(&mut self, stack: usize) {
        self.stack = stack;
    }
}

/// No registers of floating point are kept.
#[derive(Clone)]
pub struct FpuState;

impl FpuState {
    /// The state with which a program starts.
    #[expect(clippy::new_without_default, reason = "as on the other architectures")]
    pub fn new() -> FpuState {
        FpuState
    }

    /// Sets all registers to what a program starts with.
    pub fn reset(&mut self) {}

    /// Saves the registers.
    pub fn save(&mut self) {}

    /// Loads the registers.
    pub fn load(&self) {}
}

/// Makes user mode run the handler of `frame` next.
///
/// # Errors
/// `EFAULT` when the stack cannot be written.
pub fn push_signal_frame(
    registers: &mut Registers,
    _fpu: &mut FpuState,
    frame: &Frame,
) -> Result<()> {
    let stack = frame.stack.unwrap_or(registers.stack).wrapping_sub(256) & !15;
    user::write_words(
        stack,
        &[
            frame.mask,
            registers.instruction as u64,
            registers.stack as u64,
        ],
    )?;
    registers.instruction = frame.handler;
    registers.stack = stack;
    Ok(())
}

/// Restores what the handler interrupted; returns the signal mask and the alternate stack.
///
/// # Errors
/// `EFAULT` when the frame cannot be read.
pub fn pop_signal_frame(
    registers: &mut Registers,
    _fpu: &mut FpuState,
) -> Result<(u64, AlternateStack)> {
    let mut words = [0; 3];
    user::read_words(registers.stack, &mut words).map_err(|_| Errno::FAULT)?;
    registers.instruction = words[1] as usize;
    registers.stack = words[2] as usize;
    Ok((words[0], AlternateStack::NONE))
}
