//! Where names and digests are in `index.json`: `positions`, a cache of it, so that one name is found
//! and changed without reading the others.
//!
//! ```text
//! positions BOOT VERSION SORTED ADDED CRC    which index.json it describes, and the numbers of lines
//! KEY OFFSET LENGTH                          each name and digest of each entry, sorted by key
//! KEY OFFSET LENGTH                          those of entries that were added since
//! ```
//!
//! A key is 32 bits of a digest, or the CRC of a name. Every answer is read again in `index.json`, so
//! that a line too many costs a read; none is missing where [version](Version) and boot are those of
//! the first line. The file is not flushed to disk, so it counts for nothing after another boot. It
//! is written as a whole with an `index.json` that was, and from [`WORTH`] on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kraft_core::reference::Reference;
use kraft_sys::amend::{Amendable, Edit, Version};
use kraft_sys::{clock, fs};
use memchr::memmem;

use super::super::{Error, Named};
use super::names::{self, BETWEEN, HEAD, PREFIX, TAIL, Text, named};
use crate::image::annotation;

/// Size of `index.json` in bytes from which the file is written: that of some 200 names.
pub(super) const WORTH: u64 = 64 << 10;
/// The first word of the file.
const MARK: &str = "positions";
/// Size of the first line in bytes, filled with blanks.
const HEADER: usize = 128;
/// Size of another line in bytes.
const RECORD: usize = 27;
/// Digits of a key.
const KEY: usize = 8;
/// Lines that were added, from which `index.json` is written as a whole again.
const MOST_ADDED: u64 = 512;

/// An entry of `index.json`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    at: u64,
    end: u64,
    /// What it says.
    pub(super) named: Named,
}

/// A change of one name.
#[derive(Clone, Debug, Default)]
pub(super) struct Amendment {
    edits: Vec<Edit>,
    length: u64,
    /// The entry that is added, and its place.
    added: Option<(u64, Vec<u8>)>,
}

/// The file, with the `index.json` that it describes.
#[derive(Debug)]
pub(super) struct Positions {
    dir: PathBuf,
    index: File,
    version: Version,
    file: File,
    sorted: u64,
    added: u64,
    /// The lines that were added.
    tail: Vec<u8>,
}

