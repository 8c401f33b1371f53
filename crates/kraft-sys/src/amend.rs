//! Small changes of large files, whose cost does not depend on the size of the file.
//!
//! The version before the last change is kept under a second name. A change brings it up to date in
//! the few places where the two versions differ, edits it, and exchanges the names:
//!
//! ```text
//! FILE       version 7 ────────────────────────────────► FILE.previous
//! PREVIOUS   version 6 ─► 7 ─► edits: 8 ─► fsync ──────► FILE
//! ```
//!
//! So the name always leads to a whole version, as with [`fs::replace_file`], also after `kill -9` or
//! a loss of power. A version never changes while a process has it open: it is edited only under a
//! write lease (`F_SETLEASE`), which the kernel grants if the file is open nowhere else. Where there
//! is no lease, no known version before, or another program changed the file, it is copied once.
//!
//! ```
//! use kraft_sys::amend::{Amendable, Edit, Version};
//! use kraft_sys::fs;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("names");
//! fs::replace_file(&path, b"one two three")?;
//! let file = Amendable::new(&path, &dir.path().join("previous"), &dir.path().join("difference"));
//! for (text, result) in [(&b"ONE"[..], "ONE two three"), (b"1  ", "1   two three")] {
//!     let edits = [Edit { at: 0, bytes: text.to_vec() }];
//!     let version = file.amend(&fs::open_file(&path)?, &edits, 13)?;
//!     assert_eq!(fs::read_file(&path, 100)?, result.as_bytes());
//!     assert_eq!(version, Some(Version::of(&fs::open_file(&path)?)?));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::clock;
use crate::fs::{self, Error, NewFile};

/// Maximum size in bytes of the file that states where two versions differ.
const LARGEST_NOTE: u64 = 16 << 10;
/// The last field of that file: without it, its writer was killed.
const END: &str = ".";

/// A version of a file: its length in bytes and its time of modification, in nanoseconds since 1970.
///
/// Where the time was set by [`mark`](Self::mark), no other version has it: other writes leave the
/// time of the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    length: u64,
    nanos: u64,
}

impl Version {
    /// Length of its text in bytes.
    pub const TEXT: usize = 33;

    /// Returns the version of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let seconds = u64::try_from(metadata.mtime()).unwrap_or_default();
        let nanos = u64::try_from(metadata.mtime_nsec()).unwrap_or_default();
        Ok(Self {
            length: metadata.len(),
            nanos: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
        })
    }

    /// Marks the content of an open file as a version that differs from all others; `None` if the
    /// file system does not store times to the nanosecond.
    pub fn mark(file: &File) -> io::Result<Option<Self>> {
        // Odd, so that a file system that rounds times shows it.
        let now = u64::try_from(clock::now().as_nanos()).unwrap_or_default() | 1;
        let time = UNIX_EPOCH + Duration::from_nanos(now);
        file.set_times(FileTimes::new().set_modified(time))?;
        let version = Self::of(file)?;
        Ok((version.nanos == now).then_some(version))
    }

    /// Returns the length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// Two numbers of 16 hexadecimal digits.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {:016x}", self.length, self.nanos)
    }
}

/// The text is not that of a version.
#[derive(Debug, thiserror::Error)]
#[error("not a version of a file")]
pub struct BadVersion;

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let (length, nanos) = text.split_once(' ').ok_or(BadVersion)?;
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| BadVersion);
        let version = Self {
            length: number(length)?,
            nanos: number(nanos)?,
        };
        (version.to_string() == text)
            .then_some(version)
            .ok_or(BadVersion)
    }
}

/// Bytes that replace those at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Their offset.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A file whose version before the last change is kept.
#[derive(Clone, Debug)]
pub struct Amendable {
    path: PathBuf,
    previous: PathBuf,
    difference: PathBuf,
}

impl Amendable {
    /// Names the file, its version before, and a file that states where the two differ; all are in
    /// one directory.
    pub fn new(path: &Path, previous: &Path, difference: &Path) -> Self {
        Self {
            path: path.to_owned(),
            previous: previous.to_owned(),
            difference: difference.to_owned(),
        }
    }

