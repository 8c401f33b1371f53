//! Splits QEMU's migration stream into the memory of the guest and the rest.
//!
//! The rest is a migration stream again, in which no page of that memory is sent: QEMU leaves
//! memory as it is of which nothing is sent, and the memory is mapped from a file then.
//!
//! ```text
//! magic, version
//! 07 configuration: the name of the board             05 a subsection of it
//! 01 section "ram": the blocks of memory with their lengths
//! 02 … 02 03 more of that section: records of pages   7e the end of each part
//! 04 … every other device, as it is
//! ```
//!
//! Source: `migration/savevm.c` and `migration/ram.c` of QEMU; the format is that of all versions
//! that kraft supports, because they can migrate to each other.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 8] = [b'Q', b'E', b'V', b'M', 0, 0, 0, 3];

const SECTION_START: u8 = 1;
const SECTION_PART: u8 = 2;
const SECTION_END: u8 = 3;
const SUBSECTION: u8 = 5;
const CONFIGURATION: u8 = 7;
const COMMAND: u8 = 8;
const FOOTER: u8 = 0x7e;

/// The size of a page in records. Lower bits of its address are flags.
const PAGE: usize = 4096;
const FLAGS: u64 = 0xfff;
const ZERO: u64 = 0x02;
const LENGTHS: u64 = 0x04;
const WHOLE: u64 = 0x08;
const END: u64 = 0x10;
/// The page is of the same block as the last one.
const SAME_BLOCK: u64 = 0x20;
const FLUSH: u64 = 0x200;

/// The limit of the memory of a guest, in bytes.
const MOST_MEMORY: u64 = 1 << 44;

/// Contiguous pages that are written at once, in bytes.
const RUN: usize = 1 << 20;

/// A migration stream cannot be split.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// It cannot be read, or the result cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has something that is not known.
    #[error("QEMU's migration stream has {0}, which is not known")]
    Unknown(String),
    /// It has no such block.
    #[error("QEMU's migration stream has no memory `{0}`")]
    NoBlock(String),
}

/// Copies a stream to `state` without the pages of `block`, which are written to `memory`, an empty
/// file; returns the length of the block in bytes.
pub(super) fn split(
    stream: impl Read,
    block: &str,
    state: impl Write,
    memory: &File,
) -> Result<u64, StreamError> {
    let mut splitter = Splitter {
        stream,
        state,
        pages: Pages::new(memory),
        block: block.as_bytes(),
        current: Vec::new(),
    };
    splitter.run()
}

struct Splitter<'a, R, W> {
    stream: R,
    state: W,
    pages: Pages<'a>,
    block: &'a [u8],
    /// The block of the last page.
    current: Vec<u8>,
}

