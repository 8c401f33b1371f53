//! Boots a kernel of the [Linux 64-bit protocol](super::BootProtocol::Linux64) where only PVH kernels
//! boot: on QEMU's machine `microvm`.
//!
//! Such a kernel is entered in 64-bit mode, with the address of Linux's `boot_params` (the "zero page")
//! in `rsi`. A loader of a hundred bytes that is a PVH kernel itself does that. It is at the end of
//! the memory with all that it needs; the kernel and the root archive are put into the memory by QEMU:
//!
//! ```text
//! 0x100000          the kernel
//!                   …
//! Loader::initrd    the root archive
//! Loader::at        page tables, zero page, descriptors, command line     Loader::tables
//! Loader::at + …    the code                                              Loader::program
//! ```
//!
//! ```
//! use kraft_core::kernel::linux64::{Loader, with_devices};
//!
//! let line = with_devices("kernel netdev.ip=10.0.0.2 -- a", ["512@0xfeb00e00:12".to_owned()]);
//! assert_eq!(line, "kernel netdev.ip=10.0.0.2 virtio_mmio.device=512@0xfeb00e00:12 -- a");
//! let loader = Loader::new(0x10_1000, 64 << 20, &line, Some(4096)).unwrap();
//! assert_eq!(loader.initrd, Some(loader.at - 4096));
//! assert!(loader.program.starts_with(b"\x7fELF"));
//! ```

use super::number;

/// The memory that the loader takes, in bytes.
const SIZE: u64 = 0x1_0000;
/// Where its parts are, as offsets.
const ZERO_PAGE: usize = 0x6000;
const DESCRIPTORS: usize = 0x7000;
const DESCRIPTORS_POINTER: usize = 0x7040;
const LINE: usize = 0x8000;
/// The code is behind the tables.
const TABLES: usize = 0xa000;
const CODE: u32 = 0xa000;

/// Memory above this address is not contiguous with that below it (QEMU, hw/i386/microvm.c).
const LOW_MEMORY: u64 = 3 << 30;
const HIGH_MEMORY: u64 = 4 << 30;
/// The memory below it is for firmware and devices (as on Firecracker).
const KERNEL: u64 = 0x10_0000;
const LOWEST_END: u64 = 0x9_fc00;
/// The maximal length of a command line, which ends with a zero.
const LONGEST_LINE: usize = TABLES - LINE - 1;
/// The stack of the kernel at its start, as on Firecracker.
const STACK: u32 = 0x8ff0;

/// What boots a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    /// An ELF file with a PVH note, which is given as the kernel.
    pub program: Vec<u8>,
    /// Data for the memory at [`at`](Self::at).
    pub tables: Vec<u8>,
    /// The address of the tables.
    pub at: u64,
    /// The address of the root archive, if there is one.
    pub initrd: Option<u64>,
}

/// The kernel, its root archive or its command line does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoaderError {
    /// The memory is too small.
    #[error("the machine has too little memory for its root filesystem")]
    Memory,
    /// The command line is too long.
    #[error("the kernel command line is longer than {LONGEST_LINE} bytes")]
    Line,
}

/// Returns the address at which an ELF file is entered; `None` if it is none of 64 bits.
pub fn entry(head: &[u8]) -> Option<u64> {
    let wide = head.starts_with(b"\x7fELF") && head.get(4) == Some(&2);
    wide.then(|| number(head, 0x18, 8)).flatten()
}

/// Adds the devices of a machine to a command line, as Firecracker does: each is
/// `SIZE@ADDRESS:INTERRUPT`.
pub fn with_devices(line: &str, devices: impl IntoIterator<Item = String>) -> String {
    let mut added = String::new();
    for device in devices {
        added.push_str(" virtio_mmio.device=");
        added.push_str(&device);
    }
    match line.find(" -- ") {
        Some(at) => {
            let (before, after) = line.split_at(at);
            format!("{before}{added}{after}")
        }
        None => format!("{line}{added}"),
    }
}

impl Loader {
    /// Makes the loader for a kernel with this entry point, in a machine with `memory` bytes; `initrd` is
    /// the size of its root archive in bytes.
    ///
    /// # Errors
    ///
    /// If the root archive or the command line does not fit.
    pub fn new(
        entry: u64,
        memory: u64,
        line: &str,
        initrd: Option<u64>,
    ) -> Result<Self, LoaderError> {
        if line.len() > LONGEST_LINE {
            return Err(LoaderError::Line);
        }
        let low = memory.min(LOW_MEMORY) / 4096 * 4096;
        let at = low.checked_sub(SIZE).filter(|at| *at > KERNEL);
        let at = at.ok_or(LoaderError::Memory)?;
        let archive = initrd.map(|size| {
            let start = at.checked_sub(size).map(|start| start / 4096 * 4096);
            start
                .filter(|start| *start > KERNEL)
                .map(|start| (start, size))
        });
        let archive = archive
            .map(|place| place.ok_or(LoaderError::Memory))
            .transpose()?;
        // All of it is below 4 GiB.
        let base = u32::try_from(at).map_err(|_| LoaderError::Memory)?;
        Ok(Self {
            program: program(base, entry),
            tables: tables(base, memory, line, archive),
            at,
            initrd: archive.map(|(start, _)| start),
        })
    }
}

