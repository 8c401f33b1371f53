//! Minimal ELF reader that finds Unikraft's sections and validates every number.
//!
//! Offsets and sizes are those of the System V ABI, "Object Files". Every read has a fixed, small
//! size.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{
    BootProtocol, Guest, KernelImage, MULTIBOOT_HAS_ADDRESSES, NotAKernel, image, multiboot,
};
use crate::arch::Arch;

/// Sections created only by Unikraft's linker scripts; KraftKit identifies kernels by them too.
const UNIKRAFT_SECTIONS: [&[u8]; 3] = [b".uk_inittab\0", b".uk_ctortab\0", b".uk_thread_inittab\0"];

/// The section of the built-in runtime's kernel.
const RUNTIME_SECTION: &[u8] = b".kraft_runtime\0";

/// Maximum number of sections; real kernels have far fewer.
const MOST_SECTIONS: u64 = 4096;

/// Maximum number of program headers; real kernels have far fewer.
const MOST_SEGMENTS: u64 = 256;
/// Maximum size of the notes that are searched, in bytes.
const MOST_NOTES: usize = 16 << 10;

const PT_NOTE: u64 = 4;
/// The note that has the physical address of the PVH entry point (Xen's public/elfnote.h).
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;

const ET_EXEC: u64 = 2;
const ET_DYN: u64 = 3;
pub(super) const EM_386: u64 = 3;
pub(super) const EM_X86_64: u64 = 62;
pub(super) const EM_AARCH64: u64 = 183;

/// The relevant fields of an ELF header, and its layout.
struct Header {
    wide: bool,
    kind: u64,
    machine: u64,
    segment_offset: u64,
    segment_size: u64,
    segment_count: u64,
    section_offset: u64,
    section_count: u64,
    names_index: u64,
}

/// Identifies an ELF file; `head` is its beginning.
pub(super) fn identify(
    head: &[u8],
    file: &mut (impl Read + Seek),
) -> Result<KernelImage, NotAKernel> {
    let header = Header::read(head)?;
    let arch = match header.machine {
        EM_386 | EM_X86_64 => Arch::X86_64,
        EM_AARCH64 => Arch::Arm64,
        other => return Err(NotAKernel::Machine(machine_name(other))),
    };
    if !matches!(header.kind, ET_EXEC | ET_DYN) {
        return Err(NotAKernel::NotExecutable);
    }
    let guest = guest(&header, file)?;
    let marked = guest != Guest::Other;
    if arch == Arch::Arm64 {
        // QEMU would boot an arm64 ELF without a device tree, and so without memory map and command
        // line.
        return Err(if marked {
            NotAKernel::DebugImage
        } else {
            NotAKernel::Program
        });
    }
    match multiboot(head) {
        // QEMU's error "Cannot load x86-64 image, give a 32bit one" refers to this field, not to
        // the class.
        Some(flags) if header.machine == EM_X86_64 && flags & MULTIBOOT_HAS_ADDRESSES == 0 => {
            Err(NotAKernel::DebugImage)
        }
        Some(_) => Ok(image(arch, BootProtocol::Multiboot, guest)),
        // QEMU looks for the note only if there is no Multiboot header (hw/i386/x86-common.c).
        None if has_pvh_note(&header, file)? => Ok(image(arch, BootProtocol::Pvh, guest)),
        None if marked && header.wide => Ok(image(arch, BootProtocol::Linux64, guest)),
        None if marked => Err(NotAKernel::NoBootHeader),
        None => Err(NotAKernel::Program),
    }
}

impl Header {
    fn read(head: &[u8]) -> Result<Self, NotAKernel> {
        let class = head.get(4).ok_or(NotAKernel::Damaged)?;
        let order = head.get(5).ok_or(NotAKernel::Damaged)?;
        let wide = match class {
            1 => false,
            2 => true,
            _ => return Err(NotAKernel::Damaged),
        };
        if *order != 1 {
            return Err(NotAKernel::Machine("a big-endian processor".to_owned()));
        }
        let field = |at, size| number(head, at, size).ok_or(NotAKernel::Damaged);
        let pick = |narrow, wide_at| if wide { wide_at } else { narrow };
        Ok(Self {
            wide,
            kind: field(16, 2)?,
            machine: field(18, 2)?,
            segment_offset: field(pick(0x1c, 0x20), pick(4, 8))?,
            segment_size: field(pick(0x2a, 0x36), 2)?,
            segment_count: field(pick(0x2c, 0x38), 2)?,
            section_offset: field(pick(0x20, 0x28), pick(4, 8))?,
            section_count: field(pick(0x30, 0x3c), 2)?,
            names_index: field(pick(0x32, 0x3e), 2)?,
        })
    }

    /// Reads an entry of the section table; `None` if it is outside of the file.
    fn section(
        &self,
        file: &mut (impl Read + Seek),
        index: u64,
    ) -> Result<Option<Section>, NotAKernel> {
        let size: usize = if self.wide { 64 } else { 40 };
        let Some(at) = (index.checked_mul(size as u64))
            .and_then(|offset| offset.checked_add(self.section_offset))
        else {
            return Ok(None);
        };
        let entry = read_at::<64>(file, at, size)?;
        let [offset, length, link] = if self.wide {
            [(0x18, 8), (0x20, 8), (0x28, 4)]
        } else {
            [(0x10, 4), (0x14, 4), (0x18, 4)]
        };
        let field = |(at, size)| number(entry.as_slice(), at, size);
        Ok((|| {
            Some(Section {
                name: field((0, 4))?,
                offset: field(offset)?,
                length: field(length)?,
                link: field(link)?,
            })
        })())
    }
}

