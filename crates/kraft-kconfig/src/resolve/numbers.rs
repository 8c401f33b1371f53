//! Parses numbers in values as `conf` does with functions of the C library.

use crate::language::Kind;

/// A value in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Not a number: compared as text.
    Text,
    Signed(i64),
    Unsigned(u64),
}

/// Parses the number at the start of a text, in the base of a kind; 0 if there is none. Numbers out
/// of range become the maximum or minimum.
pub(crate) fn leading(text: &str, kind: Kind) -> i64 {
    let base = if kind == Kind::Hex { 16 } else { 10 };
    scan(text, base).signed
}

/// Parses a whole text as a value of a kind.
pub(super) fn compared(text: &str, kind: Kind) -> Number {
    match kind {
        Kind::Bool | Kind::Tristate => Number::Signed(match text {
            "n" => 0,
            "m" => 1,
            "y" => 2,
            _ => -1,
        }),
        Kind::Int => whole(text, &scan(text, 10), false),
        Kind::Hex => whole(text, &scan(text, 16), true),
        Kind::String | Kind::Unknown => whole(text, &scan(text, 0), false),
    }
}

fn whole(text: &str, scanned: &Scanned, unsigned: bool) -> Number {
    let digit_last = text.bytes().last().is_some_and(|b| b.is_ascii_hexdigit());
    if scanned.taken != text.len() || !digit_last {
        return Number::Text;
    }
    match unsigned {
        true if !scanned.beyond_unsigned => Number::Unsigned(scanned.unsigned),
        false if !scanned.beyond_signed => Number::Signed(scanned.signed),
        _ => Number::Text,
    }
}

struct Scanned {
    signed: i64,
    unsigned: u64,
    beyond_signed: bool,
    beyond_unsigned: bool,
    /// Number of bytes consumed, 0 if there was no number.
    taken: usize,
}

/// Parses a number; base 0 accepts `0x…` for hexadecimal and `0…` for octal.
fn scan(text: &str, base: u32) -> Scanned {
    let mut rest = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let negative = rest.starts_with('-');
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let hex = ["0x", "0X"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(*prefix));
    let hex = hex.filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
    let base = match (base, hex) {
        (0 | 16, Some(digits)) => {
            rest = digits;
            16
        }
        (0, None) if rest.starts_with('0') => 8,
        (0, None) => 10,
        (base, _) => base,
    };
    let digits = rest.find(|c: char| !c.is_digit(base)).unwrap_or(rest.len());
    let mut magnitude = Some(0u64);
    for c in rest.chars().take(digits) {
        let digit = u64::from(c.to_digit(base).unwrap_or(0));
        magnitude = magnitude
            .and_then(|m| m.checked_mul(u64::from(base)))
            .and_then(|m| m.checked_add(digit));
    }
    let wide = magnitude.map_or(i128::MAX, i128::from);
    let wide = if negative { -wide } else { wide };
    let signed = i64::try_from(wide);
    let edge = if negative { i64::MIN } else { i64::MAX };
    let unsigned = magnitude.unwrap_or(u64::MAX);
    Scanned {
        signed: signed.unwrap_or(edge),
        unsigned: if negative {
            unsigned.wrapping_neg()
        } else {
            unsigned
        },
        beyond_signed: signed.is_err(),
        beyond_unsigned: magnitude.is_none(),
        taken: if digits == 0 {
            0
        } else {
            text.len() - rest.len() + digits
        },
    }
}

/// Returns whether a text is a valid value of a kind in a configuration.
pub(crate) fn fits(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::String => true,
        Kind::Int => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let leading_zero = digits.len() > 1 && digits.starts_with('0');
            !digits.is_empty() && !leading_zero && digits.bytes().all(|b| b.is_ascii_digit())
        }
        Kind::Hex => {
            let digits = ["0x", "0X"]
                .iter()
                .find_map(|prefix| text.strip_prefix(*prefix));
            let digits = digits.unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        Kind::Bool => text.starts_with(['y', 'n']),
        Kind::Tristate => text.starts_with(['y', 'm', 'n']),
        Kind::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_as_in_c() {
        assert_eq!(leading("12x", Kind::Int), 12);
        assert_eq!(leading("0x1f", Kind::Hex), 31);
        assert_eq!(leading("0xffffffffffffffff", Kind::Hex), i64::MAX);
        assert_eq!(leading("-99999999999999999999", Kind::Int), i64::MIN);
        assert_eq!(leading("", Kind::Int), 0);
        assert_eq!(compared("010", Kind::Unknown), Number::Signed(8));
        assert_eq!(compared("0x", Kind::Hex), Number::Text);
        assert_eq!(
            compared("0xffffffffffffffff", Kind::Hex),
            Number::Unsigned(u64::MAX)
        );
        assert_eq!(compared("y", Kind::Bool), Number::Signed(2));
        assert_eq!(compared("", Kind::String), Number::Text);
    }

    #[test]
    fn values_are_validated_by_type() {
        for (text, kind, fit) in [
            ("-0", Kind::Int, true),
            ("05", Kind::Int, false),
            ("0x", Kind::Hex, false),
            ("ff", Kind::Hex, true),
            ("yes", Kind::Bool, true),
            ("m", Kind::Bool, false),
        ] {
            assert_eq!(fits(text, kind), fit, "{text}");
        }
    }
}
