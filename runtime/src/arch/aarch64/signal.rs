//! The stack frame of a signal handler on arm64, as Linux lays it out (`struct rt_sigframe` in
//! `arch/arm64/kernel/signal.c`, `asm/sigcontext.h`).

use super::fpu::{self, FpuState};
use super::paging::HANDLER_RETURN;
use super::registers::Registers;
use crate::abi::errno::{Errno, Result};
use crate::mm::user;
use crate::signal::{AlternateStack, Frame};

/// Bytes of the frame: the information, the context, and the pair that unwinding follows.
const INFO: usize = 0;
const CONTEXT: usize = 128;
const ALTERNATE: usize = CONTEXT + 16;
const MASK: usize = CONTEXT + 40;
/// `struct sigcontext`: the address of the exception, x0 to x30, sp, pc, pstate.
const REGISTERS: usize = CONTEXT + 176;
const RECORDS: usize = REGISTERS + 288;
const FRAME: usize = RECORDS + 4096;
const SIZE: usize = FRAME + 16;

/// The record with the vector registers (`FPSIMD_MAGIC`); its size with the head.
const VECTORS: u32 = 0x4650_8001;
const VECTORS_SIZE: usize = fpu::SIZE + 8;
/// The most records that are looked at.
const MOST_RECORDS: usize = 64;
/// The condition flags: all of the state that a program may set.
const FLAGS_OF_USERS: u64 = 0xf000_0000;

/// Makes user mode run the handler of `frame` next; what it did before is kept on its stack.
///
/// # Errors
/// `EFAULT` when the stack cannot be written.
pub fn push_signal_frame(
    registers: &mut Registers,
    fpu: &mut FpuState,
    frame: &Frame,
) -> Result<()> {
    fpu.save();
    let below = frame.stack.unwrap_or(registers.sp) & !15;
    let at = below.wrapping_sub(SIZE);
    let mut bytes = alloc::vec![0; SIZE];
    let mut put = |at: usize, words: &[u64]| {
        for (place, word) in bytes[at..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    };
    put(INFO, &frame.info.words());
    put(ALTERNATE, &frame.alternate.words());
    put(MASK, &[frame.mask]);
    put(REGISTERS, &[frame.fault_address() as u64]);
    put(REGISTERS + 8, &registers.x.map(|value| value as u64));
    let rest = [registers.sp, registers.pc, registers.pstate];
    put(REGISTERS + 256, &rest.map(|value| value as u64));
    put(RECORDS, &[u64::from(VECTORS) | (VECTORS_SIZE as u64) << 32]);
    put(FRAME, &[registers.x[29] as u64, registers.x[30] as u64]);
    bytes[RECORDS + 8..RECORDS + VECTORS_SIZE].copy_from_slice(&fpu.frame());
    user::write_bytes(at, &bytes)?;
    registers.x[0] = frame.info.number();
    registers.x[1] = at + INFO;
    registers.x[2] = at + CONTEXT;
    registers.x[29] = at + FRAME;
    registers.x[30] = frame.restorer.unwrap_or(HANDLER_RETURN);
    registers.sp = at;
    registers.pc = frame.handler;
    registers.pstate = 0;
    Ok(())
}

/// Restores what the handler interrupted; returns the signal mask and the alternate stack.
///
/// # Errors
/// `EFAULT` when the frame cannot be read, `EINVAL` when it has no vector registers.
pub fn pop_signal_frame(
    registers: &mut Registers,
    fpu: &mut FpuState,
) -> Result<(u64, AlternateStack)> {
    let at = registers.sp;
    let mut words = [0_u64; 35];
    user::read_words(at.wrapping_add(REGISTERS), &mut words)?;
    let mut alternate = [0_u64; 3];
    user::read_words(at.wrapping_add(ALTERNATE), &mut alternate)?;
    let mut mask = [0_u64];
    user::read_words(at.wrapping_add(MASK), &mut mask)?;
    fpu.accept(&read_vectors(at.wrapping_add(RECORDS))?);
    fpu.load();
    let [_fault, rest @ ..] = words;
    *registers = Registers {
        x: core::array::from_fn(|index| rest[index] as usize),
        sp: rest[31] as usize,
        pc: rest[32] as usize,
        pstate: (rest[33] & FLAGS_OF_USERS) as usize,
    };
    Ok((mask[0], AlternateStack::from_words(&alternate)))
}

/// Finds the record with the vector registers.
fn read_vectors(records: usize) -> Result<[u8; fpu::SIZE]> {
    let mut offset = 0;
    for _ in 0..MOST_RECORDS {
        let mut head = [0_u64];
        let at = records.wrapping_add(offset);
        user::read_words(at, &mut head)?;
        let (kind, size) = (head[0] as u32, (head[0] >> 32) as usize);
        if kind == VECTORS && size == VECTORS_SIZE {
            let mut state = [0; fpu::SIZE];
            user::read_bytes(at.wrapping_add(8), &mut state)?;
            return Ok(state);
        }
        offset += size;
        if size < 16 || size % 16 != 0 || offset > 4096 - 16 {
            break;
        }
    }
    Err(Errno::INVAL)
}
