//! Identifies kernel files by their content, never by their name.
//!
//! | file | identified by | boots as |
//! |---|---|---|
//! | x86 ELF | a Multiboot 1 header in the first 8 KiB | [`BootProtocol::Multiboot`] |
//! | x86 ELF | a PVH note, no Multiboot header | [`BootProtocol::Pvh`] |
//! | x86-64 ELF | Unikraft's sections, neither of the two | [`BootProtocol::Linux64`] |
//! | x86 `bzImage` | `HdrS` at 0x202 | [`BootProtocol::LinuxBzImage`] |
//! | arm64 `Image` | `ARM\x64` at 56 | [`BootProtocol::Arm64Image`] |
//!
//! Only a fixed header and some table entries are read, each of bounded size, so a hostile header
//! costs nothing.
//!
//! ```
//! use std::io::Cursor;
//!
//! use kraft_core::arch::Arch;
//! use kraft_core::kernel::{BootProtocol, NotAKernel, identify};
//!
//! let mut image = vec![0; 64];
//! image[56..60].copy_from_slice(b"ARM\x64");
//! let kernel = identify(&mut Cursor::new(&image))?;
//! assert_eq!((kernel.arch, kernel.boot), (Arch::Arm64, BootProtocol::Arm64Image));
//!
//! let empty = identify(&mut Cursor::new(&[]));
//! assert!(matches!(empty, Err(NotAKernel::Empty)));
//! # Ok::<(), kraft_core::kernel::NotAKernel>(())
//! ```

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::platform::Platform;

pub mod abilities;
mod elf;
pub(crate) use elf::number;
pub mod libinfo;
pub mod linux64;
pub mod object;
pub mod reconstruct;
pub mod size;

/// The protocol by which a VMM passes control and the command line to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootProtocol {
    /// x86 Multiboot 1, QEMU's `-kernel`: QEMU prepends the kernel's path to the line.
    Multiboot,
    /// The arm64 `Image` header on QEMU's `virt`: nothing is prepended.
    Arm64Image,
    /// The x86 Linux `bzImage`: nothing is prepended, there is no program name.
    LinuxBzImage,
    /// A 64-bit ELF entered by the Linux 64-bit protocol (Firecracker): nothing is prepended.
    Linux64,
    /// An ELF with a PVH entry point (`XEN_ELFNOTE_PHYS32_ENTRY`), which QEMU's `-kernel` and
    /// Firecracker load: nothing is prepended.
    Pvh,
}

impl BootProtocol {
    /// Returns the platform that kernels with this protocol are built for.
    pub const fn platform(self) -> Platform {
        match self {
            Self::Multiboot | Self::Arm64Image | Self::LinuxBzImage | Self::Pvh => Platform::Qemu,
            Self::Linux64 => Platform::Firecracker,
        }
    }

    /// Returns the format of kernel files with this protocol.
    pub const fn format(self) -> &'static str {
        match self {
            Self::Multiboot => "Multiboot",
            Self::Arm64Image => "arm64 Image",
            Self::LinuxBzImage => "bzImage",
            Self::Linux64 => "64-bit ELF",
            Self::Pvh => "ELF with a PVH note",
        }
    }
}

/// What a kernel is, by the marks in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guest {
    /// A Unikraft kernel.
    Unikraft,
    /// The kernel of kraft's built-in runtime.
    Runtime,
    /// A Linux kernel, or another one without a mark.
    #[default]
    Other,
}

/// A kernel file that was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelImage {
    /// Its processor architecture.
    pub arch: Arch,
    /// Its boot protocol.
    pub boot: BootProtocol,
    /// What it is; an arm64 `Image` without a mark counts as a Unikraft kernel.
    pub guest: Guest,
}

/// Why a file cannot be booted, by its actual type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKernel {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a directory.
    #[error("it is a directory, not a kernel file")]
    Directory,
    /// It has no bytes.
    #[error("it is an empty file")]
    Empty,
    /// It begins with `#!`.
    #[error("it is a script for `{0}`, not a kernel")]
    Script(String),
    /// An ELF file without any sign of a kernel: most likely a Linux program.
    #[error(
        "it is a program, not a kernel: it has neither Unikraft's sections nor a Multiboot header nor a PVH note"
    )]
    Program,
    /// Output of a compiler, not of a linker.
    #[error("it is an object file or a core dump, not a kernel")]
    NotExecutable,
    /// An ELF file for an unsupported processor.
    #[error("it is an ELF file for {0}, expected x86_64 or arm64")]
    Machine(String),
    /// The linked image with debug symbols, which QEMU does not load.
    #[error(
        "it is a kernel's debug image, which QEMU cannot load: give the file beside it without `.dbg`"
    )]
    DebugImage,
    /// A 32-bit Unikraft kernel that QEMU does not recognise as bootable.
    #[error("it is a Unikraft kernel without a Multiboot header: QEMU cannot load it")]
    NoBootHeader,
    /// The ELF header is truncated.
    #[error("it is a damaged ELF file: its header is incomplete")]
    Damaged,
    /// An archive or compressed file.
    #[error("it is {0}, not a kernel")]
    Archive(&'static str),
    /// An unknown file type.
    #[error("it is not a kernel: neither a Unikraft ELF file nor an arm64 or x86 Linux image")]
    Unknown,
}

