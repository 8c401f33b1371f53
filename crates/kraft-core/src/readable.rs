//! Human-readable sizes and durations.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_core::readable::{ago, bytes, decimal, time};
//!
//! assert_eq!(bytes(3 << 19), "1.5 MiB");
//! assert_eq!(decimal(1_500_000), "1.5 MB");
//! assert_eq!(time(Duration::from_secs(185)), "3 min 5 s");
//! assert_eq!(ago(Duration::from_secs(2 * 60 * 60)), "2 hours ago");
//! ```

use std::time::Duration;

/// Formats a size in binary units with one decimal place: `17.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["KiB", "MiB", "GiB", "TiB"], |_| true)
}

/// Formats a size in decimal units, as in KraftKit's listings: `245 kB`, `1.5 MB`.
pub fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000, &["kB", "MB", "GB", "TB"], |tenths| {
        tenths < 100
    })
}

/// Scales a number to the first unit in which it has at most three digits, rounding to nearest.
/// `fine` decides by the number of tenths whether to show one decimal place.
fn scaled(bytes: u64, step: u128, units: &[&str], fine: fn(u128) -> bool) -> String {
    let bytes = u128::from(bytes);
    if bytes < step {
        return format!("{bytes} B");
    }
    let mut divisor = step;
    let mut units = units.iter().peekable();
    while let Some(unit) = units.next() {
        let tenths = (bytes * 10 + divisor / 2) / divisor;
        let whole = (bytes + divisor / 2) / divisor;
        let shown = if fine(tenths) { tenths / 10 } else { whole };
        if shown < step || units.peek().is_none() {
            return if fine(tenths) {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            } else {
                format!("{whole} {unit}")
            };
        }
        divisor *= step;
    }
    format!("{bytes} B")
}

/// Formats a duration: `0.4 s`, `22 s`, `3 min 5 s`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => {
            let tenths = (time.as_millis() + 50) / 100;
            if tenths.is_multiple_of(10) && tenths > 0 {
                format!("{} s", tenths / 10)
            } else {
                format!("{}.{} s", tenths / 10, tenths % 10)
            }
        }
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats how long ago something happened: `2 hours ago`.
pub fn ago(passed: Duration) -> String {
    let seconds = passed.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_shown_in_the_unit_that_fits() {
        for (seconds, shown) in [
            (0, "0 seconds ago"),
            (1, "1 second ago"),
            (7200, "2 hours ago"),
            (86_400, "1 day ago"),
            (1_300_000, "2 weeks ago"),
            (40_000_000, "15 months ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn decimal_sizes_are_rounded_and_have_two_digits_or_more() {
        for (size, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (2048, "2.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (9999, "10 kB"),
            (17_499, "17 kB"),
            (17_500, "18 kB"),
            (17_920, "18 kB"),
            (245_000, "245 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_500_000, "1.5 MB"),
            (12_345_678, "12 MB"),
            (3_000_000_000, "3.0 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(decimal(size), shown, "{size}");
        }
    }

    #[test]
    fn binary_sizes_have_one_digit_after_the_point() {
        for (size, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (18_000_000, "17.2 MiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(bytes(size), shown, "{size}");
        }
    }

    #[test]
    fn durations_are_rounded_to_two_units() {
        for (millis, shown) in [
            (0, "0.0 s"),
            (40, "0.0 s"),
            (449, "0.4 s"),
            (4000, "4 s"),
            (9990, "10 s"),
            (22_900, "22 s"),
            (185_000, "3 min 5 s"),
            (7_260_000, "2 h 1 min"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), shown, "{millis}");
        }
    }
}
