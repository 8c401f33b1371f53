//! What the loader left in memory: PVH's start info, Linux's `boot_params` or Multiboot's information
//! structure.

use alloc::vec::Vec;

use super::{PHYSICAL, clock, console, cpu, interrupts};
use crate::arch::BootInfo;

/// The first word of PVH's start info.
const PVH: usize = 0x336e_c578;
/// `HdrS`, the mark of Linux's `boot_params`.
const LINUX: usize = 0x5372_6448;
/// The memory that the boot code mapped.
const MAPPED: usize = 4 << 30;
const LONGEST_COMMAND_LINE: usize = 64 << 10;
const MOST_RANGES: usize = 128;
/// The kernel's image starts here (see link/x86_64.ld).
const IMAGE_START: usize = 0x10_0000;

unsafe extern "C" {
    static kernel_end: u8;
}

/// Reads 32 bits of physical memory.
fn read32(at: usize) -> usize {
    assert!(
        at < MAPPED - 8,
        "the boot information is not in mapped memory"
    );
    // SAFETY: the address is mapped; any bytes are a number.
    unsafe { ((PHYSICAL + at) as *const u32).read_unaligned() as usize }
}

fn read64(at: usize) -> usize {
    read32(at) | read32(at + 4) << 32
}

fn read_string(at: usize) -> Vec<u8> {
    if at == 0 {
        return Vec::new();
    }
    (0..LONGEST_COMMAND_LINE)
        .map(|offset| read32(at + offset) as u8)
        .take_while(|&byte| byte != 0)
        .collect()
}

/// PVH's `hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`).
fn read_pvh(info: usize) -> BootInfo {
    let mut boot = BootInfo {
        command_line: read_string(read64(info + 24)),
        ..BootInfo::default()
    };
    if read32(info + 12) > 0 {
        let module = read64(info + 16);
        boot.initrd = Some((read64(module), read64(module + 8)));
    }
    if read32(info + 4) >= 1 {
        let ranges = read64(info + 40);
        for index in 0..read32(info + 48).min(MOST_RANGES) {
            let range = ranges + index * 24;
            if read32(range + 16) == 1 {
                boot.memory.push((read64(range), read64(range + 8)));
            }
        }
    }
    boot
}

/// Linux's `boot_params` (Documentation/arch/x86/boot.rst and zero-page.rst).
fn read_linux(info: usize) -> BootInfo {
    let mut boot = BootInfo {
        command_line: read_string(read32(info + 0x228)),
        ..BootInfo::default()
    };
    let (start, size) = (read32(info + 0x218), read32(info + 0x21c));
    if size > 0 {
        boot.initrd = Some((start, size));
    }
    let ranges = read32(info + 0x1e8) & 0xff;
    for index in 0..ranges.min(MOST_RANGES) {
        let range = info + 0x2d0 + index * 20;
        if read32(range + 16) == 1 {
            boot.memory.push((read64(range), read64(range + 8)));
        }
    }
    boot
}

/// Multiboot 1, section 3.3.
fn read_multiboot(info: usize) -> BootInfo {
    let flags = read32(info);
    let mut boot = BootInfo::default();
    if flags & 1 << 2 != 0 {
        boot.command_line = read_string(read32(info + 16));
    }
    if flags & 1 << 3 != 0 && read32(info + 20) > 0 {
        let module = read32(info + 24);
        let start = read32(module);
        boot.initrd = Some((start, read32(module + 4).saturating_sub(start)));
    }
    if flags & 1 << 6 != 0 {
        let (mut at, end) = (read32(info + 48), read32(info + 48) + read32(info + 44));
        while at < end && boot.memory.len() < MOST_RANGES {
            if read32(at + 20) == 1 {
                boot.memory.push((read64(at + 4), read64(at + 12)));
            }
            at += read32(at) + 4;
        }
    }
    boot
}

#[unsafe(no_mangle)]
extern "C" fn enter_x86_64(info: usize) -> ! {
    clock::start();
    console::init();
    crate::mm::start_early_heap();
    // The register that should tell the protocols apart does not: qboot says Multiboot for both.
    let mut boot = if read32(info) == PVH {
        read_pvh(info)
    } else if read32(info + 0x202) == LINUX {
        read_linux(info)
    } else {
        read_multiboot(info)
    };
    let image_end = &raw const kernel_end as usize - super::IMAGE;
    // Real-mode memory holds the loader's structures.
    boot.reserved.push((0, IMAGE_START));
    boot.reserved.push((IMAGE_START, image_end - IMAGE_START));
    boot.reserved.extend(boot.initrd);
    cpu::init();
    interrupts::init();
    clock::init();
    crate::start(boot)
}