impl<R: Read, W: Write> Splitter<'_, R, W> {
    fn run(&mut self) -> Result<u64, StreamError> {
        if self.copy::<8>()? != MAGIC {
            return Err(StreamError::Unknown("another beginning".to_owned()));
        }
        let mut memory = None;
        loop {
            let [kind] = self.copy()?;
            match kind {
                CONFIGURATION => {
                    let length = u32::from_be_bytes(self.copy()?);
                    self.copy_bytes(length.min(1024) as usize)?;
                }
                SUBSECTION => self.subsection()?,
                COMMAND => {
                    let [_, _, high, low] = self.copy()?;
                    self.copy_bytes(usize::from(u16::from_be_bytes([high, low])))?;
                }
                FOOTER => {
                    self.copy::<4>()?;
                }
                SECTION_START => {
                    self.copy::<4>()?;
                    let name = self.copy_name()?;
                    // Instance and version.
                    self.copy::<8>()?;
                    if name != b"ram" {
                        let name = String::from_utf8_lossy(&name);
                        return Err(StreamError::Unknown(format!("the section `{name}`")));
                    }
                    self.lengths(&mut memory)?;
                    self.records()?;
                }
                SECTION_PART => {
                    self.copy::<4>()?;
                    self.records()?;
                }
                SECTION_END => {
                    self.copy::<4>()?;
                    self.records()?;
                    break;
                }
                other => return Err(StreamError::Unknown(format!("the section type {other}"))),
            }
        }
        self.pages.flush()?;
        io::copy(&mut self.stream, &mut self.state)?;
        self.state.flush()?;
        memory.ok_or_else(|| StreamError::NoBlock(String::from_utf8_lossy(self.block).into_owned()))
    }

    fn subsection(&mut self) -> Result<(), StreamError> {
        let name = self.copy_name()?;
        if name != b"configuration/target-page-bits" {
            let name = String::from_utf8_lossy(&name);
            return Err(StreamError::Unknown(format!("the subsection `{name}`")));
        }
        // Its version and its value.
        self.copy::<8>()?;
        Ok(())
    }

    /// Copies the lengths of the blocks.
    fn lengths(&mut self, memory: &mut Option<u64>) -> Result<(), StreamError> {
        let total = u64::from_be_bytes(self.copy()?);
        if total & FLAGS != LENGTHS {
            return Err(StreamError::Unknown("memory without lengths".to_owned()));
        }
        let mut left = total & !FLAGS;
        while left > 0 {
            let name = self.copy_name()?;
            let length = u64::from_be_bytes(self.copy()?);
            if length > left || length == 0 || length > MOST_MEMORY {
                return Err(StreamError::Unknown("other lengths of memory".to_owned()));
            }
            left -= length;
            if name == self.block {
                self.pages.set_length(length)?;
                *memory = Some(length);
            }
        }
        Ok(())
    }

    /// Copies records of pages until their end, those of the block to the memory.
    fn records(&mut self) -> Result<(), StreamError> {
        let mut page = [0; PAGE];
        loop {
            let mut header = self.read::<8>()?.to_vec();
            let record = u64::from_be_bytes(header.as_slice().try_into().unwrap_or_default());
            let (flags, at) = (record & FLAGS, record & !FLAGS);
            match flags & !SAME_BLOCK {
                END | FLUSH => {
                    self.state.write_all(&header)?;
                    if flags == END {
                        return Ok(());
                    }
                    continue;
                }
                ZERO | WHOLE => {}
                other => return Err(StreamError::Unknown(format!("the record {other:#x}"))),
            }
            if flags & SAME_BLOCK == 0 {
                let [length] = self.read()?;
                self.current.resize(usize::from(length), 0);
                self.stream.read_exact(&mut self.current)?;
                header.push(length);
                header.extend_from_slice(&self.current);
            }
            let length = if flags & WHOLE == 0 { 1 } else { PAGE };
            let content = page.get_mut(..length).unwrap_or_default();
            self.stream.read_exact(content)?;
            if self.current != self.block {
                self.state.write_all(&header)?;
                self.state.write_all(content)?;
            } else if flags & WHOLE != 0 {
                self.pages.write(at, content)?;
            } else if content == [0] {
                self.pages.clear(at)?;
            } else {
                return Err(StreamError::Unknown("a page of one byte".to_owned()));
            }
        }
    }

    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn copy<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.read()?;
        self.state.write_all(&bytes)?;
        Ok(bytes)
    }

    fn copy_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        self.state.write_all(&bytes)?;
        Ok(bytes)
    }

    fn copy_name(&mut self) -> io::Result<Vec<u8>> {
        let [length] = self.copy()?;
        self.copy_bytes(usize::from(length))
    }
}

/// Pages of a file that are written in long runs.
struct Pages<'a> {
    file: &'a File,
    length: u64,
    /// Where the run begins.
    start: u64,
    run: Vec<u8>,
    /// A bit for each page that was written.
    written: Vec<u64>,
}

