//! Amounts of memory as users write them: `64Mi`, `1G`, `1.5Gi`, `2e9`.
//!
//! The grammar is that of Kubernetes' quantities (apimachinery `resource.Quantity`), which KraftKit
//! uses: a decimal number, then nothing, a decimal suffix (`k M G T P E`, and the small `m u n`), a
//! binary one (`Ki` … `Ei`) or an exponent (`e3`, `E-2`). All arithmetic is exact; fractions of a
//! byte are rounded up, as in Kubernetes.
//!
//! ```
//! use kraft_core::quantity::{display, parse};
//!
//! assert_eq!(parse("64Mi")?, 64 << 20);
//! assert_eq!(parse("1.5Gi")?, 1536 << 20);
//! assert_eq!(display(64 << 20), "64Mi");
//! assert!(parse("64 MB").is_err());
//! # Ok::<(), kraft_core::quantity::QuantityError>(())
//! ```

/// One KiB, in bytes.
pub const KIB: u64 = 1 << 10;
/// One MiB, in bytes.
pub const MIB: u64 = 1 << 20;
/// One GiB, in bytes.
pub const GIB: u64 = 1 << 30;

/// The text is not a valid amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an amount of memory: {kind}")]
pub struct QuantityError {
    /// The invalid text.
    pub text: String,
    /// What is wrong with it.
    pub kind: QuantityErrorKind,
}

/// Why an amount is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityErrorKind {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It does not begin with a number.
    #[error("it does not begin with a decimal number such as 64 or 1.5")]
    NoNumber,
    /// It is negative.
    #[error("it is negative")]
    Negative,
    /// The unit is unknown.
    #[error("unknown unit `{unit}`{}", hint.as_deref().map(|hint| format!(": did you mean {hint}?")).unwrap_or_default())]
    UnknownUnit {
        /// The text after the number.
        unit: String,
        /// A suggestion.
        hint: Option<String>,
    },
    /// It exceeds 64 bits.
    #[error("it exceeds the maximum of 16Ei")]
    TooLarge,
}

/// Parses an amount, in bytes.
pub fn parse(text: &str) -> Result<u64, QuantityError> {
    parse_trimmed(text.trim()).map_err(|kind| QuantityError {
        text: text.to_owned(),
        kind,
    })
}

/// Formats an amount exactly, in the shortest form: `64Mi`, `1536Ki`, `1000`.
pub fn display(bytes: u64) -> String {
    let steps = (bytes.trailing_zeros() / 10).min(6);
    match ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(steps as usize) {
        Some(unit) if bytes != 0 => format!("{}{unit}", bytes >> (10 * steps)),
        _ => bytes.to_string(),
    }
}

fn parse_trimmed(text: &str) -> Result<u64, QuantityErrorKind> {
    if text.is_empty() {
        return Err(QuantityErrorKind::Empty);
    }
    if text.starts_with('-') {
        return Err(QuantityErrorKind::Negative);
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, unit) = unsigned
        .split_at_checked(end)
        .ok_or(QuantityErrorKind::NoNumber)?;
    let (digits, decimals) = read_number(number)?;
    let (doublings, tens) = read_unit(unit).ok_or_else(|| QuantityErrorKind::UnknownUnit {
        unit: unit.to_owned(),
        hint: likely_unit(number, unit),
    })?;
    scale(digits, doublings, tens.saturating_sub(decimals)).ok_or(QuantityErrorKind::TooLarge)
}

/// Parses `12`, `1.5`, `.5` or `5.` as all digits and the number of decimal places.
fn read_number(number: &str) -> Result<(u128, i32), QuantityErrorKind> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if !number.contains(|c: char| c.is_ascii_digit()) || fraction.contains('.') {
        return Err(QuantityErrorKind::NoNumber);
    }
    let digits = whole.trim_start_matches('0').to_owned() + fraction;
    let value = if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    };
    value
        .zip(i32::try_from(fraction.len()).ok())
        .ok_or(QuantityErrorKind::TooLarge)
}

