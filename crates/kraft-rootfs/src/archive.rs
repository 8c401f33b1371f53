//! Reads untrusted newc archives entry by entry from a stream.
//!
//! Every number and every name is checked before it is used, no path leaves the root, and an error
//! has the position of the byte. Only one name and the symbolic links so far are kept in memory.
//!
//! Concatenated archives are read as Linux unpacks them (buffer-format.rst): zeros may be between
//! them, each may be compressed, and an entry below a symbolic link is placed at the target of the
//! link.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use kraft_archive::compression::{Stream, read_full, read_some};
use kraft_archive::limits;

use crate::newc::{self, Header, padding};
use crate::path::{self, PathError, join, normalise, split};
use crate::source;

/// Maximum length of the target of a symbolic link in bytes.
const LONGEST_TARGET: u32 = 4095;
const LONGEST_NAME: u32 = newc::LONGEST_NAME;
const BUFFER: usize = 64 * 1024;

/// Error of an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream itself failed.
    #[error("reading failed at byte {at}")]
    Io {
        /// Number of bytes read before.
        at: u64,
        /// The error of the stream.
        source: io::Error,
    },
    /// It ends too early.
    #[error("it ends at byte {at}, within {what}")]
    Truncated {
        /// Where it ends.
        at: u64,
        /// What should have been there.
        what: &'static str,
    },
    /// A header is missing or invalid.
    #[error("there is no valid header at byte {at}")]
    NoHeader {
        /// Where.
        at: u64,
    },
    /// A name is invalid.
    #[error("the entry at byte {at} is invalid")]
    Name {
        /// Where its header begins.
        at: u64,
        /// What is wrong with the name.
        source: PathError,
    },
    /// A name or link target is longer than any kernel accepts, or does not end.
    #[error("the entry at byte {at} has {what}")]
    Malformed {
        /// Where its header begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Symbolic links on the way to an entry form a loop.
    #[error("the symbolic links on the way to the entry at byte {at} form a loop")]
    Circle {
        /// Where its header begins.
        at: u64,
    },
    /// It exceeds a limit.
    #[error("it has more than {0}, the limit")]
    Limit(String),
    /// Data that is not an archive follows the trailer.
    #[error("there is data after the end of the archive, at byte {at}")]
    Tail {
        /// Where.
        at: u64,
    },
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link; its target is the content.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path below the root, as bytes; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with setuid, setgid and sticky.
    pub permissions: u32,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Time of its last change in seconds since 1970.
    pub mtime: u32,
    /// Size of its content in bytes.
    pub size: u32,
    /// Inode number, the same for all hard links of a file in one archive and filesystem.
    pub ino: u32,
    /// Major and minor numbers of the filesystem that it comes from.
    pub filesystem: (u32, u32),
    /// Number of its archive among concatenated ones, from 0.
    pub archive: u32,
    /// Number of names of the file.
    pub nlink: u32,
    /// Major and minor numbers of a device.
    pub device: (u32, u32),
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
}

/// Reads an archive from a stream; its [`Read`] returns the content of the current entry.
///
/// ```
/// use kraft_rootfs::archive::{Kind, Reader};
/// use kraft_rootfs::{Options, Source, build};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::create_dir(dir.path().join("root"))?;
/// std::fs::write(dir.path().join("root/hello"), "Hello")?;
/// let out = dir.path().join("root.cpio");
/// build(&Source::detect(&dir.path().join("root"))?, &out, &Options::default(), &mut |_| {})?;
///
/// let mut reader = Reader::open(&out)?;
/// while let Some(entry) = reader.next_entry()? {
///     if entry.kind == Kind::File {
///         let mut content = Vec::new();
///         reader.copy_content(&mut content)?;
///         assert_eq!((entry.path.as_slice(), content.as_slice()), (&b"hello"[..], &b"Hello"[..]));
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    at: u64,
    /// Unread bytes of the current entry's content, and the padding after it.
    content_left: u64,
    padding_left: usize,
    /// The symbolic links so far, and their targets.
    links: HashMap<Vec<u8>, Vec<u8>>,
    entries: u64,
    archive: u32,
    /// Whether an entry was below a symbolic link.
    below_links: bool,
    /// Skips zeros to the next archive, and returns whether there is one. Without it only zeros may
    /// follow.
    follow: Option<fn(&mut R) -> io::Result<bool>>,
    ended: bool,
}

impl Reader<Stream<'static>> {
    /// Opens an archive file, compressed or not.
    pub fn open(path: &Path) -> Result<Self, crate::Error> {
        Ok(Self::of_segments(
            source::open_segments(path)?,
            Stream::next_segment,
        ))
    }
}