    /// Replaces the file with what `current` contains, which is the file as the caller opened it, with
    /// edits; they include every byte behind its present length. Returns the new version, if it could
    /// be [marked](Version::mark), when content and name are on disk.
    ///
    /// The caller must hold a lock against other changes.
    pub fn amend(
        &self,
        current: &File,
        edits: &[Edit],
        length: u64,
    ) -> Result<Option<Version>, Error> {
        let base = Version::of(current).map_err(Error::on("read", &self.path))?;
        let new = match self.up_to_date(current, base) {
            Some(copy) => self.exchange(copy, edits, length)?,
            None => self.copy(current, edits, length)?,
        };
        // A note that cannot be written leaves one that does not fit, and the next change copies.
        let _ = match new {
            Some(version) => fs::overwrite(&self.difference, &note(version, base, edits)),
            None => fs::remove_file(&self.difference),
        };
        Ok(new)
    }

    /// Returns the version before, made equal to the current one, with a lease; `None` if it is not
    /// what it was left as, or is open elsewhere.
    fn up_to_date(&self, current: &File, base: Version) -> Option<File> {
        let text = fs::read_file(&self.difference, LARGEST_NOTE).ok()?;
        let note = Note::parse(std::str::from_utf8(&text).ok()?, base)?;
        let copy = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&self.previous)
            .ok()?;
        lease(&copy).ok()?;
        let (ours, theirs) = (copy.metadata().ok()?, current.metadata().ok()?);
        // Another link to it may be a backup.
        let fits = ours.is_file()
            && ours.nlink() == 1
            && (ours.mode(), ours.uid(), ours.gid()) == (theirs.mode(), theirs.uid(), theirs.gid())
            && Version::of(&copy).ok()? == note.previous;
        if !fits {
            return None;
        }
        for (at, length) in note.ranges {
            let length = length.min(base.length.saturating_sub(at));
            let mut bytes = vec![0; usize::try_from(length).ok()?];
            current.read_exact_at(&mut bytes, at).ok()?;
            copy.write_all_at(&bytes, at).ok()?;
        }
        copy.set_len(base.length).ok()?;
        Some(copy)
    }

    fn exchange(&self, copy: File, edits: &[Edit], length: u64) -> Result<Option<Version>, Error> {
        let write = || {
            let version = apply(&copy, edits, length)?;
            copy.sync_all()?;
            Ok(version)
        };
        let version = write().map_err(Error::on("write", &self.previous))?;
        // With it the lease: what opens the file from now on finds the new version.
        drop(copy);
        match renameat_with(CWD, &self.previous, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // Not on this file system. The version before is lost, and the next change copies.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::rename(&self.previous, &self.path)?;
            }
            Err(error) => return Err(Error::on("give its name to", &self.path)(error.into())),
        }
        fs::sync_dir(fs::parent(&self.path))?;
        Ok(version)
    }

    /// Writes the new version to another file, and keeps the current one as the version before.
    fn copy(
        &self,
        mut current: &File,
        edits: &[Edit],
        length: u64,
    ) -> Result<Option<Version>, Error> {
        let new = NewFile::create(&self.path)?;
        let mut write = || {
            current.seek(SeekFrom::Start(0))?;
            io::copy(&mut current, &mut new.file())?;
            apply(new.file(), edits, length)
        };
        let version = write().map_err(Error::on("write", &self.path))?;
        fs::remove_file(&self.previous)?;
        // Without it, the next change copies.
        let _ = std::fs::hard_link(&self.path, &self.previous);
        new.commit()?;
        Ok(version)
    }
}

fn apply(file: &File, edits: &[Edit], length: u64) -> io::Result<Option<Version>> {
    for edit in edits {
        file.write_all_at(&edit.bytes, edit.at)?;
    }
    file.set_len(length)?;
    Version::mark(file)
}

