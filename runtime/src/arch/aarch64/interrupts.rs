//! The interrupt controller: a GIC of version 2 or 3.

use core::arch::asm;
use core::cell::Cell;

use super::cpu::{read_register, write_register};
use super::memory::{map_device, read32, write8, write32};
use crate::sync::Global;

/// The number of an interrupt that vanished, and those above it.
const SPURIOUS: u32 = 1020;
/// The first number of interrupts of devices; the lower ones belong to a processor.
const DEVICES: u32 = 32;
/// The priority of all interrupts; any that is higher than the mask's.
const PRIORITY: u8 = 0xa0;

/// Registers of the distributor; those with a bit or a byte for each interrupt begin there.
mod distributor {
    pub const CONTROL: usize = 0;
    pub const GROUP: usize = 0x80;
    pub const ENABLE: usize = 0x100;
    pub const PRIORITY: usize = 0x400;
    pub const TARGET: usize = 0x800;
    pub const ROUTE: usize = 0x6000;
}

#[derive(Clone, Copy)]
enum Controller {
    None,
    Version2 { distributor: usize, cpu: usize },
    Version3 { distributor: usize, private: usize },
}

struct Interrupts {
    controller: Cell<Controller>,
    timer: Cell<u32>,
    console: Cell<u32>,
}

static INTERRUPTS: Global<Interrupts> = Global::new(Interrupts {
    controller: Cell::new(Controller::None),
    timer: Cell::new(SPURIOUS),
    console: Cell::new(SPURIOUS),
});

/// Who interrupts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The timer.
    Timer,
    /// The console.
    Console,
    /// Another device.
    Device,
}

/// Sets a GIC of version 2 up: the physical addresses of its distributor and its processor's
/// interface.
pub fn use_version_2(distributor: usize, cpu: usize) {
    let (Some(distributor), Some(cpu)) = (map_device(distributor, 0x1000), map_device(cpu, 0x1000))
    else {
        return;
    };
    write32(distributor + distributor::CONTROL, 1);
    write32(cpu + 4, 0xff); // every priority
    write32(cpu, 1);
    INTERRUPTS
        .controller
        .set(Controller::Version2 { distributor, cpu });
}

/// Sets a GIC of version 3 up: the physical addresses of its distributor and its first
/// processor's part.
pub fn use_version_3(distributor: usize, redistributor: usize) {
    let (Some(distributor), Some(redistributor)) = (
        map_device(distributor, 0x1_0000),
        map_device(redistributor, 0x2_0000),
    ) else {
        return;
    };
    // Routing by affinity, interrupts of group 1.
    write32(distributor + distributor::CONTROL, 0x12);
    let waker = redistributor + 0x14;
    write32(waker, read32(waker) & !2);
    let mut tries = 0_u32;
    while read32(waker) & 4 != 0 && tries < 1_000_000 {
        tries += 1;
    }
    let private = redistributor + 0x1_0000;
    write32(private + distributor::GROUP, u32::MAX);
    // SAFETY: the registers of the processor's interface exist where the device tree names a
    // GIC of version 3.
    unsafe {
        write_register!("S3_0_C12_C12_5", 7); // ICC_SRE: registers instead of memory
        asm!("isb", options(nostack));
        write_register!("S3_0_C4_C6_0", 0xff); // ICC_PMR: every priority
        write_register!("S3_0_C12_C12_7", 1); // ICC_IGRPEN1
        asm!("isb", options(nostack));
    }
    INTERRUPTS.controller.set(Controller::Version3 {
        distributor,
        private,
    });
}

/// Says which interrupts those of timer and console are, and lets them come.
pub fn use_sources(timer: Option<u32>, console: Option<u32>) {
    INTERRUPTS.timer.set(timer.unwrap_or(SPURIOUS));
    INTERRUPTS.console.set(console.unwrap_or(SPURIOUS));
    for interrupt in [timer, console].into_iter().flatten() {
        enable_interrupt(interrupt);
    }
}

/// Lets a device's interrupt come.
pub fn enable_interrupt(line: u32) {
    if line >= SPURIOUS {
        return;
    }
    let (word, byte) = (line as usize / 32 * 4, line as usize);
    let bit = 1 << (line % 32);
    match INTERRUPTS.controller.get() {
        Controller::None => {}
        Controller::Version2 { distributor, .. } => {
            write8(distributor + distributor::PRIORITY + byte, PRIORITY);
            if line >= DEVICES {
                write8(distributor + distributor::TARGET + byte, 1);
            }
            write32(distributor + distributor::ENABLE + word, bit);
        }
        Controller::Version3 {
            distributor,
            private,
        } => {
            let base = if line < DEVICES { private } else { distributor };
            let group = base + distributor::GROUP + word;
            write32(group, read32(group) | bit);
            write8(base + distributor::PRIORITY + byte, PRIORITY);
            if line >= DEVICES {
                let me = read_register!("mpidr_el1") & 0xff_00ff_ffff;
                let route = distributor + distributor::ROUTE + line as usize * 8;
                write32(route, me as u32);
                write32(route + 4, (me >> 32) as u32);
            }
            write32(base + distributor::ENABLE + word, bit);
        }
    }
}

/// Takes the interrupt that waits.
pub fn take() -> Option<u32> {
    let interrupt = match INTERRUPTS.controller.get() {
        Controller::None => SPURIOUS,
        Controller::Version2 { cpu, .. } => read32(cpu + 0xc),
        // ICC_IAR1
        Controller::Version3 { .. } => read_register!("S3_0_C12_C12_0") as u32,
    };
    (interrupt & 0x3ff < SPURIOUS).then_some(interrupt)
}

/// Whose an interrupt is.
pub fn source(interrupt: u32) -> Source {
    let number = interrupt & 0x3ff;
    if number == INTERRUPTS.timer.get() {
        Source::Timer
    } else if number == INTERRUPTS.console.get() {
        Source::Console
    } else {
        Source::Device
    }
}

/// Notifies the controller that the interrupt is dealt with.
pub fn end(interrupt: u32) {
    match INTERRUPTS.controller.get() {
        Controller::None => {}
        Controller::Version2 { cpu, .. } => write32(cpu + 0x10, interrupt),
        // SAFETY: ends the interrupt that `take` gave (ICC_EOIR1).
        Controller::Version3 { .. } => unsafe { write_register!("S3_0_C12_C12_1", interrupt) },
    }
}

/// Stops the processor until an interrupt has been taken.
pub fn wait_for_interrupt() {
    // SAFETY: an interrupt ends the wait also while it is masked, so that none is missed.
    unsafe {
        asm!(
            "dsb sy",
            "wfi",
            "msr daifclr, #2",
            "isb",
            "msr daifset, #2",
            options(nostack)
        )
    }
}
