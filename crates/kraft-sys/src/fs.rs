//! Atomic file replacement, safe removal of trees, and checked paths.
//!
//! Files are not written in place: a temporary file in the same directory is renamed to the target
//! when all its bytes are on disk:
//!
//! ```text
//! write NAME's temporary ─► fsync it ─► rename it over NAME ─► fsync the directory
//! ```
//!
//! A killed process leaves the old file and, at worst, a temporary file beside it. A [`Spare`]
//! reserves the disk space beforehand, for files that must be written even when the disk is full.
//!
//! ```
//! use std::io::Write;
//!
//! use kraft_sys::fs::{self, NewFile};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("config");
//! let mut file = NewFile::create(&path)?;
//! file.write_all(b"new")?;
//! assert!(!path.exists(), "nothing has the name before the commit");
//! file.commit()?;
//! assert_eq!(fs::read_file(&path, 1024)?, b"new");
//!
//! let error = fs::read_file(&path, 2).expect_err("more than two bytes");
//! assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::{clock, host};

mod remove;

/// Maximum number of directory entries examined for leftovers.
const MOST_NEIGHBOURS: usize = 4096;
/// Number of attempts, a millisecond apart, to open a file on which another process has a lease.
const MOST_ATTEMPTS: u32 = 5000;

/// A failed operation on a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`", path = path.display())]
pub struct Error {
    /// The operation, as it follows "cannot": `write`.
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl Error {
    /// Returns a function for `map_err` that adds operation and path to a system error.
    pub fn on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            doing,
            path,
            source,
        }
    }

    /// Returns the kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Returns the system's error, for callers that name the file themselves.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        error.source
    }
}

/// Replaces or creates the file at `path` atomically.
///
/// An existing file keeps its permissions, and a symbolic link is kept: its target is replaced.
/// Returns when content and name are on disk.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(Error::on("write", path))?;
    file.commit()
}

