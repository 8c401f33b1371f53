//! ELF programs for Linux: what is needed to boot one with Unikraft's ELF loader.
//!
//! Offsets and numbers are those of the System V ABI, "Object Files" and "Program Loading", for
//! 64-bit files.
//!
//! ```
//! use std::io::Cursor;
//!
//! use kraft_core::program::Program;
//!
//! let script = &b"#!/bin/sh\necho hello\n"[..];
//! assert_eq!(Program::read(&mut Cursor::new(script))?, None);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read, Seek, SeekFrom};

use crate::arch::Arch;
use crate::kernel::number;

/// The first bytes of every ELF file.
const MAGIC: &[u8] = b"\x7fELF";
const HEADER: usize = 64;
const SEGMENT: usize = 56;
const ENTRY: usize = 16;
/// Maximum number of segments.
const MOST_SEGMENTS: u64 = 512;
/// Maximum number of dynamic entries.
const MOST_ENTRIES: u64 = 4096;
/// Maximum length of a name, in bytes.
const LONGEST_NAME: usize = 4096;

const ET_EXEC: u64 = 2;
const ET_DYN: u64 = 3;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// A program or a shared library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its processor architecture; `None` if it is not supported.
    pub arch: Option<Arch>,
    /// Whether it can be loaded at any address (`ET_DYN`).
    pub position_independent: bool,
    /// The dynamic loader: `/lib64/ld-linux-x86-64.so.2`; `None` for a static program.
    pub interpreter: Option<String>,
    /// The shared libraries it needs (`DT_NEEDED`).
    pub libraries: Vec<String>,
    /// Its library search path (`DT_RUNPATH` or `DT_RPATH`).
    pub search: Vec<String>,
}

impl Program {
    /// Reads a program; `None` if the file is not an ELF program for Linux.
    pub fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let header = stretch(file, 0, HEADER)?;
        let wide_and_little = header.get(4) == Some(&2) && header.get(5) == Some(&1);
        if !header.starts_with(MAGIC) || !wide_and_little {
            return Ok(None);
        }
        let field = |at, size| number(&header, at, size).unwrap_or(0);
        let kind = field(16, 2);
        if kind != ET_EXEC && kind != ET_DYN {
            return Ok(None);
        }
        let mut program = Self {
            arch: match field(18, 2) {
                62 => Some(Arch::X86_64),
                183 => Some(Arch::Arm64),
                _ => None,
            },
            position_independent: kind == ET_DYN,
            ..Self::default()
        };
        let segments = segments(file, field(32, 8), field(56, 2))?;
        for segment in &segments {
            match segment.kind {
                PT_INTERP => program.interpreter = text(file, segment.offset)?,
                PT_DYNAMIC => program.dynamic(file, segment, &segments)?,
                _ => {}
            }
        }
        Ok(Some(program))
    }

    fn dynamic(
        &mut self,
        file: &mut (impl Read + Seek),
        segment: &Segment,
        segments: &[Segment],
    ) -> io::Result<()> {
        let count = (segment.size / ENTRY as u64).min(MOST_ENTRIES);
        let length = usize::try_from(count).unwrap_or(0) * ENTRY;
        let bytes = stretch(file, segment.offset, length)?;
        let entries: Vec<(u64, u64)> = bytes
            .chunks_exact(ENTRY)
            .filter_map(|entry| Some((number(entry, 0, 8)?, number(entry, 8, 8)?)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB);
        let Some(strings) = strings.and_then(|(_, address)| offset_of(*address, segments)) else {
            return Ok(());
        };
        for (tag, value) in entries {
            let Some(at) = strings.checked_add(value) else {
                continue;
            };
            match tag {
                DT_NEEDED => self.libraries.extend(text(file, at)?),
                DT_RPATH | DT_RUNPATH => {
                    let paths = text(file, at)?.unwrap_or_default();
                    self.search.extend(paths.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

fn segments(file: &mut (impl Read + Seek), at: u64, count: u64) -> io::Result<Vec<Segment>> {
    let length = usize::try_from(count.min(MOST_SEGMENTS)).unwrap_or(0) * SEGMENT;
    let bytes = stretch(file, at, length)?;
    let segments = bytes.chunks_exact(SEGMENT).filter_map(|segment| {
        Some(Segment {
            kind: number(segment, 0, 4)?,
            offset: number(segment, 8, 8)?,
            address: number(segment, 16, 8)?,
            size: number(segment, 32, 8)?,
        })
    });
    Ok(segments.collect())
}

/// Returns the file offset of an address.
fn offset_of(address: u64, segments: &[Segment]) -> Option<u64> {
    let mut loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    loaded.find_map(|segment| {
        let inside = address.checked_sub(segment.address)?;
        (inside < segment.size).then(|| segment.offset.checked_add(inside))?
    })
}

/// Reads a zero-terminated string.
fn text(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<String>> {
    let bytes = stretch(file, at, LONGEST_NAME)?;
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8(text.to_vec())
        .ok()
        .filter(|text| !text.is_empty()))
}

/// Reads bytes; fewer at the end of the file.
fn stretch(file: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    // Seeking beyond the maximum file size would fail.
    if i64::try_from(at).is_err() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn other_and_damaged_files_are_not_programs() {
        for bytes in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\x7fELF",
            &[0x7f, b'E', b'L', b'F', 2, 1, 0xff],
        ] {
            assert_eq!(Program::read(&mut Cursor::new(bytes)).unwrap(), None);
        }
        // Every number of the header at its maximum.
        let mut bytes = vec![0xff; 4096];
        for (to, from) in bytes.iter_mut().zip(b"\x7fELF\x02\x01") {
            *to = *from;
        }
        bytes[16] = 3;
        bytes[17] = 0;
        let read = Program::read(&mut Cursor::new(bytes)).unwrap().unwrap();
        assert_eq!(read.arch, None);
    }
}
