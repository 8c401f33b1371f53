//! Limits of archives. Sizes are counted as they would be written: decompressed, and with the holes
//! of sparse files filled.

use std::io;

/// Maximum size of the headers before one entry (GNU long names, PAX records, maps of sparse files)
/// in bytes; they are kept in memory.
pub const ENTRY_HEADERS: u64 = 1 << 20;
/// Maximum number of entries of one archive; their names are kept in memory.
pub const ENTRIES: u64 = 2_000_000;
/// Maximum number of holes and data segments of one sparse file.
pub const SPARSE_PARTS: usize = 1 << 20;
/// Size that every archive may expand to, in bytes: the largest file of a newc archive.
pub const EXPANDED: u64 = 4 << 30;
/// Size that an archive may expand to beyond [`EXPANDED`], as a multiple of its own size.
pub const EXPANSION: u64 = 64;
/// Maximum size of the files of a root filesystem or an image, in bytes.
pub const ROOT_FILESYSTEM: u64 = 64 << 30;
/// Maximum size of the files of a component, in bytes.
pub const COMPONENT: u64 = 8 << 30;
/// Maximum memory of an xz decoder, in bytes; `xz -9` needs 65 MiB.
pub const XZ_MEMORY: u64 = 256 << 20;
/// Maximum window of a zstd frame, as a power of two: 128 MiB, the default limit of the zstd program.
pub const ZSTD_WINDOW_BITS: u32 = 27;

/// Returns the size that an archive of `size` bytes may expand to.
///
/// ```
/// use kraft_archive::limits;
///
/// assert_eq!(limits::expanded(1 << 30), (4 << 30) + (64 << 30));
/// ```
pub fn expanded(size: u64) -> u64 {
    EXPANDED.saturating_add(size.saturating_mul(EXPANSION))
}

/// Returns the error for an archive that expands to more.
pub fn expands_too_far() -> io::Error {
    invalid(format!(
        "it expands to more than {} GiB and {EXPANSION} times its own size, the limit",
        EXPANDED >> 30
    ))
}

pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