/// Where the version before differs from the current one.
///
/// It holds until the host is switched off: the version before is not flushed when its name changes.
#[derive(Debug)]
struct Note {
    previous: Version,
    ranges: Vec<(u64, u64)>,
}

impl Note {
    /// Reads a note; `None` if it is not about this version.
    fn parse(text: &str, current: Version) -> Option<Self> {
        let head = format!("{} {current} ", booted()?);
        let rest = text.strip_prefix(&head)?.strip_suffix(END)?;
        let (previous, ranges) = rest.split_at_checked(Version::TEXT)?;
        let range = |text: &str| {
            let (at, length) = text.split_once('+')?;
            Some((at.parse().ok()?, length.parse().ok()?))
        };
        Some(Self {
            previous: previous.parse().ok()?,
            ranges: ranges
                .split_whitespace()
                .map(range)
                .collect::<Option<_>>()?,
        })
    }
}

fn note(current: Version, previous: Version, edits: &[Edit]) -> Vec<u8> {
    let ranges = edits
        .iter()
        .map(|edit| format!("{}+{} ", edit.at, edit.bytes.len()));
    let ranges: String = ranges.collect();
    let boot = booted().unwrap_or_default();
    format!("{boot} {current} {previous} {ranges}{END}").into_bytes()
}

/// Returns the boot id; `None` if there is none.
fn booted() -> Option<String> {
    Some(clock::boot_id()).filter(|boot| !boot.is_empty())
}

