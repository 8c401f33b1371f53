//! Reads tarballs entry by entry: old, POSIX ustar and PAX, GNU, with sparse files of every form.
//!
//! The `tar` crate decodes the header blocks. This module reads everything between them, because that
//! crate keeps headers of any size in memory, supports only the oldest form of sparse files, and
//! drops long names after an unusual magic.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use ::tar::Header;

use crate::compression::{read_full, read_some};
use crate::limits::{self, invalid};
use crate::sparse::{self, Map, Part, broken};

const BLOCK: usize = 512;
/// Positions of the fields of a header.
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
/// Position of the first four segments of an old GNU sparse file in its header.
const SPARSE_AT: usize = 386;
/// Size of one segment in a header, in bytes: two numbers.
const SPARSE_PART: usize = 24;
/// Position of the flag that blocks with more segments follow.
const SPARSE_MORE_AT: usize = 482;
/// Position of the size of the whole file.
const SPARSE_SIZE_AT: usize = 483;
/// Number of segments in a block that follows the header.
const SPARSE_PARTS_IN_BLOCK: usize = 21;

/// Limits of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of entries.
    pub entries: u64,
    /// Maximum size of all files, as they would be written, in bytes.
    pub bytes: u64,
}

impl Limits {
    /// Limits of root filesystems and images.
    pub const ROOT_FILESYSTEM: Self = Self {
        entries: limits::ENTRIES,
        bytes: limits::ROOT_FILESYSTEM,
    };
    /// Limits of components.
    pub const COMPONENT: Self = Self {
        entries: limits::ENTRIES,
        bytes: limits::COMPONENT,
    };
}

/// Use of the limits so far. Tarballs that become one tree, such as the layers of an image, share a
/// budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limits: Limits,
    entries: u64,
    bytes: u64,
    holes: u64,
    /// Bytes of the tarballs.
    read: u64,
}

impl From<Limits> for Budget {
    fn from(limits: Limits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
            holes: 0,
            read: 0,
        }
    }
}

impl Budget {
    fn entry(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let most = self.limits.entries;
            return Err(invalid(format!(
                "it has more than {most} entries, the limit"
            )));
        }
        Ok(())
    }

    /// Counts a file of `size` bytes, of which `data` are stored, before anything of it is read.
    fn file(&mut self, size: u64, data: u64) -> io::Result<()> {
        self.holes = self.holes.saturating_add(size.saturating_sub(data));
        if self.holes > limits::expanded(self.read) {
            return Err(limits::expands_too_far());
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            let most = self.limits.bytes >> 30;
            return Err(invalid(format!(
                "its files have more than {most} GiB, the limit"
            )));
        }
        Ok(())
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// Any other type.
    Other(u8),
}

/// An entry. Its content is read from the [`Reader`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in the archive, unchanged: it may be absolute or contain `..`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its mode.
    pub mode: u32,
    /// Its user id.
    pub uid: u64,
    /// Its group id.
    pub gid: u64,
    /// Size of its content in bytes, with holes filled.
    pub size: u64,
    /// Target of a link; empty for anything else.
    pub link: Vec<u8>,
    /// Major and minor numbers of a device.
    pub device: (u32, u32),
    /// Whether its content has holes.
    pub is_sparse: bool,
}

/// Reads a tarball; its [`Read`] returns the content of the current entry.
///
/// ```
/// use kraft_archive::tar::{Limits, Reader};
///
/// // Two blocks of zeros are the end of a tarball.
/// let mut reader = Reader::new(&[0; 1024][..], Limits::COMPONENT);
/// assert!(reader.next_entry()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    /// Bytes read or skipped so far.
    at: u64,
    budget: Budget,
    global: Owner,
    content: Content,
    ended: bool,
}

/// The unread rest of the current entry.
#[derive(Debug, Default)]
struct Content {
    /// Stored bytes that were not read yet, and the padding after them.
    stored: u64,
    padding: u64,
    /// Number of bytes read, and size of the content.
    at: u64,
    size: u64,
    /// The remaining stored segments, the next one last.
    parts: Vec<Part>,
}

/// Owners in a PAX header.
#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    uid: Option<u64>,
    gid: Option<u64>,
}

/// Properties from the headers before an entry.
#[derive(Debug, Default)]
struct Described {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    owner: Owner,
    sparse: Sparse,
}