/// A temporary file that gets its final name on commit.
///
/// When it is dropped without [`commit`](Self::commit), it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl NewFile {
    /// Creates a temporary file for `path`; the directory must exist.
    ///
    /// A new file is writable by its owner only, and readable as the umask allows. An existing one
    /// keeps its permissions, and is unchanged until the commit.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::with_mode(path, 0o644)
    }

    /// Like [`create`](Self::create), with a mode for a file that does not exist yet (`0o600` for
    /// secrets).
    pub fn with_mode(path: &Path, mode: u32) -> Result<Self, Error> {
        let path = behind_links(path)?;
        let existing = std::fs::metadata(&path).ok();
        remove_leftovers(&path);
        let (file, temporary) = create_beside(&path, mode)?;
        let new = Self {
            file,
            temporary,
            path,
            committed: false,
        };
        if let Some(existing) = existing {
            // Only the bits that chmod supports, without the file type.
            let permissions = Permissions::from_mode(existing.permissions().mode() & 0o7777);
            new.file
                .set_permissions(permissions)
                .map_err(Error::on("set the permissions of", &new.temporary))?;
        }
        Ok(new)
    }

    /// Returns the temporary file, for copies by the kernel (`copy_file_range`).
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file to disk and gives it its name.
    pub fn commit(mut self) -> Result<(), Error> {
        self.file
            .sync_all()
            .map_err(Error::on("write", &self.path))?;
        rename(&self.temporary, &self.path)?;
        self.committed = true;
        sync_dir(parent(&self.path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.committed {
            // Errors are ignored; a remaining temporary file is harmless.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Disk space reserved for the next version of a file.
///
/// It is the temporary file of a future replacement, and survives its process: the next process
/// finds it under the same name.
#[derive(Debug, Clone)]
pub struct Spare {
    path: PathBuf,
    target: PathBuf,
}

impl Spare {
    /// Names the reserved file `path` for `target`; both must be in the same directory.
    pub fn new(path: PathBuf, target: PathBuf) -> Self {
        Self { path, target }
    }

    /// Reserves `bytes` of disk space, if they are not reserved already.
    ///
    /// File systems that cannot reserve space are not an error: then the replacement itself may
    /// fail.
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let file = open_own(&self.path, OpenOptions::new().write(true))?;
        reserve(&file, bytes).map_err(Error::on("reserve space in", &self.path))
    }

    /// Replaces the target with `bytes`, consuming the reservation; also works without one.
    ///
    /// Returns when content and name are on disk. The caller must hold a lock against concurrent
    /// replacement.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        self.replace_soon(bytes)?;
        sync_dir(parent(&self.target))
    }

    /// As [`replace`](Self::replace), but returns when the content is on disk and all processes see it:
    /// until the directory is flushed, the earlier file may be back after a loss of power.
    pub fn replace_soon(&self, bytes: &[u8]) -> Result<(), Error> {
        let file = self.write(bytes)?;
        self.flush(&file)?;
        rename(&self.path, &self.target)
    }

    /// As [`replace`](Self::replace), for a target in a directory that no other process reads yet: content
    /// and name are flushed together, with whatever else is new there.
    pub fn create(&self, bytes: &[u8]) -> Result<(), Error> {
        let file = self.write(bytes)?;
        rename(&self.path, &self.target)?;
        self.flush(&file)?;
        sync_dir(parent(&self.target))
    }

    fn write(&self, bytes: &[u8]) -> Result<File, Error> {
        let mut file = open_own(&self.path, OpenOptions::new().write(true))?;
        let mut write = || -> io::Result<()> {
            // Overwrite before truncating, so that the reserved blocks are reused.
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        };
        write().map_err(Error::on("write", &self.target))?;
        Ok(file)
    }

    fn flush(&self, file: &File) -> Result<(), Error> {
        let flushed = file.sync_all();
        flushed.map_err(Error::on("write", &self.target))
    }
}

/// Truncates or creates a file, and reserves disk space for its content.
///
/// The inode is kept: processes that have it open see an empty file. For logs, which need no atomic
/// replacement.
///
/// Errors: as for [`append`].
pub fn truncate(path: &Path, reserved: u64) -> Result<(), Error> {
    let file = open_own(path, OpenOptions::new().write(true))?;
    file.set_len(0).map_err(Error::on("write", path))?;
    if reserved == 0 {
        return Ok(());
    }
    reserve(&file, reserved).map_err(Error::on("reserve space in", path))
}

/// Overwrites or creates a file in place, without the guarantees of [`replace_file`]: for files
/// that are rewritten before every use, and whose inode must not change.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    truncate(path, 0)?;
    append(path)?
        .write_all(bytes)
        .map_err(Error::on("write", path))
}

/// Opens or creates a file for appending.
///
/// Errors: also when the path is a symbolic link, a FIFO or anything else that is not a regular
/// file. The file is private to kraft, so a link there is not trusted.
pub fn append(path: &Path) -> Result<File, Error> {
    open_own(path, OpenOptions::new().append(true))
}

/// Opens or creates a file that only kraft writes. Does not follow links or block on a FIFO.
fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let mut open = || {
        let file = options
            .create(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(path)?;
        regular(file)
    };
    match open() {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Err(Error::on("write", path)(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a symbolic link; remove it",
            )))
        }
        // A FIFO without a reader.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            Err(Error::on("write", path)(not_regular("a FIFO or a socket")))
        }
        other => other.map_err(Error::on("write", path)),
    }
}

/// Creates a file that only its owner can read and write; it must not exist yet.
pub fn create_private(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags(OFlags::NOFOLLOW))
        .open(path)
        .map_err(Error::on("create", path))
}

/// Opens a regular file for reading.
///
/// Errors: also for a FIFO, a device, a socket or a directory, of the kind
/// [`io::ErrorKind::InvalidInput`]; opening does not block.
pub fn open_file(path: &Path) -> Result<File, Error> {
    let open = || {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY))
            .open(path)?;
        regular(file)
    };
    let mut attempts = 0;
    loop {
        match open() {
            // A process has a lease on the file, which it gives up in moments (`amend`).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts < MOST_ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other.map_err(Error::on("open", path)),
        }
    }
}

