//! Time: the generic timer's virtual counter as the clock and the alarm, a PL031 for the date.

use core::arch::asm;
use core::cell::Cell;

use super::cpu::{read_register, write_register};
use super::memory;
use crate::sync::Global;
use crate::time::SECOND;

struct Clock {
    /// The counter when the kernel started.
    start: Cell<u64>,
    /// Nanoseconds per tick of the counter, times 2^32.
    scale: Cell<u64>,
    /// Ticks of a second.
    rate: Cell<u64>,
    /// Nanoseconds since 1970 when the kernel started.
    wall: Cell<u64>,
}

static CLOCK: Global<Clock> = Global::new(Clock {
    start: Cell::new(0),
    scale: Cell::new(1 << 32),
    rate: Cell::new(SECOND),
    wall: Cell::new(0),
});

fn counter() -> u64 {
    let value: u64;
    // SAFETY: reading the counter has no effect; the barrier keeps it in its place.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) value, options(nomem, nostack)) }
    value
}

/// Notes when the kernel started; the first thing it does.
pub fn start() {
    let rate = read_register!("cntfrq_el0").max(1);
    CLOCK.start.set(counter());
    CLOCK.rate.set(rate);
    CLOCK
        .scale
        .set(((u128::from(SECOND) << 32) / u128::from(rate)) as u64);
    set_timer(None);
}

/// The rate of the counter is known: nothing has to be measured.
pub fn finish() {}

/// Reads the date from the clock at a physical address.
pub fn read_date(device: usize) {
    if let Some(device) = memory::map_device(device, 0x1000) {
        let date = u64::from(memory::read32(device)) * SECOND;
        CLOCK.wall.set(date.saturating_sub(monotonic()));
    }
}

/// Nanoseconds since the kernel started.
pub fn monotonic() -> u64 {
    let ticks = counter().wrapping_sub(CLOCK.start.get());
    ((u128::from(ticks) * u128::from(CLOCK.scale.get())) >> 32) as u64
}

/// Nanoseconds since 1970-01-01 (UTC) when the kernel started.
pub fn wall_clock_at_boot() -> u64 {
    CLOCK.wall.get()
}

/// Asks for an interrupt in that many nanoseconds; `None` for none.
pub fn set_timer(nanoseconds: Option<u64>) {
    // SAFETY: the registers of the timer change when it interrupts and nothing else.
    unsafe {
        match nanoseconds {
            None => write_register!("cntv_ctl_el0", 0),
            Some(wait) => {
                let ticks = u128::from(wait) * u128::from(CLOCK.rate.get()) / u128::from(SECOND);
                // Half the range: a time further away would be in the past.
                let ticks = ticks.clamp(1, u128::from(u64::MAX >> 2)) as u64;
                write_register!("cntv_cval_el0", counter().wrapping_add(ticks));
                write_register!("cntv_ctl_el0", 1);
            }
        }
        asm!("isb", options(nostack));
    }
}