/// An entry of the section table.
struct Section {
    name: u64,
    offset: u64,
    length: u64,
    link: u64,
}

/// Returns what the sections of a file say that it is.
fn guest(header: &Header, file: &mut (impl Read + Seek)) -> Result<Guest, NotAKernel> {
    if header.section_offset == 0 {
        return Ok(Guest::Other);
    }
    // Counts that exceed 16 bits are in the first entry.
    let Some(first) = header.section(file, 0)? else {
        return Ok(Guest::Other);
    };
    let count = match header.section_count {
        0 => first.length,
        count => count,
    };
    let names_index = match header.names_index {
        0xffff => first.link,
        index => index,
    };
    let Some(names) = header.section(file, names_index)? else {
        return Ok(Guest::Other);
    };
    let mut found = Guest::Other;
    for index in 1..count.min(MOST_SECTIONS) {
        let Some(section) = header.section(file, index)? else {
            break;
        };
        let Some(at) = names.offset.checked_add(section.name) else {
            continue;
        };
        let name = read_at::<32>(file, at, 32)?;
        let is = |wanted: &[u8]| name.as_slice().starts_with(wanted);
        if is(RUNTIME_SECTION) {
            return Ok(Guest::Runtime);
        }
        if UNIKRAFT_SECTIONS.iter().any(|wanted| is(wanted)) {
            found = Guest::Unikraft;
        }
    }
    Ok(found)
}

/// Returns whether a file has the note by which QEMU and Firecracker find its PVH entry point.
fn has_pvh_note(header: &Header, file: &mut (impl Read + Seek)) -> Result<bool, NotAKernel> {
    for index in 0..header.segment_count.min(MOST_SEGMENTS) {
        let Some(at) = (index.checked_mul(header.segment_size))
            .and_then(|offset| offset.checked_add(header.segment_offset))
        else {
            return Ok(false);
        };
        let entry = read_at::<56>(file, at, if header.wide { 56 } else { 32 })?;
        let [offset, length, align] = if header.wide {
            [(0x08, 8), (0x20, 8), (0x30, 8)]
        } else {
            [(0x04, 4), (0x10, 4), (0x1c, 4)]
        };
        let field = |(at, size)| number(entry.as_slice(), at, size);
        if field((0, 4)) != Some(PT_NOTE) {
            continue;
        }
        let (Some(offset), Some(length)) = (field(offset), field(length)) else {
            return Ok(false);
        };
        let wanted = usize::try_from(length).map_or(MOST_NOTES, |length| length.min(MOST_NOTES));
        let notes = read_at::<MOST_NOTES>(file, offset, wanted)?;
        let step = if field(align) == Some(8) { 8 } else { 4 };
        if is_pvh(notes.as_slice(), step) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether the PVH entry point is among notes, whose parts are aligned to `step` bytes.
fn is_pvh(mut notes: &[u8], step: u64) -> bool {
    const HEAD: u64 = 12;
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    loop {
        let field = |at| number(notes, at, 4);
        let (Some(name_size), Some(value_size), Some(kind)) = (field(0), field(4), field(8)) else {
            return false;
        };
        // Sizes have 32 bits, so the sums do not overflow.
        let value = (HEAD + name_size).next_multiple_of(step);
        let end = (value + value_size).next_multiple_of(step);
        let name = notes.get(index(HEAD)..index(HEAD + name_size));
        if kind == XEN_ELFNOTE_PHYS32_ENTRY && name == Some(b"Xen\0") && value_size >= 4 {
            return notes.get(index(value)..index(value + 4)).is_some();
        }
        let Some(rest) = notes.get(index(end)..) else {
            return false;
        };
        notes = rest;
    }
}

/// Bytes read from a file, possibly fewer than requested.
struct Bytes<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Bytes<N> {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Reads up to `wanted` bytes at an offset; fewer at the end of the file.
fn read_at<const N: usize>(
    file: &mut (impl Read + Seek),
    at: u64,
    wanted: usize,
) -> Result<Bytes<N>, NotAKernel> {
    let mut bytes = [0; N];
    let mut length = 0;
    // Seeking beyond the maximum file size would fail.
    if i64::try_from(at).is_err() {
        return Ok(Bytes { bytes, length });
    }
    file.seek(SeekFrom::Start(at))?;
    while let Some(rest) = bytes
        .get_mut(length..wanted)
        .filter(|rest| !rest.is_empty())
    {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Bytes { bytes, length })
}

/// Reads a little-endian number of 1 to 8 bytes.
pub(crate) fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

/// Returns the name of a processor by its number in ELF headers.
fn machine_name(machine: u64) -> String {
    match machine {
        2 | 18 | 43 => "SPARC".to_owned(),
        8 => "MIPS".to_owned(),
        20 | 21 => "PowerPC".to_owned(),
        22 => "IBM Z".to_owned(),
        40 => "32-bit ARM".to_owned(),
        243 => "RISC-V".to_owned(),
        258 => "LoongArch".to_owned(),
        other => format!("processor number {other}"),
    }
}