/// Returns the open file if it is a regular one.
fn regular(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(not_regular(match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

fn not_regular(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, not a regular file"),
    )
}

/// Converts flags of `open(2)` to those of the standard library.
fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Checks that a path below `root` does not leave it through a symbolic link.
///
/// A cloned project may contain links to any file of the user. Missing path components are allowed;
/// dangling links are not, since creating the file would follow them. Errors are of the kind
/// [`io::ErrorKind::InvalidInput`] and name the link.
pub fn check_inside(root: &Path, path: &Path) -> Result<(), Error> {
    let refuse = |path: &Path, why: String| {
        Err(Error::on("use", path)(io::Error::new(
            io::ErrorKind::InvalidInput,
            why,
        )))
    };
    let real = root.canonicalize().map_err(Error::on("open", root))?;
    let Ok(below) = path.strip_prefix(root) else {
        return refuse(path, format!("it is outside of `{}`", root.display()));
    };
    let mut reached = root.to_owned();
    for part in below.components() {
        if part == std::path::Component::ParentDir {
            return refuse(path, "`..` may leave the directory".to_owned());
        }
        reached.push(part);
        match std::fs::symlink_metadata(&reached) {
            Ok(found) if found.is_symlink() => match reached.canonicalize() {
                Ok(target) if target.starts_with(&real) => {}
                _ => {
                    let target = std::fs::read_link(&reached).unwrap_or_default();
                    let why = format!(
                        "it is a symbolic link to `{}`, outside of `{}`; remove the link",
                        target.display(),
                        root.display()
                    );
                    return refuse(&reached, why);
                }
            },
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::on("open", &reached)(error)),
        }
    }
    Ok(())
}

/// Returns the names in a directory, sorted; none if there is no such directory. Names that are not
/// UTF-8 are left out.
pub fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::on("list", dir)(e)),
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Creates or replaces the symbolic link `link` to `target`.
pub fn replace_link(link: &Path, target: &Path) -> Result<(), Error> {
    remove_file(link)?;
    std::os::unix::fs::symlink(target, link).map_err(Error::on("create the link", link))
}

/// Creates a hard link `to` to the file `from` where the system allows it, otherwise a copy with its
/// permissions and time of modification, which shares blocks if the file system supports it. `to`
/// must not exist.
///
/// Links do not lead to other file systems, and in most systems not to files of other users.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    copy(from, to)
}

/// Copies a file with its permissions and time of modification; the blocks are shared if the file system supports it.
/// `to` must not exist.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = open_file(from)?;
    let mut target = NewFile::create(to)?;
    let mut write = || {
        io::copy(&mut source, &mut target.file)?;
        let metadata = source.metadata()?;
        let mode = metadata.permissions().mode() & 0o777;
        target.file.set_permissions(Permissions::from_mode(mode))?;
        let times = FileTimes::new().set_modified(metadata.modified()?);
        target.file.set_times(times)
    };
    write().map_err(Error::on("write", to))?;
    target.commit()
}

/// Reserves disk space for a file without changing its length. File systems that cannot reserve
/// space are not an error: then the write itself may fail.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match host::reserve(file, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Returns whether two paths lead to the same file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let place = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    place(one).is_some_and(|place_of| Some(place_of) == place(other))
}

/// Renames within one file system, replacing an existing file. Does not flush the directory: use
/// [`sync_dir`].
#[expect(clippy::disallowed_methods, reason = "the only module that may rename")]
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::on("give its name to", to))
}

/// Creates a named pipe with a mode, which the umask may reduce.
///
/// # Errors
///
/// If the name exists, or nothing can be created there.
pub fn make_fifo(path: &Path, mode: u32) -> Result<(), Error> {
    host::make_fifo(path, mode).map_err(Error::on("create", path))
}

/// Creates the mark of overlay file systems for a name that is removed.
///
/// # Errors
///
/// If the name exists, or nothing can be created there.
pub fn make_whiteout(path: &Path) -> Result<(), Error> {
    host::make_whiteout(path).map_err(Error::on("write", path))
}

/// Makes an empty file share the blocks of another.
///
/// # Errors
///
/// If the file system does not support that.
pub fn share_blocks(from: &File, to: &File) -> io::Result<()> {
    Ok(host::share_blocks(from, to)?)
}

/// Copies at most `most` bytes of a file, from `at` on, to the position of another, without reading them into this process.
/// Returns how many.
///
/// # Errors
///
/// If the file systems do not support that.
pub fn copy_range(from: &File, at: &mut u64, to: &File, most: usize) -> io::Result<usize> {
    Ok(host::copy_range(from, at, to, most)?)
}

/// Gives the space of a part of a file back to the disk; it reads as zeros then.
///
/// # Errors
///
/// If the file system has no holes.
pub fn punch_hole(file: &File, at: u64, length: u64) -> io::Result<()> {
    host::punch_hole(file, at, length)
}

/// Flushes the entries of a directory to disk.
pub fn sync_dir(dir: &Path) -> Result<(), Error> {
    let sync = || File::open(dir)?.sync_all();
    match sync() {
        // Some network file systems cannot sync a directory, and do not need to.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(Error::on("write", dir)),
    }
}

/// Flushes the whole file system of a directory to disk: cheaper than fsync of many files.
pub fn sync_file_system(dir: &Path) -> Result<(), Error> {
    let sync = || host::sync_file_system(&File::open(dir)?);
    sync().map_err(Error::on("write", dir))
}

