//! Headers of newc archive entries: encoded and decoded.
//!
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst: the magic, then thirteen
//! fields of eight hexadecimal digits, 110 bytes in all; then the name with a zero, padded so that
//! header and name fill a multiple of four; then the data, padded likewise.

/// Length of a header in bytes.
pub(crate) const HEADER: usize = 110;
/// Position of the link count in a header.
pub(crate) const NLINK_AT: u64 = 6 + 4 * 8;
/// The name of the entry that ends an archive.
pub(crate) const TRAILER: &[u8] = b"TRAILER!!!";
/// Maximum length of a name with its zero, in bytes: `PATH_MAX` of Linux, and what a leading `./` and
/// the like may add.
pub(crate) const LONGEST_NAME: u32 = 4096 + 64;
/// The bits of a mode for the kind of an entry (`S_IFMT`).
pub(crate) const TYPE_MASK: u32 = 0o170_000;
/// The bits of a mode that are permissions, with setuid, setgid and sticky.
pub(crate) const PERMISSIONS: u32 = 0o7777;

pub(crate) const DIRECTORY: u32 = 0o040_000;
pub(crate) const FILE: u32 = 0o100_000;
pub(crate) const SYMLINK: u32 = 0o120_000;
pub(crate) const CHAR_DEVICE: u32 = 0o020_000;
pub(crate) const BLOCK_DEVICE: u32 = 0o060_000;
pub(crate) const FIFO: u32 = 0o010_000;
pub(crate) const SOCKET: u32 = 0o140_000;

const MAGIC: &[u8] = b"070701";
/// The same format with checksums, which are ignored, as in Linux.
const MAGIC_WITH_SUMS: &[u8] = b"070702";

/// The thirteen numbers of a header, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) ino: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) mtime: u32,
    pub(crate) size: u32,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    pub(crate) rdev_major: u32,
    pub(crate) rdev_minor: u32,
    /// Length of the name with its final zero.
    pub(crate) name_size: u32,
    pub(crate) check: u32,
}

impl Header {
    /// Encodes the header, in upper case as KraftKit does.
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let fields = [
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.size,
            self.dev_major,
            self.dev_minor,
            self.rdev_major,
            self.rdev_minor,
            self.name_size,
            self.check,
        ];
        let mut bytes = [0; HEADER];
        let (magic, places) = bytes.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        for (place, field) in places.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&digits(field));
        }
        bytes
    }

    /// Decodes a header; `None` if it is invalid.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let fields = bytes
            .strip_prefix(MAGIC)
            .or_else(|| bytes.strip_prefix(MAGIC_WITH_SUMS))?;
        let mut numbers = fields.chunks_exact(8).map(hexadecimal);
        let mut next = || numbers.next().flatten();
        Some(Self {
            ino: next()?,
            mode: next()?,
            uid: next()?,
            gid: next()?,
            nlink: next()?,
            mtime: next()?,
            size: next()?,
            dev_major: next()?,
            dev_minor: next()?,
            rdev_major: next()?,
            rdev_minor: next()?,
            name_size: next()?,
            check: next()?,
        })
    }
}

/// Returns the digits of a field in a header.
pub(crate) fn digits(field: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut digits = [b'0'; 8];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        let nibble = (field >> (4 * place)) & 0xf;
        *digit = DIGITS.get(nibble as usize).copied().unwrap_or(b'0');
    }
    digits
}

/// Returns whether bytes begin like an archive.
pub(crate) fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(MAGIC_WITH_SUMS)
}

/// Returns the number of bytes that pad a length to a multiple of four.
pub(crate) fn padding(length: u64) -> usize {
    // At most three.
    (length.wrapping_neg() & 3) as usize
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |number, &digit| {
        Some(number << 4 | char::from(digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_encoded_and_decoded() {
        let header = Header {
            ino: 1,
            mode: FILE | 0o4755,
            mtime: u32::MAX,
            size: 0x1234_abcd,
            name_size: 8,
            ..Header::default()
        };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert!(header.encode().starts_with(b"07070100000001000089ED"));
    }

    #[test]
    fn lower_case_is_read_and_anything_else_is_not() {
        let mut bytes = Header {
            ino: 0xab,
            ..Header::default()
        }
        .encode();
        bytes.make_ascii_lowercase();
        assert_eq!(Header::decode(&bytes).unwrap().ino, 0xab);
        bytes[10] = b'+';
        assert_eq!(Header::decode(&bytes), None);
        assert_eq!(Header::decode(&[b'0'; HEADER]), None);
    }

    #[test]
    fn padding_fills_up_to_four() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding), [0, 3, 2, 1, 0, 3]);
    }
}
