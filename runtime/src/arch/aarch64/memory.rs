//! Where physical memory is mapped: gigabytes at [`PHYSICAL`], as memory or as devices.

use core::cell::Cell;

use super::{IMAGE, PHYSICAL};
use crate::sync::Global;

const GIGABYTE: usize = 1 << 30;
/// Gigabytes of one table of the third level.
const MOST: usize = 512;
/// Valid block, accessed, never run.
const BLOCK: u64 = 1 | 1 << 10 | 1 << 53 | 1 << 54;
/// Attribute 1 and inner shareable (see boot.s); devices have attribute 0.
const MEMORY: u64 = 1 << 2 | 3 << 8;

unsafe extern "C" {
    static mut physical_gigabytes: [u64; MOST];
}

/// The physical address of the image.
static IMAGE_START: Global<Cell<usize>> = Global::new(Cell::new(0));

/// Notes where the image was loaded.
pub fn set_image(start: usize) {
    IMAGE_START.set(start);
}

/// The physical address of memory of the kernel: of its heap, its stacks or its image.
pub fn physical_of_kernel(address: usize) -> usize {
    if address >= IMAGE {
        address - IMAGE + IMAGE_START.get()
    } else {
        address - PHYSICAL
    }
}

fn map(start: usize, length: usize, kind: u64) -> bool {
    let Some(end) = start
        .checked_add(length)
        .filter(|&end| end <= MOST * GIGABYTE)
    else {
        return false;
    };
    for gigabyte in start / GIGABYTE..end.div_ceil(GIGABYTE) {
        let entry = (gigabyte * GIGABYTE) as u64 | BLOCK | kind;
        let table = &raw mut physical_gigabytes;
        // SAFETY: the table has an entry for each of the gigabytes, and an entry that is in use
        // is never changed.
        unsafe {
            let place = table.cast::<u64>().add(gigabyte);
            if place.read() == 0 {
                place.write(entry);
            }
        }
    }
    super::synchronize_tables();
    true
}

/// Maps memory; whether it lies where the kernel can map it.
pub fn map_memory_range(start: usize, length: usize) -> bool {
    map(start, length, MEMORY)
}

/// Maps the registers of a device; the address where they are.
pub fn map_device(start: usize, length: usize) -> Option<usize> {
    map(start, length, 0).then_some(PHYSICAL + start)
}

/// Reads a device's register of 32 bits.
pub fn read32(address: usize) -> u32 {
    // SAFETY: the callers are drivers whose registers `map_device` mapped.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a device's register of 32 bits.
pub fn write32(address: usize, value: u32) {
    // SAFETY: see `read32`.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Writes a device's register of 8 bits.
pub fn write8(address: usize, value: u8) {
    // SAFETY: see `read32`.
    unsafe { (address as *mut u8).write_volatile(value) }
}
