//! Seals: lines of `references` that say for which `index.json` nothing is missing in it.
//!
//! ```text
//! =VERSION FILE     the version of `index.json`, and the CRC of what is before this line
//! ```
//!
//! All of it are hexadecimal digits. A seal holds while `index.json` is the version that it says,
//! which is one that [was marked](Version::mark). The CRC of the file continues that of the seal
//! before, so that another one costs no look at all of the file; it is checked where lines are relied
//! on.

use crc32fast::Hasher;
use kraft_sys::amend::Version;
use memchr::{memchr, memrchr};

/// The byte that seals begin with, and no other line contains.
pub(super) const MARK: u8 = b'=';
/// Bytes that may be added to a file before it is written again, whatever its size.
const SPARE: u64 = 64 << 10;
/// The length of a seal in bytes, with its line break.
const LENGTH: usize = 1 + Version::TEXT + 1 + 8 + 1;

/// A seal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// The version of `index.json`.
    pub(super) names: Version,
    /// The CRC of what is before it.
    pub(super) file: u32,
}

impl Seal {
    fn line(&self) -> String {
        let mark = char::from(MARK);
        format!("{mark}{} {:08x}\n", self.names, self.file)
    }

    /// Reads the line at the start of a text.
    fn parse(text: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(text.get(..LENGTH)?).ok()?;
        let (names, file) = line.get(1..)?.strip_suffix('\n')?.rsplit_once(' ')?;
        let seal = Self {
            names: names.parse().ok()?,
            file: u32::from_str_radix(file, 16).ok()?,
        };
        (seal.line() == line).then_some(seal)
    }
}

/// Returns the last seal of a text, and where it is.
pub(super) fn last(text: &[u8]) -> Option<(usize, Seal)> {
    let mut end = text.len();
    loop {
        end = memrchr(MARK, text.get(..end)?)?;
        if let Some(seal) = Seal::parse(text.get(end..)?) {
            return Some((end, seal));
        }
    }
}

/// Returns whether the last seal in the end of a file holds for a version of the names.
pub(super) fn holds(end: &[u8], names: Option<Version>) -> bool {
    last(end).is_some_and(|(_, seal)| Some(seal.names) == names)
}

/// Returns whether the bytes before the last seal are those that it was made for; also if there is
/// none.
pub(super) fn is_intact(text: &[u8]) -> bool {
    last(text).is_none_or(|(at, seal)| {
        let before = text.get(..at).unwrap_or_default();
        crc32fast::hash(before) == seal.file
    })
}

/// Returns a seal for a version of the names, to be put behind the end of a file.
///
/// `None` if the end is not `all` of the file and has no seal to continue.
pub(super) fn next(end: &[u8], all: bool, names: Version) -> Option<String> {
    let (seen, before) = match last(end) {
        Some((at, seal)) => (at, seal.file),
        None if all => (0, 0),
        None => return None,
    };
    let mut file = Hasher::new_with_initial(before);
    file.update(end.get(seen..)?);
    let file = file.finalize();
    Some(Seal { names, file }.line())
}

/// Returns whether so much was added to a file that it should be written again.
pub(super) fn has_grown(text: &[u8]) -> bool {
    let base = memchr(MARK, text).unwrap_or(0);
    is_grown(text.len() as u64, base as u64)
}

/// Returns whether a file of this length, whose first seal is at `base`, has grown too much. It had no
/// other bytes before it when it was last written as a whole; 0 if it has no seal.
pub(super) fn is_grown(length: u64, base: u64) -> bool {
    length > 2 * base + SPARE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        format!("{number:016x} {number:016x}").parse().unwrap()
    }

    fn holds(end: &[u8], number: u64) -> bool {
        super::holds(end, Some(version(number)))
    }

    #[test]
    fn a_seal_holds_for_its_names_and_for_the_bytes_before_it() {
        let mut file = b"one\n".to_vec();
        file.extend(next(&file, true, version(1)).unwrap().into_bytes());
        assert_eq!(file.len(), 4 + LENGTH);
        assert!(holds(&file, 1) && is_intact(&file));
        assert!(!holds(&file, 2) && !super::holds(&file, None));
        // Lines behind it change nothing, and the next one needs the end alone.
        file.extend(b"two\n");
        assert!(holds(&file, 1) && is_intact(&file));
        let end = file[2..].to_vec();
        file.extend(next(&end, false, version(2)).unwrap().into_bytes());
        assert!(holds(&file, 2) && is_intact(&file));
        for at in 0..4 + LENGTH + 4 {
            let mut spoilt = file.clone();
            spoilt[at] ^= 1;
            assert!(!is_intact(&spoilt), "{at}");
        }
    }

    #[test]
    fn a_file_is_written_again_when_it_has_doubled() {
        let mut file = vec![b'x'; 1 << 20];
        file.extend(next(&file, true, version(1)).unwrap().into_bytes());
        file.resize(file.len() + (1 << 20), b'y');
        assert!(!has_grown(&file));
        file.resize(file.len() + (64 << 10), b'y');
        assert!(has_grown(&file) && !has_grown(b"line\n"));
    }

    #[test]
    fn what_is_no_whole_seal_does_not_count() {
        let seal = next(b"", true, version(0xabc)).unwrap();
        assert!(holds(seal.as_bytes(), 0xabc));
        for length in 0..LENGTH {
            assert!(!holds(&seal.as_bytes()[..length], 0xabc), "{length}");
            let cut = [seal.as_bytes(), &seal.as_bytes()[..length], b"?\n"].concat();
            assert!(holds(&cut, 0xabc), "{length}");
        }
        assert!(!holds(seal.to_uppercase().as_bytes(), 0xabc));
        assert!(!super::holds(b"", None) && is_intact(b""));
        assert_eq!(next(b"line\n", false, version(1)), None);
    }
}
