//! Exceptions and interrupts, sorted into what the portable part knows.

use core::arch::asm;

use super::interrupts;
use super::registers::Registers;
use crate::signal::Signal;
use crate::trap::{self, Access, Fault};

const PAGE_FAULT: usize = 14;

#[unsafe(no_mangle)]
extern "C" fn syscall_x86_64(registers: &mut Registers) {
    trap::system_call(registers);
}

#[unsafe(no_mangle)]
extern "C" fn trap_x86_64(registers: &mut Registers) {
    let from_user = registers.cs & 3 == 3;
    if registers.vector >= interrupts::DEVICES {
        let vector = registers.vector;
        let timer = vector == interrupts::TIMER;
        if !timer {
            trap::acknowledge_devices();
        }
        interrupts::end(vector);
        trap::interrupt(registers, timer, from_user);
        return;
    }
    let mut address = registers.rip;
    if registers.vector == PAGE_FAULT {
        // SAFETY: reading the register that holds the address of the page fault has no effect.
        unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack)) }
    }
    if !from_user {
        panic!(
            "exception {} in the kernel at {:#x}, address {address:#x}, error {:#x}, stack {:#x}",
            registers.vector, registers.rip, registers.error, registers.rsp
        );
    }
    if registers.vector == PAGE_FAULT {
        let access = Access {
            write: registers.error & 2 != 0,
            execute: registers.error & 16 != 0,
        };
        trap::page_fault(registers, address, access);
        return;
    }
    let (signal, code) = match registers.vector {
        0 => (Signal::FPE, 1),
        1 => (Signal::TRAP, 2),
        3 => (Signal::TRAP, 0x80),
        4 | 5 => (Signal::SEGV, 0x80),
        6 => (Signal::ILL, 2),
        16 | 19 => (Signal::FPE, 7),
        17 => (Signal::BUS, 1),
        _ => (Signal::SEGV, 0x80),
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