/// Writes little-endian numbers into a block of memory.
struct Block(Vec<u8>);

impl Block {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Returns the tables: memory is mapped one to one.
fn tables(base: u32, memory: u64, line: &str, archive: Option<(u64, u64)>) -> Vec<u8> {
    const PRESENT: u64 = 3;
    const LARGE: u64 = 0x83;
    let mut block = Block(vec![0; TABLES]);
    let address = |offset: usize| u64::from(base) + offset as u64;
    // A table of tables of tables: 512 GiB, 1 GiB and 2 MiB per entry.
    block.put(0, &(address(0x1000) | PRESENT).to_le_bytes());
    for directory in 0..4 {
        let entry = address(0x2000 + directory * 0x1000) | PRESENT;
        block.put(0x1000 + directory * 8, &entry.to_le_bytes());
    }
    for page in 0..2048 {
        let entry = (page as u64) << 21 | LARGE;
        block.put(0x2000 + page * 8, &entry.to_le_bytes());
    }
    // Descriptors of 64-bit code and of data, as the protocol wants them.
    for (index, descriptor) in [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff_u64]
        .iter()
        .enumerate()
    {
        block.put(DESCRIPTORS + index * 8, &descriptor.to_le_bytes());
    }
    block.put(DESCRIPTORS_POINTER, &31_u16.to_le_bytes());
    let descriptors = address(DESCRIPTORS);
    block.put(DESCRIPTORS_POINTER + 2, &descriptors.to_le_bytes());
    block.put(LINE, line.as_bytes());
    zero_page(&mut block, base, memory, line.len(), archive);
    block.0
}

/// Writes `boot_params` (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).
fn zero_page(block: &mut Block, base: u32, memory: u64, line: usize, archive: Option<(u64, u64)>) {
    let word = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut put = |at: usize, bytes: &[u8]| block.put(ZERO_PAGE + at, bytes);
    let mut ranges = vec![(0, LOWEST_END), (KERNEL, u64::from(base) - KERNEL)];
    if memory > LOW_MEMORY {
        ranges.push((HIGH_MEMORY, memory - LOW_MEMORY));
    }
    put(0x1e8, &[u8::try_from(ranges.len()).unwrap_or_default()]);
    for (index, (start, size)) in ranges.into_iter().enumerate() {
        let at = 0x2d0 + index * 20;
        put(at, &u64::to_le_bytes(start));
        put(at + 8, &u64::to_le_bytes(size));
        // Memory that is there to be used.
        put(at + 16, &1_u32.to_le_bytes());
    }
    put(0x1fe, &0xaa55_u16.to_le_bytes());
    put(0x202, b"HdrS");
    // A loader that has no number of its own.
    put(0x210, &[0xff]);
    if let Some((start, size)) = archive {
        put(0x218, &word(start));
        put(0x21c, &word(size));
    }
    put(0x228, &word(u64::from(base) + LINE as u64));
    put(0x238, &word(line as u64));
}

/// Returns the loader's ELF file: its header, its code and the note with its entry point.
fn program(base: u32, entry: u64) -> Vec<u8> {
    const HEADERS: u32 = 52 + 2 * 32;
    const NOTE: u32 = 20;
    let at = base + CODE;
    let code = code(base, entry);
    let length = NOTE + u32::try_from(code.len()).unwrap_or_default();
    let start = at + NOTE;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, numbers: &[u16]| {
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, numbers: &[u32]| {
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    // An executable for the 386, whose two program headers follow.
    half(&mut file, &[2, 3]);
    words(&mut file, &[1, start, 52, 0, 0]);
    half(&mut file, &[52, 32, 2, 40, 0, 0]);
    // One part that is loaded, and in it the note.
    words(&mut file, &[1, HEADERS, at, at, length, length, 7, 4]);
    words(&mut file, &[4, HEADERS, at, at, NOTE, NOTE, 4, 4]);
    // XEN_ELFNOTE_PHYS32_ENTRY.
    words(&mut file, &[4, 4, 18]);
    file.extend(b"Xen\0");
    words(&mut file, &[start]);
    file.extend(code);
    file
}

/// Returns the code: it is entered in 32-bit mode without paging, and enters the kernel.
fn code(base: u32, entry: u64) -> Vec<u8> {
    let address = |offset: usize| (base + u32::try_from(offset).unwrap_or_default()).to_le_bytes();
    let mut code = Vec::new();
    let mut add = |bytes: &[&[u8]]| code.extend(bytes.concat());
    add(&[&[0xfa]]); // cli
    add(&[&[0xb8], &base.to_le_bytes()]); // mov eax, tables
    add(&[&[0x0f, 0x22, 0xd8]]); // mov cr3, eax
    add(&[&[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0]]); // cr4 |= PAE
    add(&[&[0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32]]); // mov ecx, EFER; rdmsr
    add(&[&[0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30]]); // or eax, LME; wrmsr
    // Firecracker routes the old interrupt controller to the processor (LINT0 = ExtINT); QEMU's
    // firmware for this machine does not.
    for (register, value) in [(0xf0_u32, 0x1ff_u32), (0x350, 0x700), (0x360, 0x400)] {
        let register = 0xfee0_0000 | register;
        add(&[&[0xc7, 0x05], &register.to_le_bytes(), &value.to_le_bytes()]); // mov [register], value
    }
    add(&[&[
        0x0f, 0x20, 0xc0, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0,
    ]]); // cr0 |= PG | PE
    add(&[&[0x0f, 0x01, 0x15], &address(DESCRIPTORS_POINTER)]); // lgdt
    let long = base + CODE + 20 + LONG;
    add(&[&[0xea], &long.to_le_bytes(), &[0x10, 0x00]]); // jmp 0x10:long
    add(&[&[0x66, 0xb8, 0x18, 0x00]]); // long: mov ax, 0x18
    add(&[&[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]]); // mov ds, es, ss, ax
    add(&[&[0xbe], &address(ZERO_PAGE)]); // mov esi, zero page
    add(&[&[0xbc], &STACK.to_le_bytes()]); // mov esp, stack
    add(&[&[0x48, 0xb8], &entry.to_le_bytes()]); // mov rax, entry
    add(&[&[0xff, 0xe0]]); // jmp rax
    code
}

/// The offset of the 64-bit part of the code.
const LONG: u32 = 1 + 5 + 3 + 9 + 7 + 7 + 3 * 10 + 11 + 7 + 7;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::kernel::{BootProtocol, identify};

    #[test]
    fn the_loader_is_a_pvh_kernel_whose_jump_meets_its_64_bit_part() {
        let loader = Loader::new(0x10_0000, 128 << 20, "k", None).unwrap();
        let image = identify(&mut Cursor::new(&loader.program)).unwrap();
        assert_eq!(image.boot, BootProtocol::Pvh);
        let code = code(0, 0);
        assert_eq!(code[LONG as usize..][..4], [0x66, 0xb8, 0x18, 0x00]);
        assert_eq!(code[LONG as usize - 7], 0xea);
    }

    #[test]
    fn everything_is_in_memory_and_nothing_overlaps() {
        for (memory, initrd) in [
            (2 << 20, None),
            (64 << 20, Some(1)),
            (3 << 30, Some(1 << 30)),
            (8 << 30, Some(5000)),
        ] {
            let loader = Loader::new(0, memory, "kernel -- a", initrd).unwrap();
            let end = loader.at + u64::from(CODE) + loader.program.len() as u64;
            assert!(end <= memory.min(LOW_MEMORY), "{memory:#x}");
            assert_eq!(loader.tables.len(), CODE as usize);
            if let (Some(at), Some(size)) = (loader.initrd, initrd) {
                assert!(at + size <= loader.at && at > KERNEL);
            }
            let ranges = loader.tables[ZERO_PAGE + 0x1e8];
            assert_eq!(ranges, if memory > LOW_MEMORY { 3 } else { 2 });
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let new = |memory, line: &str, initrd| Loader::new(0, memory, line, initrd).unwrap_err();
        assert_eq!(new(1 << 20, "", None), LoaderError::Memory);
        assert_eq!(new(8 << 20, "", Some(8 << 20)), LoaderError::Memory);
        assert_eq!(new(8 << 20, "", Some(u64::MAX)), LoaderError::Memory);
        assert_eq!(new(8 << 20, &"x".repeat(8192), None), LoaderError::Line);
        assert!(Loader::new(u64::MAX, 8 << 20, &"x".repeat(8191), None).is_ok());
    }

    #[test]
    fn devices_come_before_the_arguments() {
        let add = |line| with_devices(line, ["a".to_owned(), "b".to_owned()]);
        let devices = "virtio_mmio.device=a virtio_mmio.device=b";
        assert_eq!(add("k"), format!("k {devices}"));
        assert_eq!(add("k p=1 -- x -- y"), format!("k p=1 {devices} -- x -- y"));
        assert_eq!(with_devices("k -- x", []), "k -- x");
    }

    #[test]
    fn the_entry_is_that_of_a_64_bit_elf_file() {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[0x18..0x20].copy_from_slice(&0x10_1234_u64.to_le_bytes());
        assert_eq!(entry(&head), Some(0x10_1234));
        assert_eq!(entry(&head[..0x1f]), None);
        head[4] = 1;
        assert_eq!(entry(&head), None);
        assert_eq!(entry(b"not one"), None);
    }
}
