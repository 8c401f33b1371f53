//! The current time, and the identity of the current boot.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_sys::clock::retry_after;
//!
//! let now = Duration::from_secs(784_111_770); // 1994-11-06 08:49:30 UTC
//! assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
//! let date = "Sun, 06 Nov 1994 08:49:37 GMT";
//! assert_eq!(retry_after(date, now), Some(Duration::from_secs(7)));
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::clock_gettime;

use crate::host;

/// Returns the time since 1970-01-01 00:00 UTC.
pub fn now() -> Duration {
    // For a clock before 1970, return zero.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date; `now` is the time since
/// 1970. A date in the past yields zero; `None` for other text.
pub fn retry_after(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(UNIX_EPOCH.checked_add(now)?).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Returns the id of this boot of the host: a UUID that changes at every boot. Empty if it is not available.
pub fn boot_id() -> String {
    host::boot_id().trim().to_owned()
}

/// Returns a monotonic timestamp, in nanoseconds.
pub(crate) fn ticks() -> u128 {
    let now = clock_gettime(host::UPTIME);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    u128::from(seconds) * 1_000_000_000 + u128::from(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_700);
        assert_eq!(retry_after("121", now), Some(Duration::from_secs(121)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(77)));
        assert_eq!(retry_after(date, now * 2), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