impl<R: Read> Reader<R> {
    /// Reads one archive from a stream.
    pub fn new(from: R) -> Self {
        Self::with(from, None)
    }

    /// Reads concatenated archives from a stream; `follow` skips from the end of one to the next.
    pub(crate) fn of_segments(from: R, follow: fn(&mut R) -> io::Result<bool>) -> Self {
        Self::with(from, Some(follow))
    }

    fn with(from: R, follow: Option<fn(&mut R) -> io::Result<bool>>) -> Self {
        Self {
            from,
            at: 0,
            content_left: 0,
            padding_left: 0,
            links: HashMap::new(),
            entries: 0,
            archive: 0,
            below_links: false,
            follow,
            ended: false,
        }
    }

    /// Returns the stream, at its current position.
    pub(crate) fn into_inner(self) -> R {
        self.from
    }

    /// Returns whether every reader of newc archives unpacks this one in the same way: it is one
    /// archive, and none of its entries is below a symbolic link.
    pub(crate) fn is_simple(&self) -> bool {
        self.archive == 0 && !self.below_links
    }

    /// Returns the next entry, and skips unread content; `None` after the last archive.
    ///
    /// # Errors
    ///
    /// If the archive is invalid or exceeds a limit, or the stream fails.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.copy_content(&mut io::sink())?;
        while !self.ended {
            let start = self.at;
            let mut bytes = [0; newc::HEADER];
            let filled = self.fill(&mut bytes, "a header");
            let header = match (filled, self.archive) {
                (Err(Error::Truncated { .. }), 1..) => None,
                (filled, _) => filled.map(|()| Header::decode(&bytes))?,
            };
            let header = header.ok_or(match self.archive {
                0 => Error::NoHeader { at: start },
                _ => Error::Tail { at: start },
            })?;
            let name = self.name(&header, start)?;
            if name != newc::TRAILER {
                return self.entry(&name, &header, start).map(Some);
            }
            // A trailer has no content, but the format allows one.
            self.content_left = u64::from(header.size);
            self.padding_left = padding(self.content_left);
            self.copy_content(&mut io::sink())?;
            if self.follows()? {
                self.archive = self.archive.saturating_add(1);
            } else {
                self.ended = true;
            }
        }
        Ok(None)
    }

    /// Skips the zeros after an archive; returns whether another one follows.
    fn follows(&mut self) -> Result<bool, Error> {
        if let Some(follow) = self.follow {
            let at = self.at;
            return follow(&mut self.from).map_err(|source| Error::Io { at, source });
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = self.some(&mut buffer)?;
            let read = buffer.get(..count).unwrap_or_default();
            if let Some(at) = read.iter().position(|&byte| byte != 0) {
                let at = self.at - count as u64 + at as u64;
                return Err(Error::Tail { at });
            }
            if count == 0 {
                return Ok(false);
            }
        }
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let at = self.at;
        let count = read_some(&mut self.from, buffer).map_err(|source| Error::Io { at, source })?;
        self.at += count as u64;
        Ok(count)
    }

    fn entry(&mut self, name: &[u8], header: &Header, start: u64) -> Result<Entry, Error> {
        let kind = kind(header.mode).ok_or(Error::Malformed {
            at: start,
            what: "a mode of no known kind",
        })?;
        self.entries += 1;
        if self.entries > limits::ENTRIES {
            return Err(Error::Limit(format!("{} entries", limits::ENTRIES)));
        }
        let path = normalise(name).map_err(|source| Error::Name { at: start, source })?;
        let path = self.place(path, start)?;
        self.content_left = u64::from(header.size);
        self.padding_left = padding(self.content_left);
        let target = if kind == Kind::Symlink {
            Some(self.target(&path, header, start)?)
        } else {
            self.links.remove(&path);
            None
        };
        Ok(Entry {
            path,
            kind,
            permissions: header.mode & newc::PERMISSIONS,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
            size: header.size,
            ino: header.ino,
            filesystem: (header.dev_major, header.dev_minor),
            archive: self.archive,
            nlink: header.nlink,
            device: (header.rdev_major, header.rdev_minor),
            target,
        })
    }

    /// Writes the content of the current entry to `out`; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// If the archive is truncated, or reading or writing fails ([`Error::Io`]).
    pub fn copy_content(&mut self, out: &mut dyn Write) -> Result<u64, Error> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(self.content_left).unwrap_or(BUFFER))];
        let mut copied = 0;
        while self.content_left > 0 {
            let most = usize::try_from(self.content_left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let part = buffer.get_mut(..most).unwrap_or_default();
            let count = read_some(&mut self.from, part).map_err(|source| Error::Io {
                at: self.at,
                source,
            })?;
            if count == 0 {
                return Err(Error::Truncated {
                    at: self.at,
                    what: "the content of a file",
                });
            }
            let part = part.get(..count).unwrap_or_default();
            out.write_all(part).map_err(|source| Error::Io {
                at: self.at,
                source,
            })?;
            self.at += count as u64;
            self.content_left -= count as u64;
            copied += count as u64;
        }
        let mut zeros = [0; 3];
        let zeros = zeros.get_mut(..self.padding_left).unwrap_or_default();
        self.padding_left = 0;
        self.fill(zeros, "the padding after a file")?;
        Ok(copied)
    }

    /// Returns the position of the content of the current entry.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Skips the content of the current entry without reading it.
    pub(crate) fn skip_content(&mut self) -> io::Result<()>
    where
        R: Seek,
    {
        let skipped = self.content_left + self.padding_left as u64;
        self.from.seek(SeekFrom::Current(skipped.cast_signed()))?;
        self.at += skipped;
        self.content_left = 0;
        self.padding_left = 0;
        Ok(())
    }

    /// Reads to the end, and the zeros that `cpio` writes to fill a block.
    pub fn finish(&mut self) -> Result<(), Error> {
        while self.next_entry()?.is_some() {}
        Ok(())
    }

    fn name(&mut self, header: &Header, start: u64) -> Result<Vec<u8>, Error> {
        if header.name_size > LONGEST_NAME {
            return Err(Error::Malformed {
                at: start,
                what: "a name longer than 4095 bytes",
            });
        }
        let mut name = vec![0; header.name_size as usize];
        self.fill(&mut name, "a name")?;
        let mut zeros = [0; 3];
        let pad = padding(newc::HEADER as u64 + u64::from(header.name_size));
        self.fill(
            zeros.get_mut(..pad).unwrap_or_default(),
            "the padding after a name",
        )?;
        if name.pop() != Some(0) {
            return Err(Error::Malformed {
                at: start,
                what: "a name without an end",
            });
        }
        Ok(name)
    }

    fn target(&mut self, path: &[u8], header: &Header, start: u64) -> Result<Vec<u8>, Error> {
        if header.size == 0 || header.size > LONGEST_TARGET {
            let what = "a link target that is empty or longer than 4095 bytes";
            return Err(Error::Malformed { at: start, what });
        }
        let mut target = Vec::new();
        self.copy_content(&mut target)?;
        self.links.insert(path.to_vec(), target.clone());
        Ok(target)
    }

    /// Returns the path of an entry after its directory is resolved through earlier links.
    fn place(&mut self, path: Vec<u8>, start: u64) -> Result<Vec<u8>, Error> {
        if self.links.is_empty() {
            return Ok(path);
        }
        let (directory, name) = split(&path);
        let link = |path: &[u8]| self.links.get(path).map(Vec::as_slice);
        let directory = path::resolve(directory, true, link);
        let directory = directory.map_err(|_| Error::Circle { at: start })?;
        let place = normalise(&join(&directory, name))
            .map_err(|source| Error::Name { at: start, source })?;
        self.below_links |= place != path;
        Ok(place)
    }

    fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), Error> {
        let at = self.at;
        let count = read_full(&mut self.from, buffer).map_err(|source| Error::Io { at, source })?;
        self.at += count as u64;
        if count < buffer.len() {
            return Err(Error::Truncated { at: self.at, what });
        }
        if self.at > limits::ROOT_FILESYSTEM {
            let most = limits::ROOT_FILESYSTEM >> 30;
            return Err(Error::Limit(format!("{most} GiB")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = read_some(&mut self.from, buffer.get_mut(..most).unwrap_or_default())?;
        self.at += count as u64;
        self.content_left -= count as u64;
        Ok(count)
    }
}

fn kind(mode: u32) -> Option<Kind> {
    Some(match mode & newc::TYPE_MASK {
        newc::DIRECTORY => Kind::Directory,
        newc::FILE => Kind::File,
        newc::SYMLINK => Kind::Symlink,
        newc::CHAR_DEVICE => Kind::CharDevice,
        newc::BLOCK_DEVICE => Kind::BlockDevice,
        newc::FIFO => Kind::Fifo,
        newc::SOCKET => Kind::Socket,
        _ => return None,
    })
}