/// Creates a directory and its missing parents with a mode, which the umask may reduce. An existing
/// one keeps its mode.
pub fn create_dir_all(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .mode(mode)
        .recursive(true)
        .create(dir)
        .map_err(Error::on("create the directory", dir))
}

/// Creates a directory that must not exist yet.
pub fn create_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .mode(mode)
        .create(dir)
        .map_err(Error::on("create the directory", dir))
}

/// Removes a file or a directory tree; a missing path is not an error.
///
/// Symbolic links are removed, not followed. The owner's permissions of unreadable directories are
/// extended first, and directories may be nested as deep as a hostile program can make them.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let remove = || match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => remove::directory(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match remove() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::on("remove", path)),
    }
}

/// Removes a file, or the symbolic link itself; a missing path is not an error.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::on("remove", path)),
    }
}

/// Reads a whole file of at most `limit` bytes; a longer one is an error of the kind
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open_file(path).map_err(|error| Error::on("read", path)(error.source))?;
    read_open(&file, limit).map_err(Error::on("read", path))
}

/// Reads the rest of an open file of at most `limit` bytes; a longer one is an error of the kind
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_open(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(limit);
    // Room for one more, so that the end shows without another buffer.
    let room = usize::try_from(length)
        .unwrap_or_default()
        .saturating_add(1);
    read_into(Vec::with_capacity(room), file, limit)
}