impl From<io::Error> for NotAKernel {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::IsADirectory => Self::Directory,
            _ => Self::Unreadable(error),
        }
    }
}

/// Number of bytes that QEMU searches for a Multiboot header (Multiboot 0.6.96 §3.1; QEMU
/// hw/i386/multiboot.c).
const HEAD: u64 = 8192;

/// Returns the kind of kernel in a file.
pub fn identify(file: &mut (impl Read + Seek)) -> Result<KernelImage, NotAKernel> {
    let mut head = Vec::with_capacity(8192);
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD).read_to_end(&mut head)?;
    if head.starts_with(b"\x7fELF") {
        return elf::identify(&head, file);
    }
    if has(&head, 56, b"ARM\x64") {
        let guest = if has(&head, 40, ARM64_MARK) {
            Guest::Runtime
        } else {
            Guest::Unikraft
        };
        return Ok(image(Arch::Arm64, BootProtocol::Arm64Image, guest));
    }
    // Linux Documentation/arch/x86/boot.rst: the signature of a boot sector, then that of the
    // header.
    if has(&head, 0x1fe, &[0x55, 0xaa]) && has(&head, 0x202, b"HdrS") {
        return Ok(image(
            Arch::X86_64,
            BootProtocol::LinuxBzImage,
            Guest::Other,
        ));
    }
    // QEMU loads a Multiboot kernel without ELF by the addresses in its header.
    if multiboot(&head).is_some_and(|flags| flags & MULTIBOOT_HAS_ADDRESSES != 0) {
        return Ok(image(Arch::X86_64, BootProtocol::Multiboot, Guest::Other));
    }
    Err(something_else(&head))
}

/// The mark of the built-in runtime in a reserved field of the arm64 `Image` header (`res3`, Linux
/// Documentation/arch/arm64/booting.rst), which loaders ignore.
const ARM64_MARK: &[u8] = b"kraft-rt";

fn image(arch: Arch, boot: BootProtocol, guest: Guest) -> KernelImage {
    KernelImage { arch, boot, guest }
}

fn has(bytes: &[u8], at: usize, expected: &[u8]) -> bool {
    bytes
        .get(at..)
        .is_some_and(|rest| rest.starts_with(expected))
}

/// Returns the type of a file that is not a kernel, by the first bytes of well-known formats.
fn something_else(head: &[u8]) -> NotAKernel {
    const FORMATS: [(usize, &[u8], &str); 9] = [
        (0, b"\x1f\x8b", "a gzip-compressed file"),
        (0, b"\x28\xb5\x2f\xfd", "a zstd-compressed file"),
        (0, b"\xfd7zXZ\0", "an xz-compressed file"),
        (
            0,
            b"070701",
            "a CPIO archive (a root filesystem is given by `--rootfs`)",
        ),
        (
            0,
            b"070702",
            "a CPIO archive (a root filesystem is given by `--rootfs`)",
        ),
        (0, b"PK\x03\x04", "a zip archive"),
        (257, b"ustar", "a tar archive"),
        (0, b"!<arch>\n", "a static library"),
        (0, b"QFI\xfb", "a disk image"),
    ];
    if head.is_empty() {
        return NotAKernel::Empty;
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line.get(..64).unwrap_or(line));
        let line = line.trim().replace(|c: char| c.is_control(), "");
        return NotAKernel::Script(line);
    }
    FORMATS
        .iter()
        .find(|(at, magic, _)| has(head, *at, magic))
        .map_or(NotAKernel::Unknown, |(_, _, what)| {
            NotAKernel::Archive(what)
        })
}

/// The flag of a Multiboot header with load addresses, for which QEMU ignores the ELF headers.
const MULTIBOOT_HAS_ADDRESSES: u32 = 1 << 16;

/// Returns the flags of the Multiboot 1 header, if there is one where QEMU searches.
///
/// QEMU searches in steps of 4 and stops where the longest form of the header (48 bytes) would
/// cross 8 KiB.
fn multiboot(head: &[u8]) -> Option<u32> {
    const MAGIC: u32 = 0x1bad_b002;
    let words = head.as_chunks::<4>().0;
    let last = (8192 - 48) / 4;
    words.windows(3).take(last).find_map(|window| {
        let [magic, flags, checksum] = window else {
            return None;
        };
        let [magic, flags, checksum] =
            [magic, flags, checksum].map(|word| u32::from_le_bytes(*word));
        (magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0).then_some(flags)
    })
}

#[cfg(test)]
mod tests;
