//! Valid and damaged kernels, built byte by byte.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// Contents of a generated ELF file.
struct Elf {
    wide: bool,
    kind: u16,
    machine: u16,
    multiboot: Option<u32>,
    sections: &'static [&'static str],
}

const KERNEL32: Elf = Elf {
    wide: false,
    kind: 2,
    machine: 3,
    multiboot: Some(0),
    sections: &[".text", ".uk_inittab", ".data"],
};

impl Elf {
    /// Header, Multiboot header, section names, section table, in this order.
    fn bytes(&self) -> Vec<u8> {
        let (header, entry) = if self.wide { (64, 64) } else { (52, 40) };
        let mut out = vec![0; header];
        out[..6].copy_from_slice(b"\x7fELF\x01\x01");
        out[16..18].copy_from_slice(&self.kind.to_le_bytes());
        out[18..20].copy_from_slice(&self.machine.to_le_bytes());
        if self.wide {
            out[4] = 2;
        }
        out.resize(1024, 0);
        if let Some(flags) = self.multiboot {
            let magic = 0x1bad_b002_u32;
            let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
            for word in [magic, flags, checksum] {
                out.extend(word.to_le_bytes());
            }
        }
        let names_at = out.len();
        let mut names = b"\0.shstrtab\0".to_vec();
        let mut name_offsets = vec![];
        for section in self.sections {
            name_offsets.push(names.len());
            names.extend(section.as_bytes());
            names.push(0);
        }
        out.extend(&names);
        let table_at = out.len();
        let mut section = |name: usize, offset: usize, length: usize| {
            let mut bytes = vec![0; entry];
            bytes[..4].copy_from_slice(&u32::try_from(name).unwrap().to_le_bytes());
            if self.wide {
                bytes[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
                bytes[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            } else {
                bytes[0x10..0x14].copy_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
                bytes[0x14..0x18].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
            }
            out.extend(bytes);
        };
        section(0, 0, 0);
        section(1, names_at, names.len());
        for name in name_offsets {
            section(name, 0, 0);
        }
        let count = u16::try_from(self.sections.len() + 2).unwrap();
        if self.wide {
            out[0x28..0x30].copy_from_slice(&(table_at as u64).to_le_bytes());
            out[0x3c..0x3e].copy_from_slice(&count.to_le_bytes());
            out[0x3e..0x40].copy_from_slice(&1_u16.to_le_bytes());
        } else {
            out[0x20..0x24].copy_from_slice(&u32::try_from(table_at).unwrap().to_le_bytes());
            out[0x30..0x32].copy_from_slice(&count.to_le_bytes());
            out[0x32..0x34].copy_from_slice(&1_u16.to_le_bytes());
        }
        out
    }
}

fn told(bytes: &[u8]) -> Result<(Arch, BootProtocol, Guest), String> {
    identify(&mut Cursor::new(bytes))
        .map(|image| (image.arch, image.boot, image.guest))
        .map_err(|error| error.to_string())
}

fn with(at: usize, magic: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[at..at + magic.len()].copy_from_slice(magic);
    bytes
}

#[test]
fn a_multiboot_kernel_is_known_by_its_sections() {
    let multiboot = |guest| Ok((Arch::X86_64, BootProtocol::Multiboot, guest));
    assert_eq!(told(&KERNEL32.bytes()), multiboot(Guest::Unikraft));
    for mark in [".uk_ctortab", ".uk_thread_inittab"] {
        let sections = match mark {
            ".uk_ctortab" => &[".uk_ctortab"][..],
            _ => &[".uk_thread_inittab"][..],
        };
        assert_eq!(
            told(
                &Elf {
                    sections,
                    ..KERNEL32
                }
                .bytes()
            ),
            multiboot(Guest::Unikraft)
        );
    }
    let almost = &[".uk_inittabs", "x.uk_inittab", ".uk"][..];
    let other = Elf {
        sections: almost,
        ..KERNEL32
    };
    assert_eq!(told(&other.bytes()), multiboot(Guest::Other));
}

#[test]
fn a_64_bit_elf_is_for_firecracker_unless_it_is_a_debug_image() {
    let kernel = Elf {
        wide: true,
        machine: 62,
        multiboot: None,
        ..KERNEL32
    };
    let linux64 = Ok((Arch::X86_64, BootProtocol::Linux64, Guest::Unikraft));
    assert_eq!(told(&kernel.bytes()), linux64);
    let debug = Elf {
        multiboot: Some(0),
        ..kernel
    };
    assert!(told(&debug.bytes()).unwrap_err().contains("without `.dbg`"));
    // With load addresses in the header QEMU ignores the ELF headers.
    let addressed = Elf {
        multiboot: Some(1 << 16),
        ..debug
    };
    assert_eq!(
        told(&addressed.bytes()),
        Ok((Arch::X86_64, BootProtocol::Multiboot, Guest::Unikraft))
    );
}

/// Adds a program header of this kind that leads to a note, aligned to `align` bytes, after
/// another note.
fn with_note(elf: &Elf, segment: u32, name: &[u8], kind: u32, align: usize) -> Vec<u8> {
    let mut out = elf.bytes();
    out.resize(out.len().next_multiple_of(align), 0);
    let notes_at = out.len();
    for (name, kind) in [(&b"GNU\0"[..], 3), (name, kind)] {
        out.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(name);
        out.resize(out.len().next_multiple_of(align), 0);
        out.extend(0x10_0000_u64.to_le_bytes());
        out.resize(out.len().next_multiple_of(align), 0);
    }
    let (length, header_at) = (out.len() - notes_at, out.len());
    let mut put = |at: usize, value: usize, size: usize| {
        let end = (at + size).max(out.len());
        out.resize(end, 0);
        out[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    };
    let segment = segment as usize;
    if elf.wide {
        for (at, value) in [(0x08, notes_at), (0x20, length), (0x30, align)] {
            put(header_at + at, value, 8);
        }
        put(header_at, segment, 4);
        put(0x20, header_at, 8);
        put(0x36, 56, 2);
        put(0x38, 1, 2);
    } else {
        for (at, value) in [
            (0, segment),
            (0x04, notes_at),
            (0x10, length),
            (0x1c, align),
        ] {
            put(header_at + at, value, 4);
        }
        put(0x1c, header_at, 4);
        put(0x2a, 32, 2);
        put(0x2c, 1, 2);
    }
    out
}

#[test]
fn a_pvh_note_makes_an_elf_bootable_by_qemu() {
    let wide = Elf {
        wide: true,
        machine: 62,
        multiboot: None,
        sections: &[".text"],
        ..KERNEL32
    };
    let narrow = Elf {
        multiboot: None,
        ..KERNEL32
    };
    let runtime = Elf {
        sections: &[".uk_inittab", ".kraft_runtime"],
        ..wide
    };
    let pvh = |guest| Ok((Arch::X86_64, BootProtocol::Pvh, guest));
    let (xen, entry) = (b"Xen\0", 18);
    for align in [4, 8] {
        for (elf, guest) in [
            (&wide, Guest::Other),
            (&narrow, Guest::Unikraft),
            (&runtime, Guest::Runtime),
        ] {
            assert_eq!(told(&with_note(elf, 4, xen, entry, align)), pvh(guest));
        }
    }
    // Another segment, another owner, another note.
    for (segment, name, kind) in [
        (1, &xen[..], entry),
        (4, b"Xan\0", entry),
        (4, b"Xen", entry),
        (4, xen, 17),
    ] {
        let bytes = with_note(&wide, segment, name, kind, 4);
        let error = told(&bytes).unwrap_err();
        assert!(error.contains("nor a PVH note"), "{name:?} {kind}: {error}");
    }
    // QEMU reads a Multiboot header first.
    let both = with_note(&KERNEL32, 4, xen, entry, 4);
    let multiboot = Ok((Arch::X86_64, BootProtocol::Multiboot, Guest::Unikraft));
    assert_eq!(told(&both), multiboot);
    // Sizes up to the largest number, and notes that end early, are no entry points.
    let whole = with_note(&wide, 4, xen, entry, 4);
    let notes_at = wide.bytes().len().next_multiple_of(4);
    for at in [0, 4] {
        let mut bytes = whole.clone();
        bytes[notes_at + at..notes_at + at + 4].fill(0xff);
        assert!(told(&bytes).is_err());
    }
    let header_at = usize::try_from(number(&whole, 0x20, 8).unwrap()).unwrap();
    for length in [0, 11, 30, 40] {
        let mut bytes = whole.clone();
        bytes[header_at + 0x20] = length;
        assert!(told(&bytes).is_err(), "{length}");
    }
}

#[test]
fn the_flat_image_of_the_built_in_runtime_has_a_mark() {
    let mut bytes = with(56, b"ARM\x64");
    bytes[40..48].copy_from_slice(b"kraft-rt");
    let runtime = Ok((Arch::Arm64, BootProtocol::Arm64Image, Guest::Runtime));
    assert_eq!(told(&bytes), runtime);
}

#[test]
fn linux_images_are_known_by_their_magic() {
    let arm = told(&with(56, b"ARM\x64"));
    assert_eq!(
        arm,
        Ok((Arch::Arm64, BootProtocol::Arm64Image, Guest::Unikraft))
    );
    let mut bzimage = with(0x202, b"HdrS");
    assert!(
        told(&bzimage).is_err(),
        "the boot sector's signature is missing"
    );
    bzimage[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(
        told(&bzimage),
        Ok((Arch::X86_64, BootProtocol::LinuxBzImage, Guest::Other))
    );
}

#[test]
fn a_multiboot_header_needs_its_checksum_and_its_place() {
    let mut bytes = KERNEL32.bytes();
    bytes[1024 + 8] ^= 1;
    assert!(
        told(&bytes)
            .unwrap_err()
            .contains("without a Multiboot header")
    );
    let mut late = KERNEL32.bytes();
    let header: Vec<u8> = late[1024..1036].to_vec();
    late[1024..1036].fill(0);
    late.resize(8192, 0);
    late.extend(header);
    assert!(
        told(&late)
            .unwrap_err()
            .contains("without a Multiboot header")
    );
}

#[test]
fn other_file_types_are_named() {
    let program = Elf {
        wide: true,
        machine: 62,
        multiboot: None,
        kind: 3,
        sections: &[".text"],
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("script", b"#!/bin/sh -e\necho\n".to_vec()),
        ("program", program.bytes()),
        ("object", Elf { kind: 1, ..program }.bytes()),
        (
            "riscv",
            Elf {
                machine: 243,
                ..program
            }
            .bytes(),
        ),
        (
            "odd machine",
            Elf {
                machine: 4711,
                ..program
            }
            .bytes(),
        ),
        ("big-endian", {
            let mut b = program.bytes();
            b[5] = 2;
            b
        }),
        (
            "arm64 program",
            Elf {
                machine: 183,
                ..program
            }
            .bytes(),
        ),
        (
            "arm64 .dbg",
            Elf {
                machine: 183,
                sections: &[".uk_inittab"],
                ..program
            }
            .bytes(),
        ),
        (
            "x86 .dbg",
            Elf {
                multiboot: Some(2),
                sections: &[".uk_inittab"],
                ..program
            }
            .bytes(),
        ),
        (
            "32-bit, headless",
            Elf {
                multiboot: None,
                ..KERNEL32
            }
            .bytes(),
        ),
        ("cut off", KERNEL32.bytes()[..20].to_vec()),
        ("four bytes", b"\x7fELF".to_vec()),
        ("gzip", with(0, b"\x1f\x8b")),
        ("cpio", with(0, b"070701")),
        ("tar", with(257, b"ustar")),
        ("text", b"hello\n".to_vec()),
    ];
    let list: Vec<String> = cases
        .iter()
        .map(|(name, bytes)| format!("{name}: {}", told(bytes).unwrap_err()))
        .collect();
    insta::assert_snapshot!(list.join("\n"), @"
    empty: it is an empty file
    script: it is a script for `/bin/sh -e`, not a kernel
    program: it is a program, not a kernel: it has neither Unikraft's sections nor a Multiboot header nor a PVH note
    object: it is an object file or a core dump, not a kernel
    riscv: it is an ELF file for RISC-V, expected x86_64 or arm64
    odd machine: it is an ELF file for processor number 4711, expected x86_64 or arm64
    big-endian: it is an ELF file for a big-endian processor, expected x86_64 or arm64
    arm64 program: it is a program, not a kernel: it has neither Unikraft's sections nor a Multiboot header nor a PVH note
    arm64 .dbg: it is a kernel's debug image, which QEMU cannot load: give the file beside it without `.dbg`
    x86 .dbg: it is a kernel's debug image, which QEMU cannot load: give the file beside it without `.dbg`
    32-bit, headless: it is a Unikraft kernel without a Multiboot header: QEMU cannot load it
    cut off: it is a damaged ELF file: its header is incomplete
    four bytes: it is a damaged ELF file: its header is incomplete
    gzip: it is a gzip-compressed file, not a kernel
    cpio: it is a CPIO archive (a root filesystem is given by `--rootfs`), not a kernel
    tar: it is a tar archive, not a kernel
    text: it is not a kernel: neither a Unikraft ELF file nor an arm64 or x86 Linux image
    ");
}

#[test]
fn directories_and_unreadable_files_are_distinguished() {
    struct Broken(ErrorKind);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let error = |kind| identify(&mut Broken(kind)).unwrap_err();
    assert!(matches!(
        error(ErrorKind::IsADirectory),
        NotAKernel::Directory
    ));
    assert!(matches!(
        error(ErrorKind::PermissionDenied),
        NotAKernel::Unreadable(_)
    ));
}

#[test]
fn numbers_in_headers_are_validated() {
    // The section table is at the end of the address space, then the section names.
    let kernel = Elf {
        wide: true,
        machine: 62,
        multiboot: None,
        ..KERNEL32
    };
    let mut bytes = kernel.bytes();
    bytes[0x28..0x30].copy_from_slice(&(u64::MAX - 8).to_le_bytes());
    assert!(told(&bytes).is_err());
    let mut bytes = kernel.bytes();
    bytes[0x3c..0x40].copy_from_slice(&[0xff; 4]);
    assert!(told(&bytes).is_err());
    // The count is zero, so the count in the first entry is used, which is wrong.
    let mut bytes = kernel.bytes();
    let table = usize::from(u16::from_le_bytes([bytes[0x28], bytes[0x29]]));
    bytes[0x3c..0x3e].fill(0);
    bytes[table + 0x20..table + 0x28].fill(0xff);
    assert_eq!(
        told(&bytes),
        Ok((Arch::X86_64, BootProtocol::Linux64, Guest::Unikraft))
    );
}

proptest! {
    #[test]
    fn any_bytes_are_identified_or_rejected(bytes: Vec<u8>) {
        let _ = told(&bytes);
    }

    #[test]
    fn damaged_kernels_are_identified_or_rejected(
        wide: bool,
        hits in proptest::collection::vec((0_usize..1200, any::<u8>()), 1..12),
        length in 0_usize..1400,
    ) {
        let mut bytes = Elf { wide, ..KERNEL32 }.bytes();
        for (at, value) in hits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(length);
        let _ = told(&bytes);
    }
}
