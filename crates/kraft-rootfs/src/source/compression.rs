//! Looks through gzip and zstd, known by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// RFC 1952, section 2.3.1.
const GZIP: &[u8] = b"\x1f\x8b";
/// RFC 8878, section 3.1.1.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// A tar header, the longest start that is looked at.
const START: u64 = 512;
const BUFFER: usize = 256 * 1024;
/// A zstd window may be this many bits wide: 128 MiB, the limit of the zstd program.
const ZSTD_WINDOW_BITS: u32 = 27;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Opens a file for reading what is in it.
pub(crate) fn open(file: File) -> io::Result<(Compression, Box<dyn Read>)> {
    look_through(file)
}

/// Reads what is in a compressed stream, or in one that is none.
pub(crate) fn look_through<'a>(
    file: impl Read + 'a,
) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let start = file.fill_buf()?;
    if start.starts_with(GZIP) {
        Ok((
            Compression::Gzip,
            Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        ))
    } else if start.starts_with(ZSTD) {
        let mut decoder = zstd::Decoder::with_buffer(file)?;
        decoder.window_log_max(ZSTD_WINDOW_BITS)?;
        Ok((Compression::Zstd, Box::new(decoder)))
    } else {
        Ok((Compression::None, Box::new(file)))
    }
}

/// Names how something is compressed that we cannot look through, if it begins so.
pub(crate) fn unknown(start: &[u8]) -> Option<&'static str> {
    // The formats' own first bytes: the `.xz` file format 1.0.4, section 2.1.1.1; bzip2's
    // `BZh` and a level, then the mark of a block.
    if start.starts_with(b"\xfd7zXZ\0") {
        Some("xz")
    } else if start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY") {
        Some("bzip2")
    } else {
        None
    }
}

/// Returns the first bytes of what is in a file, at most 512.
pub(crate) fn start_of(file: File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    open(file)?.1.take(START).read_to_end(&mut start)?;
    Ok(start)
}
