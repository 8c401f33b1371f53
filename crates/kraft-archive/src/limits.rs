//! How much an archive may ask for. Sizes are counted as they would be written: decompressed, and
//! with the holes of sparse files filled.

use std::io;

/// Headers before one entry (GNU long names, PAX records, maps of sparse files) in bytes; they are
/// held in memory.
pub const ENTRY_HEADERS: u64 = 1 << 20;
/// Entries of one archive; their names are held in memory.
pub const ENTRIES: u64 = 2_000_000;
/// Holes and data of one sparse file.
pub const SPARSE_PARTS: usize = 1 << 20;
/// What an archive may expand to in any case, in bytes: the largest file of a newc archive.
pub const EXPANDED: u64 = 4 << 30;
/// What an archive may expand to beyond [`EXPANDED`], as a multiple of its own size.
pub const EXPANSION: u64 = 64;
/// The files of a root filesystem or an image, in bytes.
pub const ROOT_FILESYSTEM: u64 = 64 << 30;
/// The files of a component, in bytes.
pub const COMPONENT: u64 = 8 << 30;
/// Memory of an xz decoder, in bytes; `xz -9` needs 65 MiB.
pub const XZ_MEMORY: u64 = 256 << 20;
/// The window of a zstd frame, as a power of two: 128 MiB, the default limit of the zstd program.
pub const ZSTD_WINDOW_BITS: u32 = 27;

/// Returns what an archive of `size` bytes may expand to.
pub fn expanded(size: u64) -> u64 {
    EXPANDED.saturating_add(size.saturating_mul(EXPANSION))
}

/// The error for an archive that expands to more.
pub fn expands_too_far() -> io::Error {
    invalid(format!(
        "it expands to more than {} GiB and {EXPANSION} times its own size, the limit",
        EXPANDED >> 30
    ))
}

pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
