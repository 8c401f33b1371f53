//! Seals: lines of `references` that say for which `index.json` nothing is missing in it.
//!
//! ```text
//! =LENGTH NAMES FILE     length and CRC of `index.json`, and the CRC of what is before this line
//! ```
//!
//! All of it are hexadecimal digits. A seal holds while the names are as it says, whichever program
//! wrote them. The CRC of the file continues that of the seal before, so that another one costs no
//! look at all of the file; it is checked where lines are relied on.

use crc32fast::Hasher;
use memchr::{memchr, memrchr};

/// The byte that seals begin with, and no other line contains.
const MARK: u8 = b'=';
/// The length of a seal in bytes, with its line break.
const LENGTH: usize = 36;

/// A seal.
#[derive(Debug, PartialEq, Eq)]
struct Seal {
    length: u64,
    names: u32,
    file: u32,
}

impl Seal {
    fn of(names: &[u8], file: u32) -> Self {
        Self {
            length: names.len() as u64,
            names: crc32fast::hash(names),
            file,
        }
    }

    fn line(&self) -> String {
        let mark = char::from(MARK);
        let Self {
            length,
            names,
            file,
        } = self;
        format!("{mark}{length:016x} {names:08x} {file:08x}\n")
    }

    /// Reads the line at the start of a text.
    fn parse(text: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(text.get(..LENGTH)?).ok()?;
        let mut fields = line.get(1..)?.strip_suffix('\n')?.split(' ');
        let seal = Self {
            length: u64::from_str_radix(fields.next()?, 16).ok()?,
            names: u32::from_str_radix(fields.next()?, 16).ok()?,
            file: u32::from_str_radix(fields.next()?, 16).ok()?,
        };
        (seal.line() == line).then_some(seal)
    }
}

/// Returns the last seal of a text, and where it is.
fn last(text: &[u8]) -> Option<(usize, Seal)> {
    let mut end = text.len();
    loop {
        end = memrchr(MARK, text.get(..end)?)?;
        if let Some(seal) = Seal::parse(text.get(end..)?) {
            return Some((end, seal));
        }
    }
}

/// Returns whether the last seal in the end of a file holds for these names.
pub(super) fn holds(end: &[u8], names: &[u8]) -> bool {
    last(end).is_some_and(|(_, seal)| Seal::of(names, seal.file) == seal)
}

/// Returns whether the bytes before the last seal are those that it was made for; also if there is
/// none.
pub(super) fn is_intact(text: &[u8]) -> bool {
    last(text).is_none_or(|(at, seal)| {
        let before = text.get(..at).unwrap_or_default();
        crc32fast::hash(before) == seal.file
    })
}

/// Returns a seal for these names, to be put behind the end of a file.
///
/// `None` if the end is not `all` of the file and has no seal to continue.
pub(super) fn next(end: &[u8], all: bool, names: &[u8]) -> Option<String> {
    let (seen, before) = match last(end) {
        Some((at, seal)) => (at, seal.file),
        None if all => (0, 0),
        None => return None,
    };
    let mut file = Hasher::new_with_initial(before);
    file.update(end.get(seen..)?);
    Some(Seal::of(names, file.finalize()).line())
}

/// Returns how many bytes a file had when it was last written as a whole, with a seal behind all
/// lines; 0 if it has no seal.
pub(super) fn base(text: &[u8]) -> usize {
    memchr(MARK, text).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_names_and_for_the_bytes_before_it() {
        let mut file = b"one\n".to_vec();
        file.extend(next(&file, true, b"names").unwrap().into_bytes());
        assert_eq!(file.len(), 4 + LENGTH);
        assert!(holds(&file, b"names") && is_intact(&file));
        assert!(!holds(&file, b"named") && !holds(&file, b"name"));
        // Lines behind it change nothing, and the next one needs the end alone.
        file.extend(b"two\n");
        assert!(holds(&file, b"names") && is_intact(&file));
        let end = file[2..].to_vec();
        file.extend(next(&end, false, b"others").unwrap().into_bytes());
        assert!(holds(&file, b"others") && is_intact(&file));
        assert_eq!(base(&file), 4);
        for at in 0..4 + LENGTH + 4 {
            let mut spoilt = file.clone();
            spoilt[at] ^= 1;
            assert!(!is_intact(&spoilt), "{at}");
        }
    }

    #[test]
    fn what_is_no_whole_seal_does_not_count() {
        let seal = next(b"", true, b"names").unwrap();
        assert!(holds(seal.as_bytes(), b"names"));
        for length in 0..LENGTH {
            assert!(!holds(&seal.as_bytes()[..length], b"names"), "{length}");
            let cut = [seal.as_bytes(), &seal.as_bytes()[..length], b"?\n"].concat();
            assert!(holds(&cut, b"names"), "{length}");
        }
        let shouted = seal.to_uppercase();
        assert!(seal == shouted || !holds(shouted.as_bytes(), b"names"));
        assert!(!holds(b"", b"") && is_intact(b""));
        assert_eq!(next(b"line\n", false, b"names"), None);
        assert_eq!(base(b"line\n"), 0);
    }
}
