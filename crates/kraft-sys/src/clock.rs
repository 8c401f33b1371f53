//! What time it is, and which run of this computer it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since 1970-01-01 00:00 UTC.
pub fn now() -> Duration {
    // A clock before 1970 is a broken clock; zero is as good an answer as any.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Reads how long a server wants to be left alone, `Retry-After` (RFC 9110, section 10.2.3): seconds,
/// or a date; `now` is the time since 1970. A date that is over means no time at all; `None` is
/// neither of both.
pub fn retry_after(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(UNIX_EPOCH.checked_add(now)?).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Returns what names this run of the computer: Linux's boot id, a UUID that is new after every
/// start. Empty where there is none.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Returns a number that grows while this computer runs, in nanoseconds.
pub(crate) fn ticks() -> u128 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    u128::from(seconds) * 1_000_000_000 + u128::from(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_dates() {
        let now = Duration::from_secs(784_111_700);
        assert_eq!(retry_after("121", now), Some(Duration::from_secs(121)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(77)));
        assert_eq!(retry_after(date, now * 2), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
