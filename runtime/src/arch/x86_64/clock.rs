//! Time: the time stamp counter as the clock, the local APIC's timer as the alarm, the
//! real-time clock for the date.

use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};

use super::interrupts::{Apic, apic_read, apic_write};
use super::ports::{in8, out8};

/// The counter when the kernel started.
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick of the counter, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// Ticks of the APIC's timer per millisecond.
static APIC_RATE: AtomicU64 = AtomicU64::new(1_000_000);
/// Nanoseconds since 1970 when the kernel started.
static WALL: AtomicU64 = AtomicU64::new(0);

/// Where the 8254 and the counter stood when the measurement began.
static FIRST: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// The 8254's rate in Hz.
const PIT_RATE: u64 = 1_193_182;
/// How long the rates are measured at least, in ticks of the 8254: 3 ms.
const MEASURE: u64 = PIT_RATE * 3 / 1000;

fn counter() -> u64 {
    // SAFETY: every x86_64 processor has the counter.
    unsafe { _rdtsc() }
}

/// Notes when the kernel started; the first thing it does.
pub fn start() {
    START.store(counter(), Ordering::Relaxed);
}

/// Where channel 0 of the 8254 stands, which counts down.
fn pit() -> u64 {
    out8(0x43, 0); // hold the count of channel 0
    let low = in8(0x40);
    u64::from(low) | u64::from(in8(0x40)) << 8
}

/// Begins to measure the rates of the counter and of the APIC's timer against the 8254, and reads
/// the date. The machine starts meanwhile; [`finish`] ends it.
pub fn init() {
    // Something that is near enough for what starts the machine.
    let usual = (1_u64 << 32) * 2 / 5;
    SCALE.store(stated_scale().unwrap_or(usual), Ordering::Relaxed);
    begin();
    WALL.store(
        (read_date() * 1_000_000_000).saturating_sub(monotonic()),
        Ordering::Relaxed,
    );
}

fn begin() {
    // Channel 0, once down from the top. (The end of channel 2 shows in port 0x61, which
    // QEMU's microvm does not have.)
    out8(0x43, 0x30);
    out8(0x40, 0xff);
    out8(0x40, 0xff);
    apic_write(Apic::Initial, u32::MAX);
    FIRST.store(pit(), Ordering::Relaxed);
    BEGUN.store(counter(), Ordering::Relaxed);
}

/// Whether channel 0 of the 8254 has been at its end, 55 ms after it began.
fn is_over() -> bool {
    out8(0x43, 0xe2); // hold the state of channel 0
    in8(0x40) & 0x80 != 0
}

/// Ends the measurement that [`init`] began.
pub fn finish() {
    if is_over() {
        begin();
    }
    let first = FIRST.load(Ordering::Relaxed);
    let mut passed = 0;
    for _ in 0..100_000 {
        passed = first.saturating_sub(pit());
        if passed >= MEASURE {
            break;
        }
    }
    let ticks = counter().wrapping_sub(BEGUN.load(Ordering::Relaxed)).max(1);
    let apic = u64::from(u32::MAX - apic_read(Apic::Current)).max(1);
    apic_write(Apic::Initial, 0);
    // Without an 8254 the counter's usual rate has to do.
    let nanoseconds = if passed >= MEASURE {
        passed * 1_000_000_000 / PIT_RATE
    } else {
        ticks * 2 / 5
    };
    let measured = ((u128::from(nanoseconds) << 32) / u128::from(ticks)) as u64;
    SCALE.store(stated_scale().unwrap_or(measured), Ordering::Relaxed);
    APIC_RATE.store(
        (apic * 1_000_000 / nanoseconds.max(1)).max(1),
        Ordering::Relaxed,
    );
}

/// The counter's rate where the processor or the hypervisor states it (CPUID 0x15, and
/// 0x40000010 of KVM and VMware).
fn stated_scale() -> Option<u64> {
    let kilohertz = if __cpuid(1).ecx & 1 << 31 != 0 && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        u64::from(__cpuid(0x4000_0010).eax)
    } else if __cpuid(0).eax >= 0x15 {
        let ratio = __cpuid(0x15);
        if ratio.eax == 0 || ratio.ebx == 0 {
            0
        } else {
            u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax) / 1000
        }
    } else {
        0
    };
    (kilohertz > 0).then(|| ((1_000_000_u128 << 32) / u128::from(kilohertz)) as u64)
}

/// Nanoseconds since the kernel started.
pub fn monotonic() -> u64 {
    let ticks = counter().wrapping_sub(START.load(Ordering::Relaxed));
    ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// Nanoseconds since 1970-01-01 (UTC) when the kernel started.
pub fn wall_clock_at_boot() -> u64 {
    WALL.load(Ordering::Relaxed)
}

/// Asks for an interrupt in that many nanoseconds; `None` for none.
pub fn set_timer(nanoseconds: Option<u64>) {
    let count = nanoseconds.map_or(0, |wait| {
        let ticks = u128::from(wait) * u128::from(APIC_RATE.load(Ordering::Relaxed)) / 1_000_000;
        ticks.clamp(1, u128::from(u32::MAX)) as u32
    });
    apic_write(Apic::Initial, count);
}

/// Seconds since 1970 of the real-time clock; 0 where there is none.
fn read_date() -> u64 {
    let read = |register: u8| {
        out8(0x70, register);
        in8(0x71)
    };
    if read(0x0b) == 0xff {
        return 0;
    }
    let take = || {
        // An update in progress shows in bit 7 of register A.
        for _ in 0..10_000 {
            if read(0x0a) & 0x80 == 0 {
                break;
            }
        }
        [read(0), read(2), read(4), read(7), read(8), read(9)]
    };
    let mut raw = take();
    loop {
        let again = take();
        if again == raw {
            break;
        }
        raw = again;
    }
    let binary = read(0x0b) & 4 != 0;
    let [second, minute, hour, day, month, year] = raw.map(|value| {
        u64::from(if binary {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        })
    });
    crate::time::seconds_of_date(2000 + year, month, day) + hour * 3600 + minute * 60 + second
}
