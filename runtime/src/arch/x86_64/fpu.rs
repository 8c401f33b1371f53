//! The registers of floating point and vectors, saved when threads are switched. The kernel
//! itself does not use them.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the state as `XSAVE` writes it; 512 when the processor has only `FXSAVE`.
static SIZE: AtomicUsize = AtomicUsize::new(512);

/// x87, SSE, AVX and AVX-512 (bits of XCR0).
const COMPONENTS: u64 = 0xe7;
const ALIGN: usize = 64;
const LEGACY: usize = 512;

/// Turns on what the processor has; called once at boot.
pub fn init() {
    if __cpuid(1).ecx & 1 << 26 == 0 {
        return;
    }
    let supported = __cpuid_count(0xd, 0);
    let components = (u64::from(supported.edx) << 32 | u64::from(supported.eax)) & COMPONENTS;
    // SAFETY: CPUID says that the processor has XSAVE and these components.
    unsafe {
        let mut cr4: usize;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack));
        cr4 |= 1 << 18;
        asm!("mov cr4, {}", in(reg) cr4, options(nostack));
        asm!("xsetbv", in("ecx") 0, in("eax") components as u32, in("edx") (components >> 32) as u32, options(nostack));
    }
    SIZE.store(__cpuid_count(0xd, 0).ebx as usize, Ordering::Relaxed);
}

/// The saved registers of one thread.
pub struct FpuState(NonNull<u8>);

impl FpuState {
    /// Bytes of a state.
    pub fn size() -> usize {
        SIZE.load(Ordering::Relaxed)
    }

    fn layout() -> Layout {
        Layout::from_size_align(Self::size(), ALIGN).unwrap_or(Layout::new::<u64>())
    }

    /// The state with which a program starts.
    pub fn new() -> FpuState {
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(Self::layout()) };
        let Some(at) = NonNull::new(at) else {
            alloc::alloc::handle_alloc_error(Self::layout())
        };
        let mut state = FpuState(at);
        state.reset();
        state
    }

    /// Sets all registers to what a program starts with.
    pub fn reset(&mut self) {
        let bytes = self.bytes_mut();
        bytes.fill(0);
        // The control words after reset: all exceptions masked (FCW 0x37f, MXCSR 0x1f80).
        bytes[0..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    }

    /// Saves the processor's registers here.
    pub fn save(&mut self) {
        let at = self.0.as_ptr();
        // SAFETY: the memory is large enough and aligned for the instruction.
        unsafe {
            if Self::size() > LEGACY {
                asm!("xsave64 [{}]", in(reg) at, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                asm!("fxsave64 [{}]", in(reg) at, options(nostack));
            }
        }
    }

    /// Loads the processor's registers from here.
    pub fn load(&self) {
        let at = self.0.as_ptr();
        // SAFETY: the state was saved by `save` or checked by `accept`.
        unsafe {
            if Self::size() > LEGACY {
                asm!("xrstor64 [{}]", in(reg) at, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                asm!("fxrstor64 [{}]", in(reg) at, options(nostack));
            }
        }
    }

    /// The state in memory, as `XSAVE` lays it out.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has this many bytes and lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr(), Self::size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), Self::size()) }
    }

    /// Takes a state that a program wrote: what would cause an exception when it is loaded is cleared.
    pub fn accept(&mut self, state: &[u8]) {
        let own = self.bytes_mut();
        let length = own.len().min(state.len());
        own[..length].copy_from_slice(&state[..length]);
        // Reserved bits of MXCSR cause an exception.
        let mxcsr = u32::from_le_bytes([own[24], own[25], own[26], own[27]]) & 0xffff;
        own[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        if own.len() > LEGACY {
            // XSTATE_BV may name only enabled components; XCOMP_BV and what follows must be zero.
            let mut named = u64::from_le_bytes(own[512..520].try_into().unwrap_or_default());
            named &= enabled();
            own[512..520].copy_from_slice(&named.to_le_bytes());
            own[520..576].fill(0);
        }
    }
}

/// The enabled components (XCR0).
pub fn enabled() -> u64 {
    if FpuState::size() <= LEGACY {
        return 3;
    }
    let (low, high): (u32, u32);
    // SAFETY: XSAVE is on, so the register exists.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) }
    u64::from(high) << 32 | u64::from(low)
}

impl Default for FpuState {
    fn default() -> FpuState {
        FpuState::new()
    }
}

impl Clone for FpuState {
    fn clone(&self) -> FpuState {
        let mut copy = FpuState::new();
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.0.as_ptr(), Self::layout()) }
    }
}