/// Takes a write lease on a file: an error if it is open elsewhere. A process that opens it waits
/// until it is closed here.
#[cfg(target_os = "linux")]
fn lease(file: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    /// `fcntl(2)`; the same on every architecture.
    const F_SETSIG: libc::c_int = 10;

    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open, and both commands take numbers. A process that waits for the
    // file makes the kernel send SIGURG, which is ignored by default; SIGIO would end this process.
    #[expect(unsafe_code, reason = "no safe interface takes a lease")]
    let result = unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG);
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK)
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// There are no leases here.
#[cfg(not(target_os = "linux"))]
fn lease(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trial {
        dir: tempfile::TempDir,
        file: Amendable,
        model: Vec<u8>,
    }

    impl Trial {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            let file = Amendable::new(&at("file"), &at("previous"), &at("difference"));
            let model = vec![b'.'; 100_000];
            fs::replace_file(&file.path, &model).unwrap();
            Self { dir, file, model }
        }

        fn inode(&self, name: &str) -> u64 {
            std::fs::metadata(self.dir.path().join(name)).unwrap().ino()
        }

        /// Writes bytes at a place and returns whether that took the version before.
        fn amend(&mut self, at: usize, bytes: &[u8], length: usize) -> bool {
            let before = std::fs::metadata(&self.file.previous).map(|found| found.ino());
            self.model.resize(length.max(at + bytes.len()), 0);
            self.model[at..at + bytes.len()].copy_from_slice(bytes);
            self.model.truncate(length);
            let current = fs::open_file(&self.file.path).unwrap();
            let edits = [Edit {
                at: at as u64,
                bytes: bytes.to_vec(),
            }];
            let version = self.file.amend(&current, &edits, length as u64).unwrap();
            let new = fs::open_file(&self.file.path).unwrap();
            assert_eq!(version.unwrap(), Version::of(&new).unwrap());
            assert_eq!(std::fs::read(&self.file.path).unwrap(), self.model);
            before.is_ok_and(|before| before == self.inode("file"))
        }
    }

    #[test]
    fn changes_exchange_two_files_whatever_their_lengths() {
        let mut dir = Trial::new();
        assert!(!dir.amend(10, b"copied", 100_000));
        for (at, length) in [
            (20, 100_000),
            (100_000, 100_003),
            (5, 50),
            (50, 53),
            (0, 53),
        ] {
            assert!(dir.amend(at, b"abc", length), "{at} {length}");
        }
        assert_eq!(std::fs::read_dir(dir.dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_version_that_is_open_somewhere_does_not_change() {
        let mut dir = Trial::new();
        dir.amend(0, b"one", 100_000);
        let open = fs::open_file(&dir.file.path).unwrap();
        let model = dir.model.clone();
        assert!(
            dir.amend(0, b"two", 100_000),
            "this one is the version before only afterwards"
        );
        assert!(!dir.amend(0, b"three", 100_000));
        assert_eq!(fs::read_to_end(&open, 1 << 20).unwrap(), model);
        drop(open);
        assert!(dir.amend(0, b"four", 100_000));
    }

    #[test]
    fn a_version_with_another_name_does_not_change() {
        let mut dir = Trial::new();
        dir.amend(0, b"one", 100_000);
        let backup = dir.dir.path().join("backup");
        std::fs::hard_link(&dir.file.path, &backup).unwrap();
        let model = dir.model.clone();
        assert!(dir.amend(0, b"two", 100_000));
        assert!(!dir.amend(0, b"three", 100_000));
        assert_eq!(std::fs::read(&backup).unwrap(), model);
    }

    #[test]
    fn what_another_program_wrote_is_kept() {
        let mut dir = Trial::new();
        for (number, in_place) in [true, false, true].into_iter().enumerate() {
            dir.amend(0, b"one", 100_000);
            assert!(dir.amend(0, b"two", 100_000));
            dir.model.fill(b'0' + u8::try_from(number).unwrap());
            if in_place {
                fs::overwrite(&dir.file.path, &dir.model).unwrap();
            } else {
                fs::replace_file(&dir.file.path, &dir.model).unwrap();
            }
            assert!(!dir.amend(7, b"three", 100_000));
        }
    }

    #[test]
    fn a_version_before_that_was_left_half_changed_is_not_used() {
        type Spoil = fn(&Trial);
        let spoils: [Spoil; 5] = [
            |dir| {
                let file = OpenOptions::new().write(true).open(&dir.file.previous);
                file.unwrap().write_all_at(b"killed", 50).unwrap();
            },
            |dir| std::fs::remove_file(&dir.file.previous).unwrap(),
            |dir| std::fs::remove_file(&dir.file.difference).unwrap(),
            |dir| {
                let text = std::fs::read(&dir.file.difference).unwrap();
                fs::overwrite(&dir.file.difference, &text[..text.len() - 1]).unwrap();
            },
            // Killed in a copy, between the link and the new name.
            |dir| {
                std::fs::remove_file(&dir.file.previous).unwrap();
                std::fs::hard_link(&dir.file.path, &dir.file.previous).unwrap();
            },
        ];
        let mut dir = Trial::new();
        for (number, spoil) in spoils.iter().enumerate() {
            dir.amend(1, b"one", 100_000);
            assert!(dir.amend(2, b"two", 100_000), "{number}");
            spoil(&dir);
            assert!(!dir.amend(3, b"three", 100_000), "{number}");
        }
        // Another boot.
        dir.amend(1, b"one", 100_000);
        let text = std::fs::read_to_string(&dir.file.difference).unwrap();
        let text = text.replace(&clock::boot_id(), "an-earlier-boot");
        fs::overwrite(&dir.file.difference, text.as_bytes()).unwrap();
        assert!(!dir.amend(2, b"two", 100_000));
    }

    #[test]
    fn versions_differ_after_each_change_and_are_read_as_they_are_printed() {
        let dir = Trial::new();
        let file = OpenOptions::new().write(true).open(&dir.file.path).unwrap();
        let marked = Version::mark(&file).unwrap().unwrap();
        assert_eq!(Version::of(&file).unwrap(), marked);
        file.write_all_at(b"x", 0).unwrap();
        assert_ne!(Version::of(&file).unwrap(), marked);
        let text = marked.to_string();
        assert_eq!(text.len(), Version::TEXT);
        assert_eq!(text.parse::<Version>().unwrap(), marked);
        for bad in [
            "",
            "1 2",
            text.trim_start_matches('0'),
            &text.to_uppercase().replace(' ', "  "),
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
