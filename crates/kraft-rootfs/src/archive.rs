//! Reads newc archives, whoever wrote them, entry by entry, from any stream.
//!
//! Every number and every name is checked before it is used, no path leaves the root, and an
//! error says at which byte. Nothing is kept in memory but one name and the symbolic links seen.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::newc::{self, Header, padding};
use crate::path::{PathFault, normalise, parents};
use crate::{shown, source};

/// The longest symbolic link target in bytes, and the longest name with its zero, plus what a
/// leading `./` and the like may add.
const LONGEST_TARGET: u32 = 4095;
const LONGEST_NAME: u32 = 4096 + 64;
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
    /// An entry would be unpacked through a symbolic link.
    #[error("the entry at byte {at}, `{path}`, lies behind the symbolic link `{link}`")]
    ThroughLink {
        /// Where its header begins.
        at: u64,
        /// Its path.
        path: String,
        /// The link.
        link: String,
    },
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
    /// Number of the file, the same for all its hard links.
    pub ino: u32,
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
    links: HashSet<Vec<u8>>,
    ended: bool,
}

impl Reader<Box<dyn Read>> {
    /// Opens an archive file, compressed or not.
    pub fn open(path: &Path) -> Result<Self, crate::Error> {
        Ok(Self::new(source::open(path)?.1))
    }
}

impl<R: Read> Reader<R> {
    /// Reads from a stream that stands at the beginning of an archive.
    pub fn new(from: R) -> Self {
        Self {
            from,
            at: 0,
            content_left: 0,
            padding_left: 0,
            links: HashSet::new(),
            ended: false,
        }
    }

    /// Returns the next entry, passing over content that was not read; `None` at the trailer.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.copy_content(&mut io::sink())?;
        if self.ended {
            return Ok(None);
        }
        let start = self.at;
        let mut bytes = [0; newc::HEADER];
        self.fill(&mut bytes, "a header")?;
        let header = Header::decode(&bytes).ok_or(Error::NoHeader { at: start })?;
        let name = self.name(&header, start)?;
        if name == newc::TRAILER {
            self.ended = true;
            return Ok(None);
        }
        let path = normalise(&name).map_err(|source| Error::Name { at: start, source })?;
        self.check_way(&path, start)?;
        self.content_left = u64::from(header.size);
        self.padding_left = padding(self.content_left);
        let kind = kind(header.mode).ok_or(Error::Malformed {
            at: start,
            what: "a mode of no known kind",
        })?;
        let target = if kind == Kind::Symlink {
            Some(self.target(&path, &header, start)?)
        } else {
            None
        };
        Ok(Some(Entry {
            path,
            kind,
            permissions: header.mode & newc::PERMISSIONS,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
            size: header.size,
            ino: header.ino,
            nlink: header.nlink,
            device: (header.rdev_major, header.rdev_minor),
            target,
        }))
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
            let count = self.from.read(part).map_err(|source| Error::Io {
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

    /// Reads what follows the trailer, to the end: zeros, which `cpio` writes to fill a block.
    pub fn finish(&mut self) -> Result<(), Error> {
        while self.next_entry()?.is_some() {}
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = self.from.read(&mut buffer).map_err(|source| Error::Io {
                at: self.at,
                source,
            })?;
            if count == 0 {
                return Ok(());
            }
            let read = buffer.get(..count).unwrap_or_default();
            if let Some(at) = read.iter().position(|&byte| byte != 0) {
                return Err(Error::Tail {
                    at: self.at + at as u64,
                });
            }
            self.at += count as u64;
        }
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
        self.links.insert(path.to_vec());
        Ok(target)
    }

    /// Refuses a path that an earlier symbolic link would lead elsewhere.
    fn check_way(&self, path: &[u8], start: u64) -> Result<(), Error> {
        match parents(path).find(|parent| self.links.contains(*parent)) {
            Some(link) => Err(Error::ThroughLink {
                at: start,
                path: shown(path),
                link: shown(link),
            }),
            None => Ok(()),
        }
    }

    fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => return Err(Error::Truncated { at: self.at, what }),
                Ok(count) => {
                    filled += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Io {
                        at: self.at,
                        source,
                    });
                }
            }
        }
        Ok(())
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

/// Reads arbitrary bytes as an archive to the end, and says whether they are one: the body of the
/// fuzz target.
pub fn exercise(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut parts = entry.path.split(|&byte| byte == b'/');
        assert!(
            entry.path.is_empty() || parts.all(|part| !matches!(part, b"" | b"." | b"..")),
            "{entry:?} leads out of the root"
        );
        if reader.copy_content(&mut io::sink()).is_err() {
            return false;
        }
    }
    reader.finish().is_ok()
}