impl Positions {
    /// Opens the file; `None` if it does not describe `index.json` as it is.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let index = fs::open_file(&names::path(dir)).ok()?;
        let version = Version::of(&index).ok()?;
        if version.length() < WORTH {
            return None;
        }
        let file = fs::open_file(&path(dir)).ok()?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        let (sorted, added) = numbers_in(std::str::from_utf8(&header).ok()?, version)?;
        if added > 2 * MOST_ADDED || file.metadata().ok()?.len() < place(sorted + added) {
            return None;
        }
        let mut tail = vec![0; usize::try_from(added).ok()? * RECORD];
        file.read_exact_at(&mut tail, place(sorted)).ok()?;
        Some(Self {
            dir: dir.to_owned(),
            index,
            version,
            file,
            sorted,
            added,
            tail,
        })
    }

    /// Writes the file for names, which were written as this version, if they are many. A cache that
    /// cannot be written costs time only.
    pub(super) fn create(dir: &Path, names: &Text, version: Version) {
        let Some(lines) = names.lines().filter(|_| version.length() >= WORTH) else {
            return;
        };
        let mut records: Vec<(u32, u64, u64)> = Vec::new();
        for (at, line) in lines {
            records.extend(keys_of(line).map(|key| (key, at, line.len() as u64)));
        }
        records.sort_unstable();
        let mut bytes = header(version, records.len() as u64, 0);
        bytes.reserve(records.len() * RECORD);
        for (key, at, length) in records {
            bytes.extend(record(key, at, length));
        }
        // Not in place: a process may read the one before.
        let path = path(dir);
        if fs::remove_file(&path).is_ok() {
            let _ = fs::append(&path).map(|mut file| file.write_all(&bytes));
        }
    }

    /// Returns the version of `index.json`.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Returns whether another name can be changed before everything has to be written again.
    pub(super) fn has_room(&self) -> bool {
        self.added < MOST_ADDED
    }

    /// Returns the entry of a full name: the first one, if there are several.
    pub(super) fn find(&self, name: &Reference) -> io::Result<Option<Entry>> {
        let mut places: Vec<(u64, u64)> = Vec::new();
        self.any(key_of_name(name.to_string().as_bytes()), |at, length| {
            places.push((at, length));
            Ok(false)
        })?;
        places.sort_unstable();
        for (at, length) in places {
            let entry = serde_json::from_slice(&self.read(at, length)?).ok();
            if let Some(found) = entry.and_then(named).filter(|found| found.name == *name) {
                let end = at + length;
                return Ok(Some(Entry {
                    at,
                    end,
                    named: found,
                }));
            }
        }
        Ok(None)
    }

    /// Returns whether an entry mentions a digest, by its hexadecimal digits.
    pub(super) fn mentions(&self, digits: &[u8]) -> io::Result<bool> {
        let Some(key) = key_of_digits(digits) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let pattern = [PREFIX, digits].concat();
        self.any(key, |at, length| {
            Ok(memmem::find(&self.read(at, length)?, &pattern).is_some())
        })
    }

    /// Passes the places of a key, until one is what is looked for.
    fn any(
        &self,
        key: u32,
        mut look: impl FnMut(u64, u64) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let (mut low, mut high) = (0, self.sorted);
        while low < high {
            let middle = low.midpoint(high);
            if self.sorted_record(middle)?.0 < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < self.sorted {
            let (found, at, length) = self.sorted_record(low)?;
            if found != key {
                break;
            }
            if look(at, length)? {
                return Ok(true);
            }
            low += 1;
        }
        let digits = format!("{key:08x}");
        for record in self.tail.chunks(RECORD) {
            if record.starts_with(digits.as_bytes()) {
                let (_, at, length) = parse(record)?;
                if look(at, length)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn sorted_record(&self, number: u64) -> io::Result<(u32, u64, u64)> {
        let mut record = [0; RECORD];
        self.file.read_exact_at(&mut record, place(number))?;
        parse(&record)
    }

    /// Reads a part of `index.json`; nothing where it ends before.
    fn read(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        if at.saturating_add(length) > self.version.length() {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.index.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Returns where the last entry ends.
    fn end(&self) -> u64 {
        self.version.length().saturating_sub(TAIL.len() as u64)
    }

    /// Replaces the entry of a name, or adds one.
    pub(super) fn put(&self, old: Option<&Entry>, entry: Vec<u8>) -> Amendment {
        let mut edits = Vec::new();
        let (at, between) = match old {
            // The last one.
            Some(old) if old.end == self.end() => (old.at, &b""[..]),
            Some(old) => {
                edits.push(blank(old));
                (self.end(), BETWEEN)
            }
            None if self.end() == HEAD.len() as u64 => (self.end(), &b""[..]),
            None => (self.end(), BETWEEN),
        };
        let bytes = [between, &entry, TAIL.as_bytes()].concat();
        let length = at + bytes.len() as u64;
        let place = at + between.len() as u64;
        edits.push(Edit { at, bytes });
        Amendment {
            edits,
            length,
            added: Some((place, entry)),
        }
    }

    /// Removes an entry.
    pub(super) fn cut(&self, old: &Entry) -> io::Result<Amendment> {
        if old.end != self.end() {
            return Ok(Amendment {
                edits: vec![blank(old)],
                length: self.version.length(),
                added: None,
            });
        }
        // What is before the last one, without its comma and blanks.
        let mut at = old.at;
        let mut bytes = [0; 512];
        let (head, step) = (HEAD.len() as u64, bytes.len() as u64);
        while at > head {
            let start = at.saturating_sub(step).max(head);
            let part = bytes
                .get_mut(..usize::try_from(at - start).unwrap_or_default())
                .unwrap_or_default();
            self.index.read_exact_at(part, start)?;
            let is_between = |byte: &u8| matches!(byte, b' ' | b',' | b'\n');
            if let Some(last) = part.iter().rposition(|byte| !is_between(byte)) {
                at = start + last as u64 + 1;
                break;
            }
            at = start;
        }
        Ok(Amendment {
            edits: vec![Edit {
                at,
                bytes: TAIL.as_bytes().to_vec(),
            }],
            length: at + TAIL.len() as u64,
            added: None,
        })
    }

    /// Writes a changed `index.json`; returns its version. The caller has the lock.
    pub(super) fn save(&self, amendment: &Amendment) -> Result<Option<Version>, Error> {
        let at = |name: &str| self.dir.join(name);
        let index = Amendable::new(&names::path(&self.dir), &at("previous"), &at("difference"));
        let version = index.amend(&self.index, &amendment.edits, amendment.length)?;
        if let Some(version) = version {
            // Where this fails, the file describes another version, and is made again.
            let _ = self.add(amendment, version);
        }
        Ok(version)
    }

    fn add(&self, amendment: &Amendment, version: Version) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path(&self.dir))?;
        let mut records = Vec::new();
        if let Some((at, line)) = &amendment.added {
            for key in keys_of(line) {
                records.extend(record(key, *at, line.len() as u64));
            }
        } else {
            // One that leads nowhere, so that removed entries count, too.
            records.extend(record(0, 0, 0));
        }
        file.write_all_at(&records, place(self.sorted + self.added))?;
        let added = self.added + (records.len() / RECORD) as u64;
        file.write_all_at(&header(version, self.sorted, added), 0)
    }
}

/// Returns blanks in the place of an entry that is not the last one: the blanks that the next line
/// begins with.
fn blank(old: &Entry) -> Edit {
    let length = usize::try_from(old.end - old.at).unwrap_or_default();
    Edit {
        at: old.at,
        bytes: vec![b' '; length + BETWEEN.len()],
    }
}

/// Returns the keys of an entry: that of its name, and those of all digests in it.
fn keys_of(line: &[u8]) -> impl Iterator<Item = u32> {
    let pattern = format!("\"{}\":\"", annotation::REF_NAME);
    let name = memmem::find(line, pattern.as_bytes())
        .and_then(|at| line.get(at + pattern.len()..))
        .and_then(|rest| rest.split(|byte| *byte == b'"').next());
    let digests = memmem::find_iter(line, PREFIX)
        .filter_map(|at| line.get(at + PREFIX.len()..))
        .filter_map(key_of_digits);
    name.map(key_of_name).into_iter().chain(digests)
}

fn key_of_name(name: &[u8]) -> u32 {
    crc32fast::hash(name)
}

/// Returns the key of a digest; `None` for other text.
fn key_of_digits(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits.get(..KEY)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

fn path(dir: &Path) -> PathBuf {
    dir.join("positions")
}

/// Returns the offset of a line behind the first.
fn place(number: u64) -> u64 {
    HEADER as u64 + number * RECORD as u64
}

fn record(key: u32, at: u64, length: u64) -> Vec<u8> {
    format!("{key:08x} {at:08x} {length:08x}\n").into_bytes()
}

fn parse(record: &[u8]) -> io::Result<(u32, u64, u64)> {
    let number = |at: usize| {
        let digits = record.get(at..at + KEY)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (key, at, length) = (number(0), number(9), number(18));
    match (key, at, length) {
        (Some(key), Some(at), Some(length)) => Ok((key, at.into(), length.into())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn header(version: Version, sorted: u64, added: u64) -> Vec<u8> {
    let text = format!("{MARK} {} {version} {sorted} {added}", clock::boot_id());
    let crc = crc32fast::hash(text.as_bytes());
    let text = format!("{text} {crc:08x}");
    format!("{text:<width$}\n", width = HEADER - 1).into_bytes()
}

/// Returns the numbers of lines in a header, if it is that of a version.
fn numbers_in(text: &str, version: Version) -> Option<(u64, u64)> {
    let mut fields = text.split_whitespace().skip(4);
    let sorted: u32 = fields.next()?.parse().ok()?;
    let added: u32 = fields.next()?.parse().ok()?;
    let numbers = (sorted.into(), added.into());
    (text.as_bytes() == header(version, numbers.0, numbers.1)).then_some(numbers)
}
