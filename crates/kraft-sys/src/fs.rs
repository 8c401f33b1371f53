//! Files that are whole or not there at all, and trees that vanish safely.
//!
//! A file is never written in place. It grows under another name in the same directory and takes
//! its real name when every byte of it is on disk:
//!
//! ```text
//! write NAME's temporary ─► fsync it ─► rename it over NAME ─► fsync the directory
//! ```
//!
//! Whoever is killed in between leaves the old file and, at worst, a temporary beside it.
//! A [`Spare`] is the same thing with its disk space taken beforehand, for what must be written
//! even when the disk is full.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::clock;

/// So many files of a directory are looked at for leftovers.
const MOST_NEIGHBOURS: usize = 4096;

/// Something could not be done to a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`", path = path.display())]
pub struct Error {
    /// What was attempted, as it follows "cannot": `write`.
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// Returns a function that wraps what the system said, for `map_err`.
    pub fn on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            doing,
            path,
            source,
        }
    }

    /// Returns the kind of what the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Returns what the system said, for callers that name the file in their own words.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        error.source
    }
}

/// Replaces the file at `path`, or makes it, so that a reader sees the old bytes or the new ones.
///
/// An existing file keeps its permissions, and a symbolic link stays one: the file it leads to is
/// replaced. Returns once the bytes and the name are on disk.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(Error::on("write", path))?;
    file.commit()
}

/// A file that grows under a temporary name and appears under its own when it is committed.
///
/// Dropped without [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl NewFile {
    /// Begins a file that will be found at `path`; its directory must exist.
    ///
    /// A new file is writable by its owner only and readable as the umask allows. An existing one
    /// keeps its permissions, and is untouched until the commit.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::with_mode(path, 0o644)
    }

    /// Begins a file as [`create`](Self::create) does, with a mode of its own where none exists
    /// yet (`0o600` for secrets).
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
            // Only what chmod understands: the type of the file is not ours to copy.
            let permissions = Permissions::from_mode(existing.permissions().mode() & 0o7777);
            new.file
                .set_permissions(permissions)
                .map_err(Error::on("set the permissions of", &new.temporary))?;
        }
        Ok(new)
    }

    /// Returns the file as it grows: who copies whole files into it lets the kernel do that.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts everything on disk and gives the file its name.
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
            // Nobody is left to tell; a temporary that stays is harmless.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Room on disk for the next version of a file, taken while there still is some.
///
/// The spare is the temporary file of a replacement that has not happened yet. It survives the
/// process that made it: the next one finds it under the same name.
#[derive(Debug, Clone)]
pub struct Spare {
    path: PathBuf,
    target: PathBuf,
}

impl Spare {
    /// Names the spare `path` for the file `target`; both must be in one directory.
    pub fn new(path: PathBuf, target: PathBuf) -> Self {
        Self { path, target }
    }

    /// Takes `bytes` of disk space, if they are not taken already.
    ///
    /// File systems that cannot promise space are not an error: there the replacement itself
    /// will tell.
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let file = open_own(&self.path, OpenOptions::new().write(true))?;
        reserve(&file, bytes).map_err(Error::on("reserve space in", &self.path))
    }

    /// Replaces the target with `bytes`, using up the spare; works without one as well.
    ///
    /// Returns once the bytes and the name are on disk. Nobody else may replace the same target
    /// meanwhile: hold a lock.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut file = open_own(&self.path, OpenOptions::new().write(true))?;
        let mut write = || -> io::Result<()> {
            // In this order: the reserved blocks are overwritten, not given back first.
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()
        };
        write().map_err(Error::on("write", &self.target))?;
        rename(&self.path, &self.target)?;
        sync_dir(parent(&self.target))
    }
}

/// Empties a file, or makes it, and sets disk space aside for what will be written to it.
///
/// The file stays the same one: who has it open sees it emptied. For logs, which no reader expects
/// whole.
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

/// Writes into the file that is there, or makes one, without the care of [`replace_file`]: for
/// what is written anew before every use, and must stay the same file.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    truncate(path, 0)?;
    append(path)?
        .write_all(bytes)
        .map_err(Error::on("write", path))
}

/// Opens a file to write at its end, or creates it.
///
/// Errors: also when the path is a symbolic link, a FIFO or anything else that is not a regular
/// file. The file is one that kraft keeps for itself, so a link there was put by somebody else.
pub fn append(path: &Path) -> Result<File, Error> {
    open_own(path, OpenOptions::new().append(true))
}

/// Opens or creates a file that only kraft writes. Neither follows a link nor waits for a FIFO.
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
        // A FIFO that no process reads.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            Err(Error::on("write", path)(not_regular("a FIFO or a socket")))
        }
        other => other.map_err(Error::on("write", path)),
    }
}

