//! The console of a machine on disk: what the guest printed, limited in size, with the times of
//! arrival.
//!
//! The VMM's standard output is a named pipe, and the monitor copies from there into segments. Its
//! standard input is another one, which `kraft attach` writes to:
//!
//! ```text
//! console/                          its lock: the monitor holds it until all is copied
//! ├── pipe                          the VMM writes here
//! ├── input                         the VMM reads here
//! ├── 00000000000000000000.log      the bytes from this offset on
//! ├── 00000000000000000000.times    when they arrived: an offset and a time, 16 bytes
//! └── 00000000000008380416.log …
//! ```
//!
//! When the last segment is full, a new one is created, and the oldest is removed when there are
//! more than [`SEGMENTS`]. While no monitor reads (it was killed), writes to the pipe fail: the guest
//! continues, its output is dropped, and no file grows.

use std::path::{Path, PathBuf};

mod input;
mod reader;
mod recorder;

pub use input::ConsoleInput;
pub(crate) use input::open_for_vmm;
pub(crate) use reader::Reader;
pub(crate) use recorder::{Copied, Drain, continue_with, prepare};

/// The default limit of a console's size on disk, in bytes.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// The smallest limit of a console's size on disk, in bytes.
pub const MIN_LIMIT: u64 = 1 << 20;

/// The maximal number of segments.
const SEGMENTS: usize = 8;

/// The size of an entry of the times: an offset and microseconds since 1970, each as 8 bytes in
/// little endian.
const ENTRY: usize = 16;

/// Returns the path of a segment's bytes.
fn log(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}.log"))
}

/// Returns the path of a segment's times.
fn times(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}.times"))
}

/// Returns the segment that was written last.
pub(crate) fn last_written(dir: &Path) -> Option<PathBuf> {
    Some(log(dir, *segments(dir).ok()?.last()?))
}

/// Returns the offsets at which the segments begin, in order; empty if there is no directory.
fn segments(dir: &Path) -> std::io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut starts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let start = name.to_str().and_then(|name| name.strip_suffix(".log"));
        starts.extend(start.and_then(|start| start.parse::<u64>().ok()));
    }
    starts.sort_unstable();
    Ok(starts)
}

/// One entry of the times: bytes from this offset on arrived at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    micros: u64,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let (offset, micros) = bytes.split_at_mut(ENTRY / 2);
        offset.copy_from_slice(&self.offset.to_le_bytes());
        micros.copy_from_slice(&self.micros.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (offset, micros) = bytes.split_at_checked(ENTRY / 2)?;
        Some(Self {
            offset: u64::from_le_bytes(offset.try_into().ok()?),
            micros: u64::from_le_bytes(micros.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests;
