//! `struct stat`, `struct statx`, `struct statfs` and `struct linux_dirent64`.
//!
//! Source: `asm/stat.h`, `linux/stat.h` and `asm-generic/statfs.h` of Linux.

use alloc::vec::Vec;

use crate::fs::{DirectoryEntry, FileSystemStatus, Metadata, devices};
use crate::time::SECOND;

/// Bytes of a block that reading and writing should use.
const BLOCK: u64 = 4096;

/// The fields of a structure, one after the other.
struct Fields(Vec<u8>);

impl Fields {
    fn put32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn put64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// `struct stat` of the architecture.
pub fn stat(metadata: &Metadata) -> Vec<u8> {
    let mode = metadata.kind as u32 | metadata.permissions;
    let mut bytes = Vec::with_capacity(144);
    let mut put64 = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    put64(metadata.device);
    put64(metadata.number);
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    if cfg!(target_arch = "aarch64") {
        put64(pair(mode, metadata.links));
        put64(pair(metadata.user, metadata.group));
        put64(metadata.device_number);
        put64(0);
        put64(metadata.size);
        put64(BLOCK);
    } else {
        put64(u64::from(metadata.links));
        put64(pair(mode, metadata.user));
        put64(pair(metadata.group, 0));
        put64(metadata.device_number);
        put64(metadata.size);
        put64(BLOCK);
    }
    put64(metadata.blocks);
    for time in [metadata.accessed, metadata.modified, metadata.changed] {
        put64(time / SECOND);
        put64(time % SECOND);
    }
    let length = if cfg!(target_arch = "aarch64") {
        128
    } else {
        144
    };
    bytes.resize(length, 0);
    bytes
}

/// `struct statx` with everything of `STATX_BASIC_STATS` and the time of birth.
pub fn statx(metadata: &Metadata) -> Vec<u8> {
    const BASIC: u32 = 0x7ff;
    let mut bytes = Fields(Vec::with_capacity(256));
    bytes.put32(BASIC);
    bytes.put32(BLOCK as u32);
    bytes.put64(0);
    bytes.put32(metadata.links);
    bytes.put32(metadata.user);
    bytes.put32(metadata.group);
    bytes.put32(metadata.kind as u32 | metadata.permissions);
    bytes.put64(metadata.number);
    bytes.put64(metadata.size);
    bytes.put64(metadata.blocks);
    bytes.put64(0);
    for time in [
        metadata.accessed,
        metadata.modified,
        metadata.changed,
        metadata.modified,
    ] {
        bytes.put64(time / SECOND);
        bytes.put64(time % SECOND);
    }
    for device in [metadata.device_number, metadata.device] {
        let (major, minor) = devices::parts(device);
        bytes.put32(major);
        bytes.put32(minor);
    }
    let mut bytes = bytes.0;
    bytes.resize(256, 0);
    bytes
}

/// `struct statfs`
pub fn statfs(status: &FileSystemStatus) -> Vec<u8> {
    let words = [
        status.magic,
        status.block_size,
        status.blocks,
        status.free,
        status.free,
        status.nodes,
        status.free_nodes,
        0,
        255,
        status.block_size,
        0,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(120, 0);
    bytes
}

/// One `struct linux_dirent`.
pub fn old_directory_entry(entry: &DirectoryEntry) -> Vec<u8> {
    let length = (18 + entry.name.len() + 2).next_multiple_of(8);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&entry.number.to_le_bytes());
    bytes.extend_from_slice(&entry.next.to_le_bytes());
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(&entry.name);
    bytes.resize(length - 1, 0);
    bytes.push(entry.kind.entry_type());
    bytes
}

/// Bytes of the shortest entry of a directory, in both layouts.
pub const SHORTEST_ENTRY: usize = 24;

/// One `struct linux_dirent64`.
pub fn directory_entry(entry: &DirectoryEntry) -> Vec<u8> {
    let length = (19 + entry.name.len() + 1).next_multiple_of(8);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&entry.number.to_le_bytes());
    bytes.extend_from_slice(&entry.next.to_le_bytes());
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.push(entry.kind.entry_type());
    bytes.extend_from_slice(&entry.name);
    bytes.resize(length, 0);
    bytes
}
