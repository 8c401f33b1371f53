//! Sets of digests, by their hexadecimal digits.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Hexadecimal digits of SHA-256. Tens of thousands are looked up when an image is removed.
pub(super) type Digits<'a> = HashSet<&'a [u8], BuildHasherDefault<DigitsHasher>>;

/// A few digests that a long text is searched for.
#[derive(Debug)]
pub(super) struct Few<'a> {
    digits: Digits<'a>,
    /// The first two digits of each: most others are told apart by them, for a tenth of the time.
    starts: [bool; 256],
}

impl<'a> Few<'a> {
    /// Takes digests of at least two digits.
    pub(super) fn of(digits: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut few = Self {
            digits: Digits::default(),
            starts: [false; 256],
        };
        for digits in digits {
            if let Some(start) = start(digits).and_then(|start| few.starts.get_mut(start)) {
                *start = true;
            }
            few.digits.insert(digits);
        }
        few
    }

    /// Returns the one that is equal.
    pub(super) fn get(&self, digits: &[u8]) -> Option<&'a [u8]> {
        let start = start(digits).and_then(|start| self.starts.get(start));
        if start == Some(&true) {
            self.digits.get(digits).copied()
        } else {
            None
        }
    }
}

/// Returns the byte that the first two digits stand for.
fn start(digits: &[u8]) -> Option<usize> {
    let [high, low, ..] = digits else {
        return None;
    };
    // `a` is 0x61: its low half is 1, and its bit 6 adds 9.
    let value = |digit: &u8| (digit & 0xf) + 9 * (digit >> 6 & 1);
    Some(usize::from(value(high) << 4 | value(low) & 0xf))
}

/// A hasher for bytes that are a hash already; it takes a fifth of the time of the default one.
#[derive(Debug, Default)]
pub(super) struct DigitsHasher(u64);

impl Hasher for DigitsHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.write_u64(u64::from_ne_bytes(*chunk));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // An odd constant without a pattern: 2⁶⁴ divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_digests_are_found_whatever_they_begin_with() {
        for wanted in 0..=255 {
            let wanted = format!("{wanted:02x}0123456789abcd");
            let few = Few::of([wanted.as_bytes()]);
            for other in 0..=255 {
                let other = format!("{other:02x}0123456789abcd");
                assert_eq!(
                    few.get(other.as_bytes()).is_some(),
                    other == wanted,
                    "{other}"
                );
            }
            assert_eq!(few.get(wanted.as_bytes()), Some(wanted.as_bytes()));
            assert_eq!(few.get(&wanted.as_bytes()[..15]).or(few.get(b"0")), None);
        }
        assert_eq!(Few::of([]).get(b"00"), None);
    }
}