impl<'a> Pages<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            length: 0,
            start: 0,
            run: Vec::with_capacity(RUN),
            written: Vec::new(),
        }
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.length = length;
        let pages = length.div_ceil(PAGE as u64 * 64);
        self.written = vec![0; usize::try_from(pages).unwrap_or_default()];
        self.file.set_len(length)
    }

    /// Returns the number that has the bit of a page, and that bit.
    fn bit(&mut self, at: u64) -> Result<(&mut u64, u64), StreamError> {
        let end = at.checked_add(PAGE as u64);
        let page = at / PAGE as u64;
        let word = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let inside = end.is_some_and(|end| end <= self.length);
        match self.written.get_mut(word).filter(|_| inside) {
            Some(word) => Ok((word, 1 << (page % 64))),
            None => Err(StreamError::Unknown("a page behind the memory".to_owned())),
        }
    }

    fn write(&mut self, at: u64, page: &[u8]) -> Result<(), StreamError> {
        let (word, bit) = self.bit(at)?;
        *word |= bit;
        let next = self.start + self.run.len() as u64;
        if at != next || self.run.len() >= RUN {
            self.flush()?;
            self.start = at;
        }
        self.run.extend_from_slice(page);
        Ok(())
    }

    /// Makes a page zero. Where nothing was written it is already.
    fn clear(&mut self, at: u64) -> Result<(), StreamError> {
        let (word, bit) = self.bit(at)?;
        if *word & bit == 0 {
            return Ok(());
        }
        self.write(at, &[0; PAGE])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.run, self.start)?;
        self.run.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a stream as QEMU does.
    #[derive(Default)]
    struct Stream(Vec<u8>);

    impl Stream {
        fn new() -> Self {
            let mut stream = Self(MAGIC.to_vec());
            stream.add(&[&[CONFIGURATION, 0, 0, 0, 2], b"pc"]);
            stream
        }

        fn add(&mut self, parts: &[&[u8]]) -> &mut Self {
            self.0.extend(parts.concat());
            self
        }

        fn section(&mut self, kind: u8) -> &mut Self {
            self.add(&[&[kind, 0, 0, 0, 7]])
        }

        fn blocks(&mut self, blocks: &[(&str, u64)]) -> &mut Self {
            self.section(SECTION_START)
                .add(&[&[3], b"ram", &[0, 0, 0, 0, 0, 0, 0, 4]]);
            let total: u64 = blocks.iter().map(|(_, length)| length).sum();
            self.add(&[&(total | LENGTHS).to_be_bytes()]);
            for (name, length) in blocks {
                self.name(name).add(&[&length.to_be_bytes()]);
            }
            self.end()
        }

        fn name(&mut self, name: &str) -> &mut Self {
            self.add(&[&[u8::try_from(name.len()).unwrap()], name.as_bytes()])
        }

        fn end(&mut self) -> &mut Self {
            self.add(&[&END.to_be_bytes(), &[FOOTER, 0, 0, 0, 7]])
        }

        fn page(&mut self, block: Option<&str>, at: u64, byte: u8) -> &mut Self {
            let kind = if byte == 0 { ZERO } else { WHOLE };
            let same = if block.is_none() { SAME_BLOCK } else { 0 };
            self.add(&[&(at | kind | same).to_be_bytes()]);
            if let Some(block) = block {
                self.name(block);
            }
            let content = vec![byte; if byte == 0 { 1 } else { PAGE }];
            self.add(&[&content])
        }
    }

    fn run(stream: &[u8]) -> Result<(u64, Vec<u8>, Vec<u8>), StreamError> {
        let memory = tempfile::tempfile().unwrap();
        let mut state = Vec::new();
        let length = split(stream, "pc.ram", &mut state, &memory)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        memory.read_exact_at(&mut bytes, 0).unwrap();
        Ok((length, bytes, state))
    }

    fn example() -> Stream {
        let mut stream = Stream::new();
        stream.blocks(&[("pc.ram", 0x4000), ("pc.bios", 0x2000)]);
        stream
            .section(SECTION_PART)
            .page(Some("pc.ram"), 0, 0)
            .page(None, 0x1000, 7)
            .page(None, 0x2000, 8)
            .page(Some("pc.bios"), 0, 9)
            .end();
        stream
            .section(SECTION_PART)
            .page(Some("pc.ram"), 0x3000, 5)
            .page(None, 0x1000, 0)
            .page(Some("pc.bios"), 0x1000, 0)
            .end();
        stream.section(SECTION_END).end();
        stream.add(&[b"\x04 the devices"]);
        stream
    }

    #[test]
    fn the_pages_of_one_block_are_taken_out_of_the_stream() {
        let (length, memory, state) = run(&example().0).unwrap();
        assert_eq!(length, 0x4000);
        let firsts: Vec<u8> = memory.chunks(PAGE).map(|page| page[0]).collect();
        assert_eq!(firsts, [0, 0, 8, 5]);
        assert!(
            memory
                .chunks(PAGE)
                .all(|page| page.iter().all(|b| *b == page[0]))
        );

        let mut rest = Stream::new();
        rest.blocks(&[("pc.ram", 0x4000), ("pc.bios", 0x2000)]);
        rest.section(SECTION_PART).page(Some("pc.bios"), 0, 9).end();
        rest.section(SECTION_PART)
            .page(Some("pc.bios"), 0x1000, 0)
            .end();
        rest.section(SECTION_END).end();
        rest.add(&[b"\x04 the devices"]);
        assert_eq!(state, rest.0);
        // Splitting it again finds no page.
        let (_, memory, again) = run(&state).unwrap();
        assert!(memory.iter().all(|byte| *byte == 0));
        assert_eq!(again, state);
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error() {
        let whole = example().0;
        for cut in 0..whole.len() - b"\x04 the devices".len() - 5 {
            assert!(run(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |stream: &mut Stream| run(&stream.0).unwrap_err().to_string();
        let reasons = [
            refused(Stream::default().add(&[b"QEVM\0\0\0\x04"])),
            refused(Stream::new().add(&[&[9]])),
            refused(
                Stream::new()
                    .section(SECTION_START)
                    .name("block")
                    .add(&[&[0; 8]]),
            ),
            refused(
                Stream::new()
                    .add(&[&[SUBSECTION]])
                    .name("configuration/uuid"),
            ),
            refused(
                Stream::new()
                    .blocks(&[("ram", 0x1000)])
                    .section(SECTION_END)
                    .end(),
            ),
            refused(
                Stream::new()
                    .blocks(&[("pc.ram", 0x1000)])
                    .section(SECTION_PART)
                    .page(Some("pc.ram"), 0x1000, 1),
            ),
            refused(
                Stream::new()
                    .blocks(&[("pc.ram", 0x1000)])
                    .section(SECTION_PART)
                    .add(&[&0x100_u64.to_be_bytes()]),
            ),
        ];
        insta::assert_snapshot!(reasons.join("\n"), @"
        QEMU's migration stream has another beginning, which is not known
        QEMU's migration stream has the section type 9, which is not known
        QEMU's migration stream has the section `block`, which is not known
        QEMU's migration stream has the subsection `configuration/uuid`, which is not known
        QEMU's migration stream has no memory `pc.ram`
        QEMU's migration stream has a page behind the memory, which is not known
        QEMU's migration stream has the record 0x100, which is not known
        ");
    }
}