/// Properties of a sparse file in PAX records.
#[derive(Debug, Default)]
struct Sparse {
    /// Version 0.0: segments one by one, and the offset of one whose size follows.
    listed: Option<Map>,
    offset: Option<u64>,
    /// Version 0.1.
    map: Option<Map>,
    /// Version 1.0: the map is at the start of the data.
    in_data: bool,
    size: Option<u64>,
    name: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Reads from a stream.
    pub fn new(from: R, budget: impl Into<Budget>) -> Self {
        Self::with_skip(from, budget.into(), |from, count| {
            let passed = io::copy(&mut from.take(count), &mut io::sink())?;
            if passed == count { Ok(()) } else { Err(cut()) }
        })
    }

    fn with_skip(from: R, budget: Budget, skip: fn(&mut R, u64) -> io::Result<()>) -> Self {
        Self {
            from,
            skip,
            at: 0,
            budget,
            global: Owner::default(),
            content: Content::default(),
            ended: false,
        }
    }

    /// Returns the next entry, and skips unread content; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the tarball cannot be read, is damaged, or exceeds the limits.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let rest = std::mem::take(&mut self.content);
        self.pass(rest.stored.saturating_add(rest.padding))?;
        let mut described = Described::default();
        let mut room = limits::ENTRY_HEADERS;
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let kind = header.entry_type().as_byte();
            if !matches!(kind, b'L' | b'K' | b'x' | b'X' | b'g') {
                return self.entry(&header, described).map(Some);
            }
            let size = numeric(&header, SIZE)?;
            let text = self.extension(size, &mut room)?;
            match kind {
                b'L' => described.path = Some(until_zero(&text)),
                b'K' => described.link = Some(until_zero(&text)),
                b'g' => {
                    let mut global = Described::default();
                    global.records(&text)?;
                    self.global.take(global.owner);
                }
                _ => described.records(&text)?,
            }
        }
    }

    /// Returns where the content of the current entry begins in the stream.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Returns what was taken of the limits.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Returns the stream, at whatever follows what was read.
    pub fn into_inner(self) -> R {
        self.from
    }

    /// Reads a header block; `None` at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let count = read_full(&mut self.from, block)?;
        self.passed(count as u64);
        if count == 0 || (count == BLOCK && block.iter().all(|&byte| byte == 0)) {
            self.ended = true;
            return Ok(None);
        }
        if count < BLOCK {
            return Err(cut());
        }
        if !is_sound(&header) {
            return Err(invalid("a header has a wrong checksum"));
        }
        Ok(Some(header))
    }

    /// Reads the content of a header that only describes the next one.
    fn extension(&mut self, size: u64, room: &mut u64) -> io::Result<Vec<u8>> {
        let takes = size.saturating_add(BLOCK as u64);
        *room = room.checked_sub(takes).ok_or_else(|| {
            let most = limits::ENTRY_HEADERS >> 20;
            invalid(format!(
                "the headers of an entry have more than {most} MiB, the limit"
            ))
        })?;
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        self.fill(&mut text)?;
        self.pass(padding(size))?;
        Ok(text)
    }

    fn entry(&mut self, header: &Header, described: Described) -> io::Result<Entry> {
        self.budget.entry()?;
        let kind = header.entry_type().as_byte();
        let link = described.link.unwrap_or_else(|| {
            let name = header.link_name_bytes();
            name.map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        let path = described.sparse.name.clone().or(described.path);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match kind {
            // In archives from before POSIX a final slash marks a directory.
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        };
        let stored = match header.entry_type().as_byte() {
            // These have no content, whatever the field says (POSIX.1-2017, pax, "size").
            b'1'..=b'6' => 0,
            _ => match described.size {
                Some(size) => size,
                None => numeric(header, SIZE)?,
            },
        };
        let owner = Owner {
            uid: described.owner.uid.or(self.global.uid),
            gid: described.owner.gid.or(self.global.gid),
        };
        let map = self.map(header, described.sparse, stored)?;
        let is_sparse = map.is_some();
        self.content = match map {
            Some(content) => content,
            None => Content {
                stored,
                padding: padding(stored),
                at: 0,
                size: stored,
                parts: vec![Part {
                    offset: 0,
                    size: stored,
                }],
            },
        };
        let size = if kind == Kind::File {
            self.content.size
        } else {
            0
        };
        let data = self.content.parts.iter().map(|part| part.size).sum();
        self.budget.file(size, data)?;
        if kind != Kind::File {
            self.content.size = 0;
        }
        Ok(Entry {
            path,
            kind,
            mode: u32::try_from(numeric(header, MODE)?).unwrap_or(u32::MAX),
            uid: owner.uid.or(numeric(header, UID).ok()).unwrap_or(0),
            gid: owner.gid.or(numeric(header, GID).ok()).unwrap_or(0),
            size,
            link,
            device: (device(header, MAJOR), device(header, MINOR)),
            is_sparse,
        })
    }

    /// Reads the map of a sparse file of any form; `None` for any other file.
    fn map(
        &mut self,
        header: &Header,
        sparse: Sparse,
        mut stored: u64,
    ) -> io::Result<Option<Content>> {
        let pad = padding(stored);
        let (map, size) = if header.entry_type().as_byte() == b'S' {
            let (map, size) = self.old_map(header.as_bytes())?;
            (map, Some(size))
        } else if sparse.in_data {
            (self.map_in_data(&mut stored)?, sparse.size)
        } else if let Some(map) = sparse.map.or(sparse.listed) {
            (map, sparse.size)
        } else {
            return Ok(None);
        };
        let size = size.ok_or_else(broken)?;
        if map.stored() > stored {
            return Err(broken());
        }
        let mut parts = map.check(size, stored)?;
        parts.reverse();
        Ok(Some(Content {
            stored,
            padding: pad,
            at: 0,
            size,
            parts,
        }))
    }

    /// Reads the map of an old GNU sparse file: in its header, and in blocks after it.
    fn old_map(&mut self, header: &[u8; BLOCK]) -> io::Result<(Map, u64)> {
        let mut map = Map::default();
        let slots = |block: &[u8; BLOCK], at: usize, count: usize| -> io::Result<Vec<(u64, u64)>> {
            let mut found = Vec::new();
            for slot in block
                .get(at..)
                .unwrap_or_default()
                .chunks_exact(SPARSE_PART)
                .take(count)
            {
                let (offset, size) = slot.split_at(SPARSE_PART / 2);
                if offset.first().is_none_or(|&byte| byte == 0) {
                    break;
                }
                let offset = field(offset).ok_or_else(broken)?;
                found.push((offset, field(size).ok_or_else(broken)?));
            }
            Ok(found)
        };
        for (offset, size) in slots(header, SPARSE_AT, 4)? {
            map.push(offset, size)?;
        }
        let size = header.get(SPARSE_SIZE_AT..SPARSE_SIZE_AT + 12);
        let size = size.and_then(field).ok_or_else(broken)?;
        let mut more = header.get(SPARSE_MORE_AT).is_some_and(|&byte| byte != 0);
        let mut blocks = 0;
        while more {
            blocks += 1;
            if blocks > limits::SPARSE_PARTS / SPARSE_PARTS_IN_BLOCK {
                return Err(broken());
            }
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            for (offset, size) in slots(&block, 0, SPARSE_PARTS_IN_BLOCK)? {
                map.push(offset, size)?;
            }
            more = block
                .get(SPARSE_PARTS_IN_BLOCK * SPARSE_PART)
                .is_some_and(|&byte| byte != 0);
        }
        Ok((map, size))
    }

    /// Reads the map at the start of the data (PAX 1.0): decimal numbers, a line each, padded to a
    /// block.
    fn map_in_data(&mut self, stored: &mut u64) -> io::Result<Map> {
        let mut text = Vec::new();
        let mut map = Map::default();
        let (mut wanted, mut offset) = (None, None);
        while wanted != Some(0) {
            *stored = stored.checked_sub(BLOCK as u64).ok_or_else(broken)?;
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            for byte in block {
                if wanted == Some(0) {
                    break;
                }
                if byte != b'\n' {
                    text.push(byte);
                    continue;
                }
                let number = sparse::number(&text)?;
                text.clear();
                match (wanted, offset.take()) {
                    (None, _) => wanted = Some(number),
                    (Some(_), None) => offset = Some(number),
                    (Some(left), Some(offset)) => {
                        map.push(offset, number)?;
                        wanted = Some(left - 1);
                    }
                }
            }
            if text.len() > BLOCK {
                return Err(broken());
            }
        }
        Ok(map)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let count = read_full(&mut self.from, buffer)?;
        self.passed(count as u64);
        if count == buffer.len() {
            Ok(())
        } else {
            Err(cut())
        }
    }

    fn passed(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
        self.budget.read = self.budget.read.saturating_add(count);
    }

    fn pass(&mut self, count: u64) -> io::Result<()> {
        if count > 0 {
            (self.skip)(&mut self.from, count)?;
            self.passed(count);
        }
        Ok(())
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads from a file, and skips contents without reading them.
    pub fn seeking(from: R, budget: impl Into<Budget>) -> Self {
        Self::with_skip(from, budget.into(), |from, count| {
            let by = i64::try_from(count).map_err(|_| cut())?;
            from.seek(SeekFrom::Current(by)).map(drop)
        })
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content = &mut self.content;
        let end = match content.parts.last() {
            Some(part) if part.offset > content.at => part.offset,
            Some(part) => part.offset + part.size,
            None => content.size,
        };
        let most = end.min(content.size).saturating_sub(content.at);
        let most = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        let stored = content
            .parts
            .last()
            .is_some_and(|part| part.offset <= content.at);
        let count = if stored {
            let count = read_some(&mut self.from, part)?;
            if count == 0 {
                return Err(cut());
            }
            content.stored = content.stored.saturating_sub(count as u64);
            count
        } else {
            part.fill(0);
            most
        };
        content.at += count as u64;
        if stored && content.at == end {
            content.parts.pop();
        }
        if stored {
            self.passed(count as u64);
        }
        Ok(count)
    }
}

impl Owner {
    fn take(&mut self, other: Self) {
        self.uid = other.uid.or(self.uid);
        self.gid = other.gid.or(self.gid);
    }
}

impl Described {
    /// Reads the records of a PAX header: `LENGTH KEY=VALUE\n`, the length counting all of it.
    fn records(&mut self, mut text: &[u8]) -> io::Result<()> {
        let damaged = || invalid("a PAX header is damaged");
        while !text.is_empty() && text.first() != Some(&0) {
            let blank = text
                .iter()
                .position(|&byte| byte == b' ')
                .ok_or_else(damaged)?;
            let (digits, _) = text.split_at(blank);
            let length = sparse::number(digits).map_err(|_| damaged())?;
            let length = usize::try_from(length).map_err(|_| damaged())?;
            let record = text.get(blank + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record
                .iter()
                .position(|&byte| byte == b'=')
                .ok_or_else(damaged)?;
            let (key, value) = record.split_at(equals);
            self.record(key, value.get(1..).unwrap_or_default())?;
            text = text.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let number = || {
            let number = sparse::number(value);
            number.map_err(|_| invalid("a PAX header has an invalid number"))
        };
        let sparse = &mut self.sparse;
        match key {
            // An empty value removes an earlier one.
            b"path" => self.path = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"linkpath" => self.link = Some(value.to_vec()).filter(|value| !value.is_empty()),
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(number()?),
            b"uid" => self.owner.uid = number().ok(),
            b"gid" => self.owner.gid = number().ok(),
            b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.size = Some(number()?),
            b"GNU.sparse.major" => sparse.in_data = number()? == 1,
            b"GNU.sparse.map" => sparse.map = Some(Map::of_list(value)?),
            b"GNU.sparse.numblocks" => sparse.listed = Some(Map::default()),
            b"GNU.sparse.offset" => sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = sparse.offset.take().ok_or_else(broken)?;
                let map = sparse.listed.get_or_insert_default();
                map.push(offset, number()?)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Parses a numeric field of a header: octal digits, or a binary number after a first byte of 0x80. A
/// blank one is 0.
fn field(bytes: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = bytes {
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        let number = low
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte));
        return high.iter().all(|&byte| byte == 0).then_some(number);
    }
    let text = until_zero(bytes);
    text.trim_ascii()
        .iter()
        .try_fold(0u64, |number, &digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
}

/// Parses a numeric field that every form of header has at the same position.
fn numeric(header: &Header, at: Range<usize>) -> io::Result<u64> {
    let bytes = header.as_bytes().get(at).unwrap_or_default();
    field(bytes).ok_or_else(|| invalid("a header has an invalid number"))
}

/// Returns a device number; 0 if the field is invalid, as some programs leave it.
fn device(header: &Header, at: Range<usize>) -> u32 {
    let number = numeric(header, at).ok();
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

fn until_zero(bytes: &[u8]) -> Vec<u8> {
    bytes
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() & (BLOCK as u64 - 1)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is truncated")
}

/// Returns whether bytes begin with a header: by its magic, or by its checksum, which headers from
/// before POSIX have as well.
///
/// ```
/// assert!(!kraft_archive::tar::is_header(b"not a tarball"));
/// ```
pub fn is_header(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<BLOCK>() else {
        return false;
    };
    if block.get(257..262) == Some(b"ustar") {
        return true;
    }
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    block.first().is_some_and(|&byte| byte != 0) && is_sound(&header)
}

/// Returns whether the checksum of a header is right. Some old programs added signed bytes.
fn is_sound(header: &Header) -> bool {
    let sum = |of: fn(u8) -> i64| -> i64 {
        let bytes = header.as_bytes().iter().enumerate();
        bytes
            .map(|(at, &byte)| of(if CHECKSUM.contains(&at) { b' ' } else { byte }))
            .sum()
    };
    let sums = [sum(i64::from), sum(|byte| i64::from(byte.cast_signed()))];
    header
        .cksum()
        .is_ok_and(|sum| sums.contains(&i64::from(sum)))
}
