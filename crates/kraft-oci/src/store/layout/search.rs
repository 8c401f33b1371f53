//! Searches `references` for a few blobs.
//!
//! The file has some 170 bytes per image. It is read in parts that stay in the cache of a processor,
//! each of which is checked and searched at once: most of the time went into memory for all of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crc32fast::Hasher;
use kraft_core::reference::Digest;
use kraft_sys::amend::Version;
use kraft_sys::fs;
use memchr::{memchr, memrchr};

use super::digits::Few;
use super::lines::{LARGEST, RECENT, lines, short};
use super::seal;

/// Documents that are looked for in the names before all names are compared with all lines.
const FEW: usize = 16;
/// Bytes that are read at once.
const PART: usize = 64 << 10;

/// Returns those of some blobs that names lead to; `None` if that needs a comparison of all lines with
/// all names, since the last seal does not hold for this version of the names, or the file is damaged
/// or has grown too much. `mentions` returns whether a name leads to a target, by its digits.
pub(super) fn search(
    path: &Path,
    names: Version,
    mentions: impl Fn(&[u8]) -> io::Result<bool>,
    blobs: &BTreeSet<Digest>,
) -> Option<HashSet<Digest>> {
    let mut parts = Parts::open(path, names)?;
    let wanted = Few::of(blobs.iter().map(|blob| short(blob).as_bytes()));
    let mut used = HashSet::new();
    let mut looked_up: HashMap<Vec<u8>, bool> = HashMap::new();
    // One pass for all of them: a search for each takes longer.
    while let Some(part) = parts.next().ok()? {
        for (target, entries) in lines(part) {
            for (digits, absent) in entries {
                let Some(digits) = wanted.get(digits) else {
                    continue;
                };
                if used.contains(digits) && !absent {
                    continue;
                }
                let is_named = match looked_up.get(target) {
                    Some(is_named) => *is_named,
                    None if looked_up.len() >= FEW => return None,
                    None => mentions(target).ok()?,
                };
                looked_up.insert(target.to_vec(), is_named);
                match (is_named, absent) {
                    // It has arrived since.
                    (true, true) => return None,
                    (true, false) => drop(used.insert(digits)),
                    (false, _) => {}
                }
            }
        }
    }
    if !parts.are_intact() {
        return None;
    }
    let blobs = blobs
        .iter()
        .filter(|blob| used.contains(short(blob).as_bytes()));
    Some(blobs.cloned().collect())
}

/// The file, in parts of whole lines.
struct Parts {
    file: File,
    /// What was read: lines that were returned, lines to return, and the start of one.
    buffer: Vec<u8>,
    /// Where the lines to return begin.
    next: usize,
    /// How many bytes were read.
    read: u64,
    /// The CRC of the bytes before the last seal, and what it should be.
    crc: Hasher,
    expected: u32,
    /// Where the last seal is, and where the first one is.
    last_seal: u64,
    first_seal: Option<u64>,
    /// Whether a byte is zero where no CRC covers it.
    has_zeros: bool,
}

impl Parts {
    /// Opens the file, if its last seal holds for this version of the names.
    fn open(path: &Path, names: Version) -> Option<Self> {
        let file = fs::open_file(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut tail = vec![0; usize::try_from(length.min(RECENT)).ok()?];
        let start = length - tail.len() as u64;
        file.read_exact_at(&mut tail, start).ok()?;
        let (at, seal) = seal::last(&tail)?;
        (seal.names == names && length <= LARGEST).then(|| Self {
            file,
            buffer: Vec::with_capacity(2 * PART),
            next: 0,
            read: 0,
            crc: Hasher::new(),
            expected: seal.file,
            last_seal: start + at as u64,
            first_seal: None,
            has_zeros: false,
        })
    }

    /// Returns the next whole lines; `None` at the end.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..std::mem::take(&mut self.next));
        loop {
            let kept = self.buffer.len();
            let count = (&self.file)
                .take(PART as u64)
                .read_to_end(&mut self.buffer)?;
            self.check(kept);
            self.read += count as u64;
            let new = self.buffer.get(kept..).unwrap_or_default();
            if let Some(end) = memrchr(b'\n', new) {
                self.next = kept + end + 1;
                return Ok(self.buffer.get(..self.next));
            }
            // The line of a large image is longer than a part.
            if count == 0 || self.read > LARGEST {
                return Ok(None);
            }
        }
    }

    /// Takes note of what is in the buffer from here on.
    fn check(&mut self, from: usize) {
        let new = self.buffer.get(from..).unwrap_or_default();
        let sealed = usize::try_from(self.last_seal.saturating_sub(self.read));
        let (sealed, rest) = new.split_at(sealed.unwrap_or(usize::MAX).min(new.len()));
        self.crc.update(sealed);
        self.has_zeros |= memchr(0, rest).is_some();
        if self.first_seal.is_none() {
            let found = memchr(seal::MARK, new).map(|at| self.read + at as u64);
            self.first_seal = found;
        }
    }

    /// Returns whether all of it is as it was written, and not too much, once all was read.
    fn are_intact(self) -> bool {
        self.crc.finalize() == self.expected
            && !self.has_zeros
            && !seal::is_grown(self.read, self.first_seal.unwrap_or_default())
    }
}
