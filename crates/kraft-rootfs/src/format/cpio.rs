//! Writes a tree as a newc archive that Linux and Unikraft both unpack.
//!
//! So that the same content results in the same bytes: owners are 0 (unless kept), all times are one
//! given value, inode numbers are counted from 1, link counts are those of the archive, device numbers
//! of the archive's own filesystem are 0.
//!
//! A hard link shares its inode number with the other names of the file, and every name has the data:
//! Linux (init/initramfs.c) writes the same bytes into the linked file again, and Unikraft's ukcpio,
//! which does not support links, gets a whole file.
//!
//! A tree is written in its order ([`write()`]). A stream is written as it is read ([`Stream`]); if it
//! had the order of a tree, the archive is complete.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use kraft_archive::compression::read_some;

use crate::newc::{self, Header, padding};
use crate::source::directory::Opener;
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{EntryError, Error, Options, shown};

/// Size of the buffer for headers, names and small files; larger files bypass it.
const BUFFER: usize = 256 * 1024;
/// Maximum size in bytes of a file that is read at once.
const SMALL: usize = 64 * 1024;

/// Writes a whole archive; `progress` is called with the bytes of file contents written so far.
///
/// Returns the number of entries and of bytes.
pub(crate) fn write(
    tree: &Tree,
    out: &File,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), WriteError> {
    let mut writer = Writer::new(out, Inodes::of(tree), options);
    let mut entries = 0;
    for (path, node) in tree.entries() {
        writer.entry(&path, node)?;
        entries += 1;
        progress(writer.contents);
    }
    writer.trailer()?;
    writer.out.flush()?;
    Ok((entries, writer.written))
}

/// Error of writing an archive: of the archive's own file, or of a file that is added.
pub(crate) enum WriteError {
    Output(io::Error),
    Input(Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Input(error)
    }
}

/// Writes entries in any order, and records the positions of contents: further names of a file, and
/// another order, are written from these.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    writer: Writer<'a>,
    /// Positions of the headers of a file with several names.
    headers: HashMap<u64, Vec<u64>>,
    entries: u64,
}

impl<'a> Stream<'a> {
    /// Returns a stream to an empty file.
    pub(crate) fn new(out: &'a File, options: &'a Options) -> Self {
        Self {
            writer: Writer::new(out, Inodes::default(), options),
            headers: HashMap::new(),
            entries: 0,
        }
    }

    /// Writes an entry without contents, or a further name of a file that was written before.
    pub(crate) fn entry(&mut self, path: &[u8], node: &Node) -> Result<(), WriteError> {
        self.entries += 1;
        let Kind::File(content) = &node.kind else {
            return self.writer.entry(path, node);
        };
        let Place::Within { offset, .. } = &content.at else {
            return self.writer.entry(path, node);
        };
        self.file_head(path, node, content)?;
        self.writer.out.flush()?;
        let mut earlier = Positioned {
            file: self.writer.out.get_ref(),
            at: *offset,
            left: content.size,
        };
        let file = *self.writer.out.get_ref();
        let copied = io::copy(&mut earlier, &mut BufWriter::with_capacity(BUFFER, file))?;
        self.writer.written += copied;
        self.writer.pad(content.size)
    }

    /// Writes a new file of `content.size` bytes; returns their position.
    pub(crate) fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        content: &Content,
        from: &mut dyn Read,
    ) -> Result<u64, WriteError> {
        self.entries += 1;
        self.file_head(path, node, content)?;
        let offset = self.writer.written;
        let copied = io::copy(&mut from.take(content.size), &mut self.writer.out)?;
        self.writer.written += copied;
        if copied != content.size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.writer.contents += copied;
        self.writer.pad(content.size)?;
        Ok(offset)
    }

    /// Returns the number of bytes of contents written.
    pub(crate) fn contents(&self) -> u64 {
        self.writer.contents
    }

    /// Flushes the buffer, so that contents can be read.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.writer.out.flush()?)
    }

    /// Completes the archive. Returns the number of entries and of bytes.
    pub(crate) fn finish(mut self) -> Result<(u64, u64), WriteError> {
        self.writer.trailer()?;
        self.writer.out.flush()?;
        let file = *self.writer.out.get_ref();
        for headers in self.headers.values().filter(|headers| headers.len() > 1) {
            let links = u32::try_from(headers.len()).unwrap_or(u32::MAX);
            for at in headers {
                file.write_all_at(&newc::digits(links), at + newc::NLINK_AT)?;
            }
        }
        Ok((self.entries, self.writer.written))
    }

    fn file_head(&mut self, path: &[u8], node: &Node, content: &Content) -> Result<(), WriteError> {
        let at = self.writer.written;
        self.headers.entry(content.identity).or_default().push(at);
        let header = self.writer.header(node);
        self.writer.file_head(header, path, content)
    }
}

