//! What time it is, and since when this computer runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since 1970-01-01 00:00 UTC.
pub fn now() -> Duration {
    // A clock before 1970 is a broken clock; zero is as good an answer as any.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns a number that grows while this computer runs, in nanoseconds.
pub(crate) fn ticks() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    u128::from(seconds) * 1_000_000_000 + u128::from(nanos)
}
