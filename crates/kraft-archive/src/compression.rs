//! Decompresses streams; the compression is detected from their first bytes.
//!
//! A stream is a sequence of segments, as Linux reads an initramfs: each is plain or a run of
//! members of one compression, and zeros may be between them.

use std::io::{self, BufRead, BufReader, Read};

use crate::limits;

const BUFFER: usize = 256 * 1024;

/// Compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The `.xz` file format.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Returns the compression of a stream by its first bytes; 10 are enough.
    pub fn of(start: &[u8]) -> Self {
        let skippable = start.get(1..4) == Some(b"\x2a\x4d\x18")
            && start.first().is_some_and(|byte| byte >> 4 == 5);
        if start.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if start.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if start.starts_with(b"\x28\xb5\x2f\xfd") || skippable {
            Self::Zstd
        } else if start.starts_with(b"BZh")
            && matches!(start.get(4..10), Some(b"1AY&SY" | b"\x17rE8P\x90"))
        {
            Self::Bzip2
        } else {
            Self::None
        }
    }

    /// Returns its name; `None` for a plain stream.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Bzip2 => Some("bzip2"),
            Self::Xz => Some("xz"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Opens a stream that has one segment: after its end, anything but zeros is an error.
///
/// ```
/// use std::io::Read;
///
/// use kraft_archive::compression::{Compression, decompress};
///
/// let mut stream = decompress(&b"plain"[..])?;
/// assert_eq!(stream.compression(), Compression::None);
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "plain");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// If the stream cannot be read. Damaged data and data beyond the limits are errors of reading.
pub fn decompress<'a>(from: impl Read + 'a) -> io::Result<Whole<'a>> {
    Stream::new(from).map(Whole)
}

/// The plain bytes of a stream that has one segment.
#[derive(Debug)]
pub struct Whole<'a>(Stream<'a>);

impl Whole<'_> {
    /// Returns the compression of the stream.
    pub fn compression(&self) -> Compression {
        self.0.compression()
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        if count == 0 && !buffer.is_empty() && self.0.next_segment()? {
            return Err(limits::invalid("there is data after its end"));
        }
        Ok(count)
    }
}

/// Returns the name of a compression that is detected but not supported.
pub fn unsupported(start: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"LZIP", "lzip"),
        (b"\x89LZO\0", "lzo"),
        (b"\x5d\0\0", "lzma"),
        (b"\x1f\x9d", "compress"),
    ];
    let known = KNOWN.iter().find(|(magic, _)| start.starts_with(magic));
    known.map(|(_, name)| *name)
}

/// The plain bytes of a stream. Reading ends at the end of a segment, see [`Stream::next_segment`].
///
/// ```
/// use std::io::Read;
///
/// use kraft_archive::compression::Stream;
///
/// let mut stream = Stream::new(&b"one\0\0two"[..])?;
/// let mut first = [0; 3];
/// stream.read_exact(&mut first)?;
/// // A plain segment does not mark its end.
/// assert!(stream.next_segment()?);
/// assert_eq!(stream.zeros(), 2);
/// let mut second = String::new();
/// stream.read_to_string(&mut second)?;
/// assert_eq!((&first, second.as_str()), (b"one", "two"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Stream<'a> {
    state: State<'a>,
    compression: Compression,
    produced: u64,
    zeros: u64,
    /// Bytes of the segment that were read and put back.
    ahead: io::Cursor<Vec<u8>>,
}

type Input<'a> = BufReader<Counted<Box<dyn Read + 'a>>>;