/// Reads a range of a file without changing its position for writing.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self
            .file
            .read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Inode numbers of files, and the numbers of their names.
#[derive(Debug, Default)]
struct Inodes {
    last: u32,
    /// The number of names of files that have several; in a stream, where it is not known, of none.
    names: HashMap<u64, u32>,
    /// Whether all names are known: then a file that is not among them has one.
    counted: bool,
    given: HashMap<u64, u32>,
}

impl Inodes {
    fn of(tree: &Tree) -> Self {
        let mut identities: Vec<u64> = tree
            .nodes()
            .filter_map(|node| match &node.kind {
                Kind::File(content) => Some(content.identity),
                _ => None,
            })
            .collect();
        identities.sort_unstable();
        let same = identities.chunk_by(|one, other| one == other);
        let names = same.filter_map(|same| {
            let count = u32::try_from(same.len()).unwrap_or(u32::MAX);
            let first = same.first().filter(|_| count > 1)?;
            Some((*first, count))
        });
        Self {
            names: names.collect(),
            counted: true,
            ..Self::default()
        }
    }

    fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// Returns the inode number and the link count of a file.
    fn of_file(&mut self, identity: u64) -> (u32, u32) {
        let names = self.names.get(&identity).copied();
        if self.counted && names.is_none() {
            return (self.next(), 1);
        }
        let links = names.unwrap_or(1);
        if let Some(&ino) = self.given.get(&identity) {
            return (ino, links);
        }
        let ino = self.next();
        self.given.insert(identity, ino);
        (ino, links)
    }
}