/// Opens a regular file for reading.
///
/// Errors: also for a FIFO, a device, a socket or a directory, of the kind
/// [`io::ErrorKind::InvalidInput`]; opening never waits.
pub fn open_file(path: &Path) -> Result<File, Error> {
    let open = || {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY))
            .open(path)?;
        regular(file)
    };
    open().map_err(Error::on("open", path))
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

/// Returns flags of `open(2)` in the form of the standard library.
fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Checks that a path below `root` does not leave it through a symbolic link.
///
/// What a cloned project holds may be a link to any file of the user. A part of the path that
/// does not exist is fine; a link that leads to nothing is not, as creating the file would follow
/// it. Errors are of the kind [`io::ErrorKind::InvalidInput`] and name the link.
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

/// Makes `link` a symbolic link to `target`, instead of what it was.
pub fn replace_link(link: &Path, target: &Path) -> Result<(), Error> {
    remove_file(link)?;
    std::os::unix::fs::symlink(target, link).map_err(Error::on("create the link", link))
}

/// Makes `to` the same file as `from` where both are on one file system, else a copy of it, which
/// shares its blocks where the file system can do that. `to` must not exist.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let mut source = open_file(from)?;
    let mut target = NewFile::create(to)?;
    io::copy(&mut source, &mut target.file).map_err(Error::on("write", to))?;
    target.commit()
}

/// Takes disk space for a file without making it longer. A file system that cannot promise space
/// is not an error: the write itself will tell.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Renames within one file system, replacing what is there. Does not wait for the disk:
/// call [`sync_dir`] for that.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the room that may rename"
)]
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::on("give its name to", to))
}

/// Puts the names in a directory on disk.
pub fn sync_dir(dir: &Path) -> Result<(), Error> {
    let sync = || File::open(dir)?.sync_all();
    match sync() {
        // Some network file systems cannot sync a directory, and need not.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(Error::on("write", dir)),
    }
}

/// Puts everything on disk that was written to the file system of a directory: cheaper than each of
/// many files on its own.
pub fn sync_file_system(dir: &Path) -> Result<(), Error> {
    let sync = || Ok(rustix::fs::syncfs(File::open(dir)?)?);
    sync().map_err(Error::on("write", dir))
}

/// Creates a directory and its missing parents, all with that mode; the umask can only take from
/// it. One that exists keeps its mode.
pub fn create_dir_all(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .mode(mode)
        .recursive(true)
        .create(dir)
        .map_err(Error::on("create the directory", dir))
}

/// Makes one directory that must not exist yet.
pub fn create_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .mode(mode)
        .create(dir)
        .map_err(Error::on("create the directory", dir))
}

/// Removes a file or a whole directory; what is not there is fine.
///
/// Symbolic links are removed and never followed. A directory of ours that was made unreadable is
/// opened up first, as far as its owner may.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let remove = || match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).or_else(|e| {
            if e.kind() != io::ErrorKind::PermissionDenied {
                return Err(e);
            }
            std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
            std::fs::remove_dir_all(path)
        }),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match remove() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::on("remove", path)),
    }
}

/// Removes one file, or the symbolic link itself; what is not there is fine.
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
    read_to_end(file, limit).map_err(Error::on("read", path))
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

/// Reads what is left in `source`, at most `limit` bytes of it; more is an error of the kind
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_to_end(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
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

/// Returns the path whose name is that of `path` with an ending: `app` and `.log` give `app.log`.
pub fn beside(path: &Path, ending: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Returns the directory of a file, which for a bare name is the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Returns the file that a path means: the end of a chain of symbolic links, else itself.
fn behind_links(path: &Path) -> Result<PathBuf, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            std::fs::canonicalize(path).map_err(Error::on("follow the link", path))
        }
        _ => Ok(path.to_owned()),
    }
}

/// Returns what the names of temporary files beside `path` begin with.
fn temporary_prefix(path: &Path) -> Option<String> {
    // The start of the name is enough to recognise a leftover, and the whole stays below the
    // 255 bytes a name may have.
    let start: Vec<u8> = path
        .file_name()?
        .as_bytes()
        .iter()
        .copied()
        .take(100)
        .collect();
    Some(format!(".{}.", String::from_utf8_lossy(&start)))
}

/// Removes temporary files beside `path` of processes that were killed. What cannot be removed is
/// harmless, and left to the next.
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
        let made_by = salt >> 64;
        if Path::new(&format!("/proc/{made_by}")).exists() {
            continue;
        }
        // Its process may be one that this one cannot see, in another container: that has it locked.
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

/// Makes a file nobody else has, beside `path`.
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
                // A file system without locks has leftovers longer.
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
