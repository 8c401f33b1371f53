//! What the processor calls: system calls, exceptions and interrupts.

use crate::arch::{self, Registers};
use crate::file::terminal;
use crate::mm::{FaultError, Space};
use crate::signal::{Info, Signal};
use crate::task::signals::{self, Call};
use crate::task::{self, Ending, exit};
use crate::{net, syscall, virtio};

/// What was tried at an address; neither means reading.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Writing.
    pub write: bool,
    /// Running.
    pub execute: bool,
}

/// An instruction that cannot be run.
pub struct Fault {
    /// The signal for the program.
    pub signal: Signal,
    /// `si_code`
    pub code: i32,
    /// The address that it is about.
    pub address: usize,
}

/// `SEGV_MAPERR`, `SEGV_ACCERR`, `BUS_ADRERR`
const NOT_MAPPED: i32 = 1;
const NOT_ALLOWED: i32 = 2;
const NO_ADDRESS: i32 = 2;

/// A program makes a system call.
pub fn system_call(registers: &mut Registers) {
    let call = Call {
        number: registers.call_number(),
        first_argument: registers.arguments()[0],
    };
    syscall::run(registers);
    let call = (!syscall::returns_from_handler(call.number)).then_some(call);
    signals::before_user_mode(registers, call);
}

/// A program touches memory that is not there.
pub fn page_fault(registers: &mut Registers, address: usize, access: Access) {
    let result = match Space::current() {
        Some(space) => space.touch(address, access),
        None => Err(FaultError::NotMapped),
    };
    match result {
        Ok(()) => {}
        Err(FaultError::OutOfMemory) => {
            crate::report::out_of_memory();
            exit::end_process(&task::current_process(), Ending::Killed(Signal::KILL));
        }
        Err(error) => {
            let (signal, code) = match error {
                FaultError::NotAllowed => (Signal::SEGV, NOT_ALLOWED),
                FaultError::BeyondFile => (Signal::BUS, NO_ADDRESS),
                _ => (Signal::SEGV, NOT_MAPPED),
            };
            signals::send_fault(Info::fault(signal, code, address));
        }
    }
    signals::before_user_mode(registers, None);
}

/// A program runs an instruction that it cannot.
pub fn fault(registers: &mut Registers, fault: Fault) {
    signals::send_fault(Info::fault(fault.signal, fault.code, fault.address));
    signals::before_user_mode(registers, None);
}

/// A device interrupts: it lets go of its line. Only then may the interrupt end at the controller,
/// which would take a line that is still held for the next one.
pub fn acknowledge_devices() {
    virtio::acknowledge();
}

/// A device, which was acknowledged, or the timer interrupts.
pub fn interrupt(registers: &mut Registers, timer: bool, from_user: bool) {
    if !from_user {
        // The scheduler waits; it looks at everything itself.
        if timer {
            task::timer_rang();
        }
        return;
    }
    serve_devices();
    if task::tick(timer) {
        task::yield_now();
    }
    signals::before_user_mode(registers, None);
}

/// Forwards what devices have.
pub fn serve_devices() {
    terminal::poll_console();
    net::poll();
}

/// Nothing is ready to run: waits for an interrupt.
pub fn idle() {
    arch::wait_for_interrupt();
    serve_devices();
}