#[derive(Debug)]
struct Writer<'a> {
    out: BufWriter<&'a File>,
    written: u64,
    contents: u64,
    inodes: Inodes,
    options: &'a Options,
    opener: Opener,
    /// Buffer for small files.
    small: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a File, inodes: Inodes, options: &'a Options) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
            written: 0,
            contents: 0,
            inodes,
            options,
            opener: Opener::default(),
            small: vec![0; SMALL + 1],
        }
    }

    fn entry(&mut self, path: &[u8], node: &Node) -> Result<(), WriteError> {
        let mut header = self.header(node);
        match &node.kind {
            Kind::Directory => {
                header.mode |= newc::DIRECTORY;
                header.nlink = 2;
                header.ino = self.inodes.next();
                self.head(header, path)
            }
            Kind::File(content) => self.file(header, path, content),
            Kind::Symlink(target) => {
                let size = u32::try_from(target.len()).unwrap_or(u32::MAX);
                let ino = self.inodes.next();
                let mode = newc::SYMLINK | 0o777;
                self.head(
                    Header {
                        ino,
                        mode,
                        size,
                        ..header
                    },
                    path,
                )?;
                self.bytes(target)?;
                self.pad(target.len() as u64)
            }
            Kind::CharDevice { major, minor } => {
                self.device(header, newc::CHAR_DEVICE, (*major, *minor), path)
            }
            Kind::BlockDevice { major, minor } => {
                self.device(header, newc::BLOCK_DEVICE, (*major, *minor), path)
            }
            Kind::Fifo => self.device(header, newc::FIFO, (0, 0), path),
        }
    }

    fn header(&self, node: &Node) -> Header {
        let owners = if self.options.keep_owners {
            (node.uid, node.gid)
        } else {
            (0, 0)
        };
        Header {
            mode: node.permissions & newc::PERMISSIONS,
            uid: owners.0,
            gid: owners.1,
            nlink: 1,
            mtime: self.options.epoch.unwrap_or(0),
            ..Header::default()
        }
    }

    fn file(&mut self, header: Header, path: &[u8], content: &Content) -> Result<(), WriteError> {
        self.file_head(header, path, content)?;
        self.copy(content)?;
        self.contents += content.size;
        self.pad(content.size)
    }

    fn file_head(
        &mut self,
        header: Header,
        path: &[u8],
        content: &Content,
    ) -> Result<(), WriteError> {
        let size = u32::try_from(content.size).map_err(|_| Error::Entry {
            entry: shown(path),
            source: EntryError::TooLarge(content.size),
        })?;
        let (ino, nlink) = self.inodes.of_file(content.identity);
        let mode = header.mode | newc::FILE;
        self.head(
            Header {
                ino,
                mode,
                nlink,
                size,
                ..header
            },
            path,
        )
    }

    fn device(
        &mut self,
        header: Header,
        kind: u32,
        (rdev_major, rdev_minor): (u32, u32),
        path: &[u8],
    ) -> Result<(), WriteError> {
        let ino = self.inodes.next();
        let mode = header.mode | kind;
        self.head(
            Header {
                ino,
                mode,
                rdev_major,
                rdev_minor,
                ..header
            },
            path,
        )
    }

    fn head(&mut self, header: Header, path: &[u8]) -> Result<(), WriteError> {
        self.name(header, &[b"./", path])
    }

    fn trailer(&mut self) -> Result<(), WriteError> {
        let header = Header {
            nlink: 1,
            ..Header::default()
        };
        self.name(header, &[newc::TRAILER])
    }

    fn name(&mut self, header: Header, parts: &[&[u8]]) -> Result<(), WriteError> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        let name_size = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes(
            &Header {
                name_size,
                ..header
            }
            .encode(),
        )?;
        for part in parts {
            self.bytes(part)?;
        }
        self.bytes(&[0])?;
        self.pad((newc::HEADER + length) as u64)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, length: u64) -> Result<(), WriteError> {
        let zeros = [0; 3];
        self.bytes(zeros.get(..padding(length)).unwrap_or(&zeros))
    }

    /// Copies a file's bytes; their number is that in its header.
    fn copy(&mut self, content: &Content) -> Result<(), WriteError> {
        match &content.at {
            Place::Below { directory, path } => {
                let full = || directory.full(path);
                let file = self
                    .opener
                    .open(directory, path)
                    .map_err(|error| cannot_read(&full(), error))?;
                if content.size <= SMALL as u64 {
                    return self.copy_small(&file, content.size, &full);
                }
                let full = full();
                self.copy_from(&file, content.size, &full)?;
                // A file that grew meanwhile would be truncated without an error.
                let grew =
                    read_some(&mut &file, &mut [0]).map_err(|source| cannot_read(&full, source))?;
                if grew != 0 {
                    return Err(Error::Changed { path: full }.into());
                }
                Ok(())
            }
            Place::Within { file, offset } => {
                let spool = std::path::Path::new("the unpacked archive");
                let mut file = &**file;
                file.seek(SeekFrom::Start(*offset))
                    .map_err(|source| cannot_read(spool, source))?;
                self.copy_from(file, content.size, spool)
            }
        }
    }

    /// Copies a file that is read at once, with a buffer for one more byte: a file that grew
    /// meanwhile would be truncated without an error.
    fn copy_small(
        &mut self,
        mut file: &File,
        size: u64,
        full: &dyn Fn() -> PathBuf,
    ) -> Result<(), WriteError> {
        let size = usize::try_from(size).unwrap_or(SMALL);
        let mut filled = 0;
        // Fewer bytes than requested are the end of a regular file.
        while filled < size || filled == 0 {
            let room = self.small.get_mut(filled..=size).unwrap_or_default();
            let count = read_some(&mut file, room).map_err(|error| cannot_read(&full(), error))?;
            filled += count;
            if count == 0 {
                break;
            }
        }
        if filled != size {
            return Err(Error::Changed { path: full() }.into());
        }
        self.out
            .write_all(self.small.get(..size).unwrap_or_default())?;
        self.written += size as u64;
        Ok(())
    }

    fn copy_from(
        &mut self,
        file: &File,
        size: u64,
        path: &std::path::Path,
    ) -> Result<(), WriteError> {
        // Both ends are files, so the standard library lets the kernel copy. An error may be of
        // either end: a full disk is the archive's, anything else the file's.
        let copied = io::copy(&mut file.take(size), &mut self.out).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::Output(error),
            _ => cannot_read(path, error).into(),
        })?;
        self.written += copied;
        if copied == size {
            Ok(())
        } else {
            Err(Error::Changed {
                path: path.to_owned(),
            }
            .into())
        }
    }
}

fn cannot_read(path: &std::path::Path, source: io::Error) -> Error {
    kraft_sys::fs::Error::on("read", path)(source).into()
}
