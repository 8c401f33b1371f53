//! Reads newc archives, whoever wrote them, entry by entry, from any stream.
//!
//! Every number and every name is checked before it is used, no path leaves the root, and an
//! error says at which byte. Nothing is kept in memory but one name and the symbolic links seen.
//!
//! Several archives behind each other are read as Linux unpacks them (buffer-format.rst): zeros may
//! stand between them, each may be compressed, and an entry below a symbolic link goes where the
//! link leads.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use kraft_archive::compression::{Stream, read_full, read_some};
use kraft_archive::limits;

use crate::newc::{self, Header, padding};
use crate::path::{self, PathFault, join, normalise, split};
use crate::source;

/// The longest symbolic link target in bytes.
const LONGEST_TARGET: u32 = 4095;
const LONGEST_NAME: u32 = newc::LONGEST_NAME;
const BUFFER: usize = 64 * 1024;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream itself failed.
    #[error("reading failed at byte {at}")]
    Io {
        /// How far it was read.
        at: u64,
        /// What the system said.
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
    /// There is no header where one belongs.
    #[error("there is no entry at byte {at}, where one belongs")]
    NoHeader {
        /// Where.
        at: u64,
    },
    /// A name is unusable.
    #[error("the entry at byte {at} cannot be taken")]
    Name {
        /// Where its header begins.
        at: u64,
        /// What is wrong with the name.
        source: PathFault,
    },
    /// A name or link target is longer than any kernel takes, or does not end.
    #[error("the entry at byte {at} has {what}")]
    Malformed {
        /// Where its header begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The symbolic links on the way to an entry lead in a circle.
    #[error("the symbolic links on the way to the entry at byte {at} lead in a circle")]
    Circle {
        /// Where its header begins.
        at: u64,
    },
    /// It asks for more than is allowed.
    #[error("it has more than {0}, the limit")]
    Limit(String),
    /// Something that is no archive follows the trailer.
    #[error("there is something behind the end of the archive, at byte {at}")]
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
    /// Number of its owner.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Time of its last change in seconds since 1970.
    pub mtime: u32,
    /// Bytes of content.
    pub size: u32,
    /// Number of the file, the same for all its hard links in one archive and filesystem.
    pub ino: u32,
    /// Major and minor number of the filesystem that it comes from.
    pub filesystem: (u32, u32),
    /// Which of several archives behind each other it stands in, from 0.
    pub archive: u32,
    /// How many names the file has.
    pub nlink: u32,
    /// Major and minor number, for devices.
    pub device: (u32, u32),
    /// Where a symbolic link leads.
    pub target: Option<Vec<u8>>,
}

/// Reads an archive from a stream.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    at: u64,
    /// Bytes of the current entry's content that were not read yet, and the padding behind it.
    content_left: u64,
    padding_left: usize,
    /// The symbolic links that came so far, and where they lead.
    links: HashMap<Vec<u8>, Vec<u8>>,
    entries: u64,
    archive: u32,
    /// Whether an entry stood below a symbolic link.
    below_links: bool,
    /// Goes to what follows an archive, past zeros, and returns whether something does. Without it
    /// only zeros may follow.
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

    /// Reads archives from a stream; `follow` goes from the end of one to the next.
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

    /// Returns the stream, at whatever follows what was read.
    pub(crate) fn into_inner(self) -> R {
        self.from
    }

    /// Returns whether every reader of newc archives would unpack this one in the same way: it is
    /// one archive, and none of its entries stands below a symbolic link.
    pub(crate) fn is_simple(&self) -> bool {
        self.archive == 0 && !self.below_links
    }

    /// Returns the next entry, passing over content that was not read; `None` behind the last
    /// archive.
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
            // A trailer has no content, but nobody keeps it from having one.
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

    /// Passes over the zeros behind an archive; returns whether another one follows.
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

    /// Writes the content of the current entry to `out`; returns how many bytes that were.
    ///
    /// What `out` says when it cannot take them comes back as [`Error::Io`].
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
        self.fill(zeros, "the padding behind a file")?;
        Ok(copied)
    }

    /// Returns where the content of the current entry begins.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Passes over the content of the current entry without reading it.
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

    /// Reads to the end, past the zeros that `cpio` writes to fill a block.
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
            "the padding behind a name",
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

    /// Returns where an entry goes: the links that came before lead to its directory.
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

/// Reads the content of the current entry.
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