/// Reads the end of a file, at most `limit` bytes of it.
pub fn read_tail(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    use std::io::{Seek, SeekFrom};

    let mut file = open_file(path).map_err(|error| Error::on("read", path)(error.source))?;
    let mut read = || {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        Read::by_ref(&mut file)
            .take(limit)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(Error::on("read", path))
}

/// Reads the rest of `source`, at most `limit` bytes; more is an error of the kind
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_to_end(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    read_into(Vec::new(), source, limit)
}

fn read_into(mut bytes: Vec<u8>, source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Returns the path with a suffix: `app` and `.log` give `app.log`.
pub fn beside(path: &Path, ending: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns the directory of a file, `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Returns the target of a chain of symbolic links, or the path itself.
fn behind_links(path: &Path) -> Result<PathBuf, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            std::fs::canonicalize(path).map_err(Error::on("follow the link", path))
        }
        _ => Ok(path.to_owned()),
    }
}

/// Returns the prefix of temporary file names beside `path`.
fn temporary_prefix(path: &Path) -> Option<String> {
    // A prefix of the name is enough to recognise leftovers, and keeps the total below the 255
    // bytes of a file name.
    let start: Vec<u8> = path
        .file_name()?
        .as_bytes()
        .iter()
        .copied()
        .take(100)
        .collect();
    Some(format!(".{}.", String::from_utf8_lossy(&start)))
}

/// Removes temporary files of killed processes beside `path`. Errors are ignored.
fn remove_leftovers(path: &Path) {
    let (Some(prefix), Ok(entries)) = (temporary_prefix(path), std::fs::read_dir(parent(path)))
    else {
        return;
    };
    for entry in entries.take(MOST_NEIGHBOURS).flatten() {
        let name = entry.file_name();
        let salt = name.to_str().and_then(|name| {
            let salt = name.strip_prefix(&prefix)?.strip_suffix(".new")?;
            u128::from_str_radix(salt, 16).ok()
        });
        let Some(salt) = salt else { continue };
        let made_by = u32::try_from(salt >> 64);
        if made_by.is_ok_and(|pid| host::stat(pid).is_some()) {
            continue;
        }
        // The process may be in another container and so invisible here; then the file is locked.
        let unused = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(entry.path())
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        if unused {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Creates a private file beside `path`.
fn create_beside(path: &Path, mode: u32) -> Result<(File, PathBuf), Error> {
    let prefix = temporary_prefix(path)
        .ok_or_else(|| Error::on("write", path)(io::Error::from(io::ErrorKind::InvalidFilename)))?;
    let mut salt = u128::from(std::process::id()) << 64 | clock::ticks();
    loop {
        let temporary = parent(path).join(format!("{prefix}{salt:x}.new"));
        let created = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary);
        match created {
            Ok(file) => {
                // On a file system without locks, leftovers are kept longer.
                let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                return Ok((file, temporary));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => salt += 1,
            Err(e) => return Err(Error::on("write", path)(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_permissions_and_the_time_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("program"), dir.path().join("copy"));
        replace_file(&from, b"text").unwrap();
        std::fs::set_permissions(&from, Permissions::from_mode(0o4755)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let times = FileTimes::new().set_modified(time);
        File::options()
            .write(true)
            .open(&from)
            .unwrap()
            .set_times(times)
            .unwrap();
        copy(&from, &to).unwrap();
        let copied = std::fs::metadata(&to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"text");
        assert_eq!(copied.permissions().mode() & 0o7777, 0o755);
        assert_eq!(copied.modified().unwrap(), time);
    }

    #[test]
    fn leftovers_of_killed_processes_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        // No process has the number 0.
        let dead = dir.path().join(".index.json.1234.new");
        let in_use = dir.path().join(".index.json.5678.new");
        let others = [".index.json.new", ".other.1234.new", ".index.json.x.new"];
        for file in [&dead, &in_use] {
            File::create(file).unwrap();
        }
        for file in others {
            File::create(dir.path().join(file)).unwrap();
        }
        let held = File::open(&in_use).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let mine = NewFile::create(&path).unwrap();
        let second = NewFile::create(&path).unwrap();
        assert!(!dead.exists() && in_use.exists());
        assert!(mine.temporary.exists() && second.temporary.exists());
        drop((mine, second));
        assert_eq!(names(dir.path()).len(), 1 + others.len());
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_has_the_new_bytes_and_no_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_file_that_is_not_committed_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace_file(&path, b"one").unwrap();
        let mut new = NewFile::create(&path).unwrap();
        new.write_all(b"two").unwrap();
        drop(new);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn replacing_keeps_the_permissions_and_the_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        replace_file(&file, b"one").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace_file(&link, b"two").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn a_name_of_the_greatest_length_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(255));
        replace_file(&path, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn an_error_names_the_deed_the_path_and_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/a");
        let error = replace_file(&path, b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write `{}`", path.display())
        );
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_spare_becomes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (spare, target) = (dir.path().join("a.spare"), dir.path().join("a"));
        let spare = Spare::new(spare, target.clone());
        spare.reserve(65536).unwrap();
        spare.replace(b"short").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"short");
        spare.replace(b"and without a reserve").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"and without a reserve");
        spare.replace_soon(b"seen at once").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"seen at once");
        assert_eq!(names(dir.path()), ["a"]);
        std::fs::remove_file(&target).unwrap();
        spare.reserve(65536).unwrap();
        spare.create(b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_tree_is_removed_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        create_dir_all(&tree.join("deep/er"), 0o700).unwrap();
        std::fs::create_dir(&outside).unwrap();
        replace_file(&outside.join("precious"), b"x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("deep/link")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(names(dir.path()), ["outside"]);
        assert_eq!(names(&outside), ["precious"]);
    }

    #[test]
    fn what_is_not_a_regular_file_is_an_error_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&fifo, &socket, dir.path(), Path::new("/dev/zero")] {
            assert!(read_file(path, 10).is_err(), "{}", path.display());
            assert!(append(path).is_err(), "{}", path.display());
            assert!(truncate(path, 0).is_err(), "{}", path.display());
        }
        let error = read_file(&fifo, 10).unwrap_err();
        assert_eq!(error.source.to_string(), "it is a FIFO, not a regular file");
    }

    #[test]
    fn files_that_only_kraft_writes_are_never_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        replace_file(&file, b"precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(append(&link).is_err());
        assert!(truncate(&link, 0).is_err());
        assert!(overwrite(&link, b"x").is_err());
        assert!(
            Spare::new(link.clone(), file.clone())
                .replace(b"x")
                .is_err()
        );
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn a_path_is_inside_unless_a_link_leads_it_out() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        create_dir_all(&root.join("a/b"), 0o755).unwrap();
        create_dir_all(&outside, 0o755).unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        };
        link("a", "inner");
        link("../outside", "outer");
        link(outside.to_str().unwrap(), "absolute");
        link("nowhere", "dangling");
        link("loop", "loop");
        link("../../root/a", "a/back");
        for fine in ["a/b", "a/b/new/file", "inner/b", "a/back/b", "new", ""] {
            check_inside(&root, &root.join(fine)).unwrap();
        }
        let refused = [
            "outer",
            "outer/x",
            "absolute/x",
            "dangling",
            "loop",
            "a/../../outside",
        ];
        for path in refused {
            let error = check_inside(&root, &root.join(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        assert!(check_inside(&root, &outside).is_err());
    }

    #[test]
    fn every_directory_on_the_way_gets_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(&dir.path().join("a/b/c"), 0o700).unwrap();
        for name in ["a", "a/b", "a/b/c"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_file_above_the_limit_is_refused_and_one_at_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace_file(&path, b"12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        let error = read_file(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
