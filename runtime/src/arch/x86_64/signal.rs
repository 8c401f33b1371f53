//! The stack frame of a signal handler on x86_64, as Linux lays it out
//! (`struct rt_sigframe` in `arch/x86/include/asm/sigframe.h`).

use super::fpu::{self, FpuState};
use super::registers::{Registers, USER_CODE, USER_DATA};
use crate::abi::errno::{Errno, Result};
use crate::mm::user;
use crate::signal::{AlternateStack, Frame};

/// Bytes below the stack pointer that leaf functions use without moving it.
const RED_ZONE: usize = 128;
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
/// Marks in the saved state that say how large it is (`FP_XSTATE_MAGIC1` and `2`).
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const SOFTWARE_RESERVED: usize = 464;
/// Words of the frame: the return address, the user context with its mask, the information.
const CONTEXT: usize = 1;
const REGISTERS: usize = CONTEXT + 5;
const MASK: usize = CONTEXT + 37;
const INFO: usize = MASK + 1;
const WORDS: usize = INFO + 16;
const FLAGS_OF_USERS: usize = 0xcd5;

/// Makes user mode run the handler of `frame` next; what it did before is kept on its stack.
///
/// # Errors
/// `EFAULT` when the stack cannot be written or the program named no way back.
pub fn push_signal_frame(
    registers: &mut Registers,
    fpu: &mut FpuState,
    frame: &Frame,
) -> Result<()> {
    fpu.save();
    let below = frame
        .stack
        .map_or(registers.rsp.wrapping_sub(RED_ZONE), |top| top);
    let extended = FpuState::size() > 512;
    let state_size = FpuState::size() + if extended { 4 } else { 0 };
    let state_at = below.wrapping_sub(state_size) & !63;
    let at = (state_at.wrapping_sub(WORDS * 8) & !15).wrapping_sub(8);
    let mut state = fpu.bytes().to_vec();
    if extended {
        let reserved = &mut state[SOFTWARE_RESERVED..SOFTWARE_RESERVED + 20];
        reserved[0..4].copy_from_slice(&MAGIC1.to_le_bytes());
        reserved[4..8].copy_from_slice(&(state_size as u32).to_le_bytes());
        reserved[8..16].copy_from_slice(&fpu::enabled().to_le_bytes());
        reserved[16..20].copy_from_slice(&(FpuState::size() as u32).to_le_bytes());
        state.extend_from_slice(&MAGIC2.to_le_bytes());
    }
    let mut words = [0_u64; WORDS];
    words[0] = frame.restorer.ok_or(Errno::FAULT)? as u64;
    words[CONTEXT] = UC_SIGCONTEXT_SS | if extended { UC_FP_XSTATE } else { 0 };
    words[CONTEXT + 2..CONTEXT + 5].copy_from_slice(&frame.alternate.words());
    let r = &*registers;
    let saved = [
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15,
        r.rdi,
        r.rsi,
        r.rbp,
        r.rbx,
        r.rdx,
        r.rax,
        r.rcx,
        r.rsp,
        r.rip,
        r.rflags,
        USER_DATA << 48 | USER_CODE,
        r.error,
        r.vector,
        frame.mask as usize,
        frame.fault_address(),
        state_at,
    ];
    for (word, value) in words[REGISTERS..].iter_mut().zip(saved) {
        *word = value as u64;
    }
    words[MASK] = frame.mask;
    words[INFO..].copy_from_slice(&frame.info.words());
    user::write_bytes(state_at, &state)?;
    user::write_words(at, &words)?;
    registers.rdi = frame.info.number();
    registers.rsi = at + INFO * 8;
    registers.rdx = at + CONTEXT * 8;
    registers.rax = 0;
    registers.rip = frame.handler;
    registers.rsp = at;
    // Direction and trap flags off.
    registers.rflags &= !0x500;
    registers.cs = USER_CODE;
    registers.ss = USER_DATA;
    Ok(())
}

/// Restores what the handler interrupted; returns the signal mask and the alternate stack.
///
/// # Errors
/// `EFAULT` when the frame cannot be read.
pub fn pop_signal_frame(
    registers: &mut Registers,
    fpu: &mut FpuState,
) -> Result<(u64, AlternateStack)> {
    // The handler's return took the first word off the stack.
    let at = registers.rsp.wrapping_sub(8);
    let mut words = [0_u64; MASK + 1];
    user::read_words(at, &mut words)?;
    let saved = |index: usize| words[REGISTERS + index] as usize;
    let state_at = saved(23);
    if state_at != 0 {
        let mut state = alloc::vec![0; FpuState::size()];
        user::read_bytes(state_at, &mut state)?;
        fpu.accept(&state);
        fpu.load();
    }
    *registers = Registers {
        r8: saved(0),
        r9: saved(1),
        r10: saved(2),
        r11: saved(3),
        r12: saved(4),
        r13: saved(5),
        r14: saved(6),
        r15: saved(7),
        rdi: saved(8),
        rsi: saved(9),
        rbp: saved(10),
        rbx: saved(11),
        rdx: saved(12),
        rax: saved(13),
        rcx: saved(14),
        rsp: saved(15),
        rip: canonical(saved(16)),
        rflags: saved(17) & FLAGS_OF_USERS | 0x202,
        cs: USER_CODE,
        ss: USER_DATA,
        vector: 0x100,
        error: 0,
    };
    let alternate = AlternateStack::from_words(&words[CONTEXT + 2..CONTEXT + 5]);
    Ok((words[MASK], alternate))
}

/// Returning to an invalid address causes an exception in the kernel; zero causes one in user mode.
fn canonical(address: usize) -> usize {
    if address < super::USER_END {
        address
    } else {
        0
    }
}