/// Returns the factor of a unit, as powers of two and of ten.
fn read_unit(unit: &str) -> Option<(u32, i32)> {
    Some(match unit {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, unit.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// Suggests a unit for `K`, `MB`, `gib` and the like.
fn likely_unit(number: &str, unit: &str) -> Option<String> {
    let lower = unit.trim().to_ascii_lowercase();
    let stem = lower.strip_suffix('b').unwrap_or(&lower);
    let binary = stem.strip_suffix('i');
    let (decimal, twos) = match binary.unwrap_or(stem) {
        "" if binary.is_none() => return Some(format!("`{number}`, in bytes")),
        "k" => ("k", "Ki"),
        "m" => ("M", "Mi"),
        "g" => ("G", "Gi"),
        "t" => ("T", "Ti"),
        "p" => ("P", "Pi"),
        "e" => ("E", "Ei"),
        _ => return None,
    };
    Some(match binary {
        Some(_) => format!("`{number}{twos}`"),
        None => format!("`{number}{decimal}` (powers of 1000) or `{number}{twos}` (of 1024)"),
    })
}

/// Returns `digits × 2^doublings × 10^tens`, rounded up; `None` if it exceeds 64 bits.
fn scale(digits: u128, doublings: u32, tens: i32) -> Option<u64> {
    if digits == 0 {
        return Some(0);
    }
    let doubled = digits.checked_mul(1_u128.checked_shl(doublings)?)?;
    let power = 10_u128.checked_pow(tens.unsigned_abs());
    let bytes = match power {
        Some(power) if tens >= 0 => doubled.checked_mul(power)?,
        Some(power) => doubled.div_ceil(power),
        None if tens >= 0 => return None,
        // A positive number divided by more than a u128 holds rounds up to 1.
        None => 1,
    };
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_suffix_is_exact() {
        let table = [
            ("0", 0),
            ("1", 1),
            ("+7", 7),
            ("1024", 1024),
            ("1k", 1000),
            ("1Ki", 1024),
            ("64Mi", 64 * MIB),
            ("64M", 64_000_000),
            ("1G", 1_000_000_000),
            ("1Gi", GIB),
            ("2T", 2_000_000_000_000),
            ("1Ti", 1 << 40),
            ("1P", 1_000_000_000_000_000),
            ("1Pi", 1 << 50),
            ("1E", 1_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("1.5Gi", GIB + GIB / 2),
            ("0.5Ki", 512),
            (".5Ki", 512),
            ("5.", 5),
            ("1e3", 1000),
            ("1E3", 1000),
            ("12e+2", 1200),
            ("1200e-2", 12),
            ("1.25e2", 125),
            ("2000m", 2),
            ("1500m", 2),
            ("1m", 1),
            ("1n", 1),
            ("3000000u", 3),
            ("0e999", 0),
            ("1e-999999", 1),
            ("1.10", 2),
            ("000064Mi", 64 * MIB),
            (" 64Mi ", 64 * MIB),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn mistakes_are_reported_with_a_suggestion() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        insta::assert_snapshot!(
            ["", "Mi", "-1", "64K", "64KB", "64mb", "2gib", "10b", "5 Mi", "5x", "1.2.3", "1e", "16Ei", "1e99", "٣Mi", "."]
                .map(said)
                .join("\n"),
            @"
        `` is not an amount of memory: it is empty
        `Mi` is not an amount of memory: it does not begin with a decimal number such as 64 or 1.5
        `-1` is not an amount of memory: it is negative
        `64K` is not an amount of memory: unknown unit `K`: did you mean `64k` (powers of 1000) or `64Ki` (of 1024)?
        `64KB` is not an amount of memory: unknown unit `KB`: did you mean `64k` (powers of 1000) or `64Ki` (of 1024)?
        `64mb` is not an amount of memory: unknown unit `mb`: did you mean `64M` (powers of 1000) or `64Mi` (of 1024)?
        `2gib` is not an amount of memory: unknown unit `gib`: did you mean `2Gi`?
        `10b` is not an amount of memory: unknown unit `b`: did you mean `10`, in bytes?
        `5 Mi` is not an amount of memory: unknown unit ` Mi`: did you mean `5Mi`?
        `5x` is not an amount of memory: unknown unit `x`
        `1.2.3` is not an amount of memory: it does not begin with a decimal number such as 64 or 1.5
        `1e` is not an amount of memory: unknown unit `e`: did you mean `1E` (powers of 1000) or `1Ei` (of 1024)?
        `16Ei` is not an amount of memory: it exceeds the maximum of 16Ei
        `1e99` is not an amount of memory: it exceeds the maximum of 16Ei
        `٣Mi` is not an amount of memory: it does not begin with a decimal number such as 64 or 1.5
        `.` is not an amount of memory: it does not begin with a decimal number such as 64 or 1.5
        "
        );
    }

    #[test]
    fn an_amount_is_shown_in_the_largest_unit_that_is_exact() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1000, "1000"),
            (1536, "1536"),
            (1536 * KIB, "1536Ki"),
            (64 * MIB, "64Mi"),
            (GIB, "1Gi"),
            (1 << 63, "8Ei"),
        ] {
            assert_eq!(display(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in "\\PC*|[-+0-9.eEkKmMiIgGbB]{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_shown_is_read_back(bytes: u64) {
            prop_assert_eq!(parse(&display(bytes)), Ok(bytes));
        }
    }
}
