//! Archives without the zeros that pad names and contents, for transfers that need no alignment.

use std::io::{self, Read, Write};

use crate::newc::{HEADER, Header, LONGEST_NAME, TRAILER, padding};

/// Maximum size of a chunk in bytes.
const PIECE: usize = 64 << 10;

/// Writes every entry of an archive without its padding, and the trailer: header, name with its zero,
/// content in chunks of at most 64 KiB. Returns the number of bytes.
///
/// ```
/// use kraft_rootfs::unpadded;
///
/// let error = unpadded::write(&mut &[0; 110][..], &mut Vec::new()).unwrap_err();
/// assert_eq!(error.to_string(), "the header is invalid");
/// ```
///
/// # Errors
///
/// If the archive cannot be read or is invalid, or `out` cannot be written.
pub fn write(archive: &mut dyn Read, out: &mut dyn Write) -> io::Result<u64> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut written = 0;
    loop {
        let mut bytes = [0; HEADER];
        archive.read_exact(&mut bytes)?;
        let header = Header::decode(&bytes).ok_or_else(|| wrong("the header is invalid"))?;
        if header.name_size > LONGEST_NAME {
            return Err(wrong("a name is too long"));
        }
        let mut name = vec![0; header.name_size as usize];
        archive.read_exact(&mut name)?;
        skip(
            archive,
            padding(HEADER as u64 + u64::from(header.name_size)),
        )?;
        out.write_all(&bytes)?;
        out.write_all(&name)?;
        let size = u64::from(header.size);
        copy(archive, size, out)?;
        skip(archive, padding(size))?;
        written += HEADER as u64 + u64::from(header.name_size) + size;
        if name.strip_suffix(b"\0") == Some(TRAILER) {
            return Ok(written);
        }
    }
}

fn copy(from: &mut dyn Read, size: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut left = size;
    let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(piece.len());
        let part = piece.get_mut(..most).unwrap_or_default();
        from.read_exact(part)?;
        out.write_all(part)?;
        left -= most as u64;
    }
    Ok(())
}

fn skip(from: &mut dyn Read, count: usize) -> io::Result<()> {
    let mut zeros = [0; 3];
    from.read_exact(zeros.get_mut(..count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an entry of an archive.
    fn entry(name: &str, content: &[u8]) -> Vec<u8> {
        let header = Header {
            mode: 0o100_644,
            nlink: 1,
            size: u32::try_from(content.len()).unwrap(),
            name_size: u32::try_from(name.len() + 1).unwrap(),
            ..Header::default()
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + padding(content.len() as u64), 0);
        bytes
    }

    #[test]
    fn only_the_padding_is_left_out() {
        let archive = [
            entry("a", b"12345"),
            entry("bc", b""),
            entry("TRAILER!!!", b""),
        ]
        .concat();
        let mut out = Vec::new();
        let written = write(&mut archive.as_slice(), &mut out).unwrap();
        assert_eq!(written, out.len() as u64);
        assert_eq!(out.len(), 3 * HEADER + 2 + 5 + 3 + 11);
        assert!(out.windows(7).any(|part| part == b"a\x0012345"));
        assert!(out.ends_with(b"TRAILER!!!\0"));
    }

    #[test]
    fn invalid_archives_are_refused() {
        for bad in [&b""[..], b"070701", &entry("a", b"12345")[..118]] {
            assert!(write(&mut &*bad, &mut Vec::new()).is_err());
        }
        assert!(write(&mut &[b'x'; 200][..], &mut Vec::new()).is_err());
    }
}
