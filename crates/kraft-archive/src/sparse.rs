//! Maps of sparse files: which segments of a file are stored, in all forms that GNU tar and bsdtar
//! write (GNU tar's manual, "Storing Sparse Files").

use std::io;

use crate::limits::{SPARSE_PARTS, invalid};

/// A segment of a file whose bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// The stored segments of a file, in order.
#[derive(Debug, Default)]
pub(crate) struct Map {
    parts: Vec<Part>,
    /// End of the last segment.
    end: u64,
    stored: u64,
}

impl Map {
    /// Reads `offset,size,offset,size,…` (PAX 0.1).
    pub(crate) fn of_list(text: &[u8]) -> io::Result<Self> {
        let mut numbers = text.split(|&byte| byte == b',').map(number);
        let mut map = Self::default();
        while let Some(offset) = numbers.next() {
            let size = numbers.next().ok_or_else(broken)?;
            map.push(offset?, size?)?;
        }
        Ok(map)
    }

    /// Adds a segment.
    pub(crate) fn push(&mut self, offset: u64, size: u64) -> io::Result<()> {
        if self.parts.len() >= SPARSE_PARTS {
            let why = format!("a sparse file has more than {SPARSE_PARTS} parts, the limit");
            return Err(invalid(why));
        }
        let end = offset.checked_add(size).ok_or_else(broken)?;
        if offset < self.end {
            return Err(broken());
        }
        self.end = end;
        self.stored += size;
        // An empty segment only marks the end of a file.
        if size > 0 {
            self.parts.push(Part { offset, size });
        }
        Ok(())
    }

    /// Checks the map against the size of the file and the number of stored bytes.
    pub(crate) fn check(self, size: u64, stored: u64) -> io::Result<Vec<Part>> {
        if self.end > size || self.stored > stored {
            return Err(broken());
        }
        Ok(self.parts)
    }

    /// Returns the number of stored bytes.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }
}

/// Reads a decimal number.
pub(crate) fn number(digits: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(digits).ok();
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(broken)
}

pub(crate) fn broken() -> io::Error {
    invalid("the map of a sparse file is damaged")
}