enum State<'a> {
    Plain(Input<'a>),
    Gzip(Box<flate2::bufread::GzDecoder<Input<'a>>>),
    Bzip2(Box<bzip2::bufread::BzDecoder<Input<'a>>>),
    Xz(Box<liblzma::bufread::XzDecoder<Input<'a>>>),
    Zstd(Box<zstd::Decoder<'a, Input<'a>>>),
    /// A segment has ended.
    Between(Input<'a>),
    /// An error ended the stream.
    Broken,
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("compression", &self.compression)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

impl<'a> Stream<'a> {
    /// Opens a stream and detects the compression of its first segment.
    pub fn new(from: impl Read + 'a) -> io::Result<Self> {
        let from: Box<dyn Read + 'a> = Box::new(from);
        let input = BufReader::with_capacity(
            BUFFER,
            Counted {
                from,
                count: 0,
                ahead: io::Cursor::default(),
            },
        );
        let mut stream = Self {
            state: State::Between(input),
            compression: Compression::None,
            produced: 0,
            zeros: 0,
            ahead: io::Cursor::default(),
        };
        stream.open()?;
        Ok(stream)
    }

    /// Returns the compression of the current segment.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Skips zeros and the end of a segment; returns `false` at the end of the stream.
    ///
    /// A plain segment does not mark its end: the caller decides where it ends and calls this, which
    /// detects the compression of what follows.
    pub fn next_segment(&mut self) -> io::Result<bool> {
        loop {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Plain(mut input) => {
                    self.zeros += skip_zeros(&mut input)?;
                    self.state = State::Between(input);
                }
                State::Between(mut input) => {
                    skip_zeros(&mut input)?;
                    let more = !input.fill_buf()?.is_empty();
                    self.state = State::Between(input);
                    if more {
                        self.open()?;
                    }
                    return Ok(more);
                }
                State::Broken => return Ok(false),
                compressed => {
                    self.state = compressed;
                    let mut bytes = vec![0; 4096];
                    let count = read_some(self, &mut bytes)?;
                    bytes.truncate(count);
                    let at = bytes.iter().position(|&byte| byte != 0);
                    self.zeros += at.unwrap_or(count) as u64;
                    if let Some(at) = at {
                        self.ahead = io::Cursor::new(bytes.split_off(at));
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Returns the number of zeros in segments that [`Stream::next_segment`] skipped.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// Begins the segment or member at the current position of the input.
    fn open(&mut self) -> io::Result<()> {
        let State::Between(mut input) = std::mem::replace(&mut self.state, State::Broken) else {
            return Ok(());
        };
        self.compression = Compression::of(peek(&mut input)?);
        self.state = match self.compression {
            Compression::None => State::Plain(input),
            Compression::Gzip => State::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
            Compression::Bzip2 => State::Bzip2(Box::new(bzip2::bufread::BzDecoder::new(input))),
            Compression::Xz => {
                let decoder = liblzma::stream::Stream::new_stream_decoder(limits::XZ_MEMORY, 0)?;
                State::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(
                    input, decoder,
                )))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(limits::ZSTD_WINDOW_BITS)?;
                State::Zstd(Box::new(decoder))
            }
        };
        Ok(())
    }

    /// Leaves a member that has ended and begins the next one of the same compression; `false` if
    /// there is none.
    fn next_member(&mut self) -> io::Result<bool> {
        let mut input = match std::mem::replace(&mut self.state, State::Broken) {
            State::Gzip(decoder) => decoder.into_inner(),
            State::Bzip2(decoder) => decoder.into_inner(),
            State::Xz(decoder) => decoder.into_inner(),
            State::Zstd(decoder) => decoder.finish(),
            State::Plain(input) => {
                self.state = State::Plain(input);
                return Ok(false);
            }
            State::Between(input) => input,
            State::Broken => return Ok(false),
        };
        let same = Compression::of(peek(&mut input)?) == self.compression;
        self.state = State::Between(input);
        if same {
            self.open()?;
        }
        Ok(same)
    }

    fn consumed(&self) -> u64 {
        match &self.state {
            State::Plain(input) | State::Between(input) => input.get_ref().count,
            State::Gzip(decoder) => decoder.get_ref().get_ref().count,
            State::Bzip2(decoder) => decoder.get_ref().get_ref().count,
            State::Xz(decoder) => decoder.get_ref().get_ref().count,
            State::Zstd(decoder) => decoder.get_ref().get_ref().count,
            State::Broken => u64::MAX,
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let ahead = self.ahead.read(buffer)?;
        if ahead > 0 {
            return Ok(ahead);
        }
        loop {
            let count = match &mut self.state {
                State::Plain(input) => return input.read(buffer),
                State::Gzip(decoder) => decoder.read(buffer)?,
                State::Bzip2(decoder) => decoder.read(buffer)?,
                State::Xz(decoder) => decoder.read(buffer)?,
                State::Zstd(decoder) => decoder.read(buffer)?,
                State::Between(_) | State::Broken => return Ok(0),
            };
            self.produced += count as u64;
            if self.produced > limits::expanded(self.consumed()) {
                return Err(limits::expands_too_far());
            }
            if count > 0 || !self.next_member()? {
                return Ok(count);
            }
        }
    }
}

/// Returns the next bytes of the input: enough to detect a compression, unless fewer are left.
fn peek<'i>(input: &'i mut Input<'_>) -> io::Result<&'i [u8]> {
    const ENOUGH: usize = 10;
    if input.fill_buf()?.len() < ENOUGH {
        // Join the rest of the buffer and the bytes that follow it.
        let mut start = input.buffer().to_vec();
        input.consume(start.len());
        let mut more = [0; ENOUGH];
        let count = read_full(input.get_mut(), &mut more)?;
        start.extend_from_slice(more.get(..count).unwrap_or_default());
        input.get_mut().ahead = io::Cursor::new(start);
    }
    input.fill_buf()
}

fn skip_zeros(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let done = zeros < bytes.len() || bytes.is_empty();
        input.consume(zeros);
        skipped += zeros as u64;
        if done {
            return Ok(skipped);
        }
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
    from: R,
    count: u64,
    /// Bytes that were read and put back.
    ahead: io::Cursor<Vec<u8>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.ahead.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        let count = read_some(&mut self.from, buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Reads once; again if a signal interrupted it.
pub fn read_some(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Fills the buffer; returns the number of bytes before the end of the stream.
pub fn read_full(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_some(from, rest)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
