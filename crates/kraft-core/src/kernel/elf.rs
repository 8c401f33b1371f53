//! Minimal ELF reader that finds Unikraft's sections and validates every number.
//!
//! Offsets and sizes are those of the System V ABI, "Object Files". Every read has a fixed, small
//! size.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{BootProtocol, KernelImage, MULTIBOOT_HAS_ADDRESSES, NotAKernel, image, multiboot};
use crate::arch::Arch;

/// Sections created only by Unikraft's linker scripts; KraftKit identifies kernels by them too.
const UNIKRAFT_SECTIONS: [&[u8]; 3] = [b".uk_inittab\0", b".uk_ctortab\0", b".uk_thread_inittab\0"];

/// Maximum number of sections; real kernels have far fewer.
const MOST_SECTIONS: u64 = 4096;

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
    let unikraft = has_unikraft_section(&header, file)?;
    if arch == Arch::Arm64 {
        // QEMU would boot an arm64 ELF without a device tree, and so without memory map and command
        // line.
        return Err(if unikraft {
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
        Some(_) => Ok(image(arch, BootProtocol::Multiboot, unikraft)),
        None if unikraft && header.wide => Ok(image(arch, BootProtocol::Linux64, true)),
        None if unikraft => Err(NotAKernel::NoBootHeader),
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

fn has_unikraft_section(
    header: &Header,
    file: &mut (impl Read + Seek),
) -> Result<bool, NotAKernel> {
    if header.section_offset == 0 {
        return Ok(false);
    }
    // Counts that exceed 16 bits are in the first entry.
    let Some(first) = header.section(file, 0)? else {
        return Ok(false);
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
        return Ok(false);
    };
    for index in 1..count.min(MOST_SECTIONS) {
        let Some(section) = header.section(file, index)? else {
            return Ok(false);
        };
        let Some(at) = names.offset.checked_add(section.name) else {
            continue;
        };
        let name = read_at::<32>(file, at, 32)?;
        if UNIKRAFT_SECTIONS
            .iter()
            .any(|wanted| name.as_slice().starts_with(wanted))
        {
            return Ok(true);
        }
    }
    Ok(false)
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
