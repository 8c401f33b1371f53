//! Exceptions and interrupts, sorted into what the portable part knows.

use super::cpu::read_register;
use super::interrupts::{self, Source};
use super::registers::Registers;
use super::{clock, console};
use crate::signal::Signal;
use crate::trap::{self, Access, Fault};

/// The first vector of traps from user mode (64 bits), and the kinds of vectors.
const FROM_USER: usize = 8;
const KINDS: usize = 4;
const SYNCHRONOUS: usize = 0;
const INTERRUPT: usize = 1;

/// Classes of exceptions (ARM ARM, ESR_EL1).
mod class {
    pub const ILLEGAL_STATE: u64 = 0x0e;
    pub const SYSTEM_CALL: u64 = 0x15;
    pub const INSTRUCTION_ABORT: u64 = 0x20;
    pub const WRONG_PC: u64 = 0x22;
    pub const DATA_ABORT: u64 = 0x24;
    pub const WRONG_STACK: u64 = 0x26;
    pub const FLOATING_POINT: u64 = 0x2c;
    pub const STEP: u64 = 0x32;
    pub const BREAKPOINT: u64 = 0x3c;
}

/// Why an access failed, without the level: a translation or a permission (bits 5 to 2 of ESR).
const TRANSLATION: u64 = 1;
const ACCESS_FLAG: u64 = 2;
const PERMISSION: u64 = 3;
/// The address is not aligned (bits 5 to 0 of ESR).
const ALIGNMENT: u64 = 0x21;
/// An access that writes, and one that only maintains caches, which looks like writing.
const WRITE: u64 = 1 << 6;
const CACHE: u64 = 1 << 8;
/// The bits of an address above those that say where it is: user mode may keep something there.
const TAG: u32 = 8;

#[unsafe(no_mangle)]
extern "C" fn trap_aarch64(registers: &mut Registers, vector: usize) {
    let from_user = (FROM_USER..FROM_USER + KINDS).contains(&vector);
    match vector % KINDS {
        INTERRUPT => interrupt(registers, from_user),
        SYNCHRONOUS if from_user => exception(registers),
        _ => panic!(
            "exception {vector} in the kernel at {:#x}, syndrome {:#x}, address {:#x}",
            registers.pc,
            read_register!("esr_el1"),
            read_register!("far_el1"),
        ),
    }
}

fn interrupt(registers: &mut Registers, from_user: bool) {
    let Some(interrupt) = interrupts::take() else {
        return;
    };
    let source = interrupts::source(interrupt);
    match source {
        // Until it is set again: it would interrupt for ever.
        Source::Timer => clock::set_timer(None),
        Source::Console => console::acknowledge(),
        Source::Device => trap::acknowledge_devices(),
    }
    interrupts::end(interrupt);
    trap::interrupt(registers, source == Source::Timer, from_user);
}

fn exception(registers: &mut Registers) {
    let syndrome = read_register!("esr_el1");
    let address = ((read_register!("far_el1") << TAG) as i64 >> TAG) as usize;
    let class = syndrome >> 26 & 0x3f;
    let reason = syndrome & 0x3f;
    let (signal, code, address) = match class {
        class::SYSTEM_CALL => return trap::system_call(registers),
        class::INSTRUCTION_ABORT | class::DATA_ABORT
            if matches!(reason >> 2, TRANSLATION | ACCESS_FLAG | PERMISSION) || reason < 4 =>
        {
            let access = Access {
                write: class == class::DATA_ABORT && syndrome & (WRITE | CACHE) == WRITE,
                execute: class == class::INSTRUCTION_ABORT,
            };
            return trap::page_fault(registers, address, access);
        }
        class::INSTRUCTION_ABORT | class::DATA_ABORT if reason == ALIGNMENT => {
            (Signal::BUS, 1, address)
        }
        class::INSTRUCTION_ABORT | class::DATA_ABORT => (Signal::BUS, 3, address),
        class::WRONG_PC => (Signal::BUS, 1, registers.pc),
        class::WRONG_STACK => (Signal::BUS, 1, registers.sp),
        class::FLOATING_POINT => (Signal::FPE, 7, registers.pc),
        class::STEP => (Signal::TRAP, 2, registers.pc),
        class::BREAKPOINT => (Signal::TRAP, 1, registers.pc),
        class::ILLEGAL_STATE => (Signal::ILL, 1, registers.pc),
        _ => (Signal::ILL, 1, registers.pc),
    };
    trap::fault(
        registers,
        Fault {
            signal,
            code,
            address,
        },
    );
}
