//! Copies files and directories between trees that other programs may change meanwhile.
//!
//! Neither tree is trusted: links are copied and never followed, every entry is opened by its name in
//! an open directory, and anything else than files, directories and links is skipped. So nothing is
//! read or written outside of the two [`Place`]s, whatever happens to the trees during the copy.
//!
//! ```
//! use kraft_sys::fs;
//! use kraft_sys::tree::{Place, copy};
//!
//! let dir = tempfile::tempdir()?;
//! fs::create_dir_all(&dir.path().join("from/sub"), 0o755)?;
//! fs::replace_file(&dir.path().join("from/sub/file"), b"hello")?;
//! std::os::unix::fs::symlink("/etc", dir.path().join("from/out"))?;
//!
//! let from = Place::below(&dir.path().join("from"), "".as_ref(), false)?;
//! let copied = copy(&from, &Place::at(&dir.path().join("to"), true)?)?;
//! assert_eq!((copied.files, copied.bytes), (1, 5));
//! assert_eq!(fs::read_file(&dir.path().join("to/sub/file"), 9)?, b"hello");
//!
//! let way_out = Place::below(&dir.path().join("from"), "out/passwd".as_ref(), false);
//! assert!(way_out.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{self, Links, SEARCH};
use crate::fs::Error;
use crate::{clock, host};

mod content;

pub use content::{Content, Found, walk};

/// Maximum number of directories inside each other: each keeps two files open.
const MOST_LEVELS: usize = 256;

/// Permissions that are copied: without those that make a program run as its owner.
const PERMISSIONS: u32 = 0o777;

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a socket or a named pipe.
    Other,
}

impl Kind {
    fn of(mode: rustix::fs::RawMode) -> Self {
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// A name in an open directory; something may be there or not.
#[derive(Debug)]
pub struct Place {
    dir: File,
    name: OsString,
    path: PathBuf,
}

impl Place {
    /// Opens a path of the user, whose links are followed, except for the last component. With
    /// `into`, a link to a directory there is followed as well.
    ///
    /// # Errors
    ///
    /// If the directory of the path cannot be opened.
    pub fn at(path: &Path, into: bool) -> Result<Self, Error> {
        let (dir, name) = match path.file_name() {
            Some(name) if !(into && path.is_dir()) => {
                let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
                (parent.unwrap_or(Path::new(".")), name)
            }
            _ => (path, OsStr::new(".")),
        };
        Ok(Self {
            dir: open_root(dir)?,
            name: name.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Opens a relative path below a directory. Links are followed as by [`Place::at`], if they do
    /// not lead out of the directory.
    ///
    /// # Errors
    ///
    /// If a directory of the path cannot be opened, or a link in it leads out: of the kind
    /// [`io::ErrorKind::InvalidInput`].
    pub fn below(root: &Path, path: &Path, into: bool) -> Result<Self, Error> {
        let shown = root.join(path);
        let place = |(dir, name): (File, &OsStr)| Self {
            dir,
            name: name.to_owned(),
            path: shown.clone(),
        };
        find(&open_root(root)?, path, into)
            .map(place)
            .map_err(Error::on("open", &shown))
    }

    /// Returns the place of a name in the directory at this place.
    ///
    /// # Errors
    ///
    /// If there is no directory.
    pub fn child(&self, name: &OsStr) -> Result<Self, Error> {
        let flags = SEARCH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = open_at(&self.dir, &self.name, flags).map_err(Error::on("open", &self.path))?;
        Ok(Self {
            dir,
            name: name.to_owned(),
            path: self.path.join(name),
        })
    }

    /// Returns what is there; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// If the directory cannot be searched.
    pub fn kind(&self) -> Result<Option<Kind>, Error> {
        match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Kind::of(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::on("read", &self.path)(e.into())),
        }
    }

    /// Returns where a link that is there leads to; `None` if there is no link.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn link(&self) -> Result<Option<PathBuf>, Error> {
        match rustix::fs::readlinkat(&self.dir, &self.name, Vec::new()) {
            Ok(text) => Ok(Some(OsStr::from_bytes(text.as_bytes()).into())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::on("read", &self.path)(e.into())),
        }
    }

    /// Makes a directory, unless something is there.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn make_directory(&self) -> Result<(), Error> {
        match rustix::fs::mkdirat(&self.dir, &self.name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(Error::on("make the directory", &self.path)(e.into())),
        }
    }

    /// Returns its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            dir: &self.dir,
            name: &self.name,
            path: &self.path,
        }
    }
}

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// Number of regular files.
    pub files: u64,
    /// Size of their data in bytes, without holes.
    pub bytes: u64,
    /// Paths of devices, sockets and named pipes, which are not copied.
    pub skipped: Vec<PathBuf>,
}

/// Copies a file, a link or a directory with everything in it, with permissions and times. A file or a
/// link that exists is replaced as a whole; a directory that exists keeps what is not replaced.
///
/// Files that are removed during the copy are left out. If it fails, the files copied until then stay.
///
/// # Errors
///
/// If something cannot be read or written, directories are nested more than 256 levels deep, or a
/// directory would be copied into itself.
pub fn copy(from: &Place, to: &Place) -> Result<Copied, Error> {
    let mut work = Work::default();
    work.entry(&from.entry(), &to.entry(), 0)?;
    Ok(work.copied)
}

/// A name in an open directory.
struct Entry<'a> {
    dir: &'a File,
    name: &'a OsStr,
    path: &'a Path,
}

impl Entry<'_> {
    fn cannot(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::on(doing, self.path)
    }
}

#[derive(Default)]
struct Work {
    copied: Copied,
    /// Device and number of the first directory that is written to.
    target: Option<(u64, u64)>,
}

impl Work {
    fn entry(&mut self, from: &Entry<'_>, to: &Entry<'_>, level: usize) -> Result<(), Error> {
        let stat = rustix::fs::statat(from.dir, from.name, AtFlags::SYMLINK_NOFOLLOW);
        let copied = match stat {
            Ok(stat) => match Kind::of(stat.st_mode) {
                Kind::File => self.file(from, to),
                Kind::Directory => self.directory(from, to, level),
                Kind::Link => link(from, to),
                Kind::Other => {
                    self.copied.skipped.push(from.path.to_owned());
                    Ok(())
                }
            },
            Err(e) => Err(from.cannot("read")(e.into())),
        };
        match copied {
            // It was removed meanwhile.
            Err(e) if level > 0 && e.kind() == io::ErrorKind::NotFound && e.path == from.path => {
                Ok(())
            }
            copied => copied,
        }
    }

    fn file(&mut self, from: &Entry<'_>, to: &Entry<'_>) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut source =
            open_at(from.dir, from.name, flags | OFlags::CLOEXEC).map_err(from.cannot("read"))?;
        let metadata = source.metadata().map_err(from.cannot("read"))?;
        if !metadata.is_file() {
            self.copied.skipped.push(from.path.to_owned());
            return Ok(());
        }
        let (mut target, temporary) = Temporary::file(to.dir).map_err(to.cannot("write"))?;
        let bytes = copy_data(&mut source, &mut target, metadata.len());
        self.copied.bytes += bytes.map_err(to.cannot("write"))?;
        self.copied.files += 1;
        finish(&target, &metadata)
            .and_then(|()| temporary.map_or_else(|| Temporary::named(to.dir, &target), Ok))
            .and_then(|temporary| temporary.rename(to.name))
            .map_err(to.cannot("write"))
    }

    fn directory(&mut self, from: &Entry<'_>, to: &Entry<'_>, level: usize) -> Result<(), Error> {
        let refused = |why: &str| {
            let why = io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
            Err(from.cannot("copy")(why))
        };
        if level >= MOST_LEVELS {
            return refused("it is more than 256 levels deep");
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = open_at(from.dir, from.name, flags).map_err(from.cannot("read"))?;
        let metadata = source.metadata().map_err(from.cannot("read"))?;
        let made = match rustix::fs::mkdirat(to.dir, to.name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(to.cannot("create the directory")(e.into())),
        };
        let target = open_at(to.dir, to.name, flags).map_err(to.cannot("write to"))?;
        let written = target.metadata().map_err(to.cannot("write to"))?;
        let first = *self.target.get_or_insert((written.dev(), written.ino()));
        if first == (metadata.dev(), metadata.ino()) {
            return refused("a directory cannot be copied into itself");
        }
        for name in names(&source).map_err(from.cannot("read"))? {
            let (from, to) = (from.path.join(&name), to.path.join(&name));
            let entry = |dir, path| Entry {
                dir,
                name: &name,
                path,
            };
            self.entry(&entry(&source, &from), &entry(&target, &to), level + 1)?;
        }
        if made {
            finish(&target, &metadata).map_err(to.cannot("write"))?;
        }
        Ok(())
    }
}

fn link(from: &Entry<'_>, to: &Entry<'_>) -> Result<(), Error> {
    let content = rustix::fs::readlinkat(from.dir, from.name, Vec::new());
    let content = content.map_err(|e| from.cannot("read")(e.into()))?;
    Temporary::link(to.dir, OsStr::from_bytes(content.to_bytes()))
        .and_then(|temporary| temporary.rename(to.name))
        .map_err(to.cannot("write"))
}

/// Gives a file or a directory the permissions and times of another.
fn finish(target: &File, metadata: &std::fs::Metadata) -> io::Result<()> {
    target.set_permissions(Permissions::from_mode(metadata.mode() & PERMISSIONS))?;
    // Times that the file system cannot represent are not worth an error.
    if let (Ok(accessed), Ok(modified)) = (metadata.accessed(), metadata.modified()) {
        let times = std::fs::FileTimes::new();
        let _ = target.set_times(times.set_accessed(accessed).set_modified(modified));
    }
    Ok(())
}

/// Copies the data of a file of `size` bytes, keeps its holes, and returns the number of bytes copied.
fn copy_data(from: &mut File, to: &mut File, size: u64) -> io::Result<u64> {
    use rustix::fs::SeekFrom as Find;

    let (mut at, mut copied) = (0, 0);
    while at < size {
        let start = match rustix::fs::seek(&*from, Find::Data(at)) {
            Ok(start) => start,
            // A hole up to the end.
            Err(Errno::NXIO) => break,
            // The file system does not report holes.
            Err(_) => at,
        };
        let end = rustix::fs::seek(&*from, Find::Hole(start)).unwrap_or(size);
        let length = end.min(size).saturating_sub(start);
        if length == 0 {
            break;
        }
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        let count = io::copy(&mut Read::by_ref(from).take(length), to)?;
        copied += count;
        if count < length {
            // It was truncated meanwhile.
            to.set_len(start + count)?;
            return Ok(copied);
        }
        at = start + length;
    }
    to.set_len(size)?;
    Ok(copied)
}

/// A temporary file or link in an open directory; removed when dropped without a rename.
struct Temporary<'a> {
    dir: &'a File,
    name: Option<String>,
}

impl<'a> Temporary<'a> {
    /// Creates a file without a name where the file system supports that: then nothing is left of it
    /// if this process is killed.
    fn file(dir: &'a File) -> io::Result<(File, Option<Self>)> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        if let Ok(file) = host::unnamed_file(dir, flags, mode) {
            return Ok((File::from(file), None));
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        Self::create(dir, |name| rustix::fs::openat(dir, name, flags, mode))
            .map(|(file, temporary)| (File::from(file), Some(temporary)))
    }

    /// Gives a name to a file without one.
    fn named(dir: &'a File, file: &File) -> io::Result<Self> {
        Self::create(dir, |name| host::name_file(file, dir, name)).map(|((), temporary)| temporary)
    }

    fn link(dir: &'a File, content: &OsStr) -> io::Result<Self> {
        Self::create(dir, |name| rustix::fs::symlinkat(content, dir, name))
            .map(|((), temporary)| temporary)
    }

    fn create<T>(
        dir: &'a File,
        create: impl Fn(&str) -> rustix::io::Result<T>,
    ) -> io::Result<(T, Self)> {
        let mut salt = clock::ticks();
        loop {
            let name = format!(".kraft-{:x}-{salt:x}.new", std::process::id());
            match create(&name) {
                Ok(made) => {
                    let name = Some(name);
                    return Ok((made, Self { dir, name }));
                }
                Err(Errno::EXIST) => salt += 1,
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn rename(mut self, to: &OsStr) -> io::Result<()> {
        if let Some(name) = &self.name {
            rustix::fs::renameat(self.dir, name, self.dir, to)?;
        }
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // One that remains does no harm.
            let _ = rustix::fs::unlinkat(self.dir, name, AtFlags::empty());
        }
    }
}

/// Returns the names in a directory, sorted.
fn names(dir: &File) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens a directory that is named by the user, only to find names in it.
fn open_root(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags(SEARCH.bits().cast_signed())
        .open(path)
        .map_err(Error::on("open", path))
}

fn open_at(dir: &File, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let opened = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    Ok(File::from(opened))
}

/// Returns the open directory and the name of a path below a directory.
fn find<'p>(root: &File, path: &'p Path, into: bool) -> io::Result<(File, &'p OsStr)> {
    let itself = OsStr::new(".");
    let relative = |it: Component<'_>| matches!(it, Component::Normal(_));
    if !path.components().all(relative) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a path below the directory that is mounted",
        ));
    }
    let Some(name) = path.file_name() else {
        return Ok((root.try_clone()?, itself));
    };
    if into {
        match beneath(root, path) {
            Ok(dir) => return Ok((dir, itself)),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Err(e),
            // It does not exist yet, or is not a directory.
            Err(_) => {}
        }
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok((beneath(root, parent)?, name))
}

/// Opens a directory below another, only to find names in it. Links that lead out of the other are
/// errors of the kind [`io::ErrorKind::InvalidInput`].
fn beneath(root: &File, path: &Path) -> io::Result<File> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    beneath::open(root, path, SEARCH, Links::Inside).map_err(|error| match error {
        Errno::XDEV | Errno::LOOP => io::Error::new(
            io::ErrorKind::InvalidInput,
            "a symbolic link in it leads out of the directory that is mounted",
        ),
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::fs;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap(), 0o755).unwrap();
        fs::replace_file(path, text.as_bytes()).unwrap();
    }

    fn read(path: &Path) -> String {
        String::from_utf8(fs::read_file(path, 1 << 20).unwrap()).unwrap()
    }

    /// Two directories, and a file outside of both.
    fn trees() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let outside = dir.path().join("outside");
        for dir in [&from, &to, &outside] {
            fs::create_dir(dir, 0o755).unwrap();
        }
        write(&outside.join("secret"), "secret");
        (dir, from, to, outside)
    }

    fn copied(from: &Path, to: &Path) -> Result<Copied, Error> {
        copy(&Place::at(from, false)?, &Place::at(to, true)?)
    }

    #[test]
    fn a_tree_is_copied_with_its_links_permissions_and_times() {
        let (_dir, from, to, outside) = trees();
        write(&from.join("a/b"), "text");
        std::fs::set_permissions(from.join("a/b"), Permissions::from_mode(0o6751)).unwrap();
        symlink("a/b", from.join("inside")).unwrap();
        symlink(&outside, from.join("a/way-out")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        let target = to.join("new");
        let all = copied(&from, &target).unwrap();
        assert_eq!((all.files, all.bytes, all.skipped.len()), (1, 4, 0));
        assert_eq!(read(&target.join("a/b")), "text");
        let [old, new] = [&from, &target].map(|dir| std::fs::metadata(dir.join("a/b")).unwrap());
        assert_eq!(new.mode() & 0o7777, 0o751, "no setuid bit leaves a guest");
        assert_eq!(new.modified().unwrap(), old.modified().unwrap());
        for (link, content) in [
            ("inside", Path::new("a/b")),
            ("a/way-out", &outside),
            ("dangling", Path::new("nowhere")),
        ] {
            assert_eq!(std::fs::read_link(target.join(link)).unwrap(), content);
        }
        // Again, over what exists.
        write(&target.join("a/more"), "kept");
        assert_eq!(copied(&from, &target).unwrap().files, 1);
        assert_eq!(read(&target.join("a/more")), "kept");
    }

    #[test]
    fn links_in_the_target_are_replaced_and_never_followed() {
        let (_dir, from, to, outside) = trees();
        write(&from.join("file"), "new");
        write(&from.join("dir/secret"), "new");
        symlink(outside.join("secret"), to.join("file")).unwrap();
        symlink(&outside, to.join("dir")).unwrap();
        let error = copied(&from, &to).unwrap_err();
        assert_eq!(error.path, to.join("dir"), "{error}");
        std::fs::remove_dir_all(from.join("dir")).unwrap();
        copied(&from, &to).unwrap();
        assert!(
            std::fs::symlink_metadata(to.join("file"))
                .unwrap()
                .is_file()
        );
        assert_eq!(read(&to.join("file")), "new");
        assert_eq!(read(&outside.join("secret")), "secret");
    }

    #[test]
    fn links_lead_to_places_below_the_root_and_not_out_of_it() {
        let (_dir, from, to, outside) = trees();
        write(&from.join("v1/file"), "text");
        symlink("v1", from.join("current")).unwrap();
        symlink(&outside, from.join("absolute")).unwrap();
        symlink("../outside", from.join("relative")).unwrap();
        symlink("/proc/self/root", from.join("root")).unwrap();
        symlink("loop", from.join("loop")).unwrap();
        let found = Place::below(&from, Path::new("current/file"), false).unwrap();
        copy(
            &found,
            &Place::at(&to, true).unwrap().child("got".as_ref()).unwrap(),
        )
        .unwrap();
        assert_eq!(read(&to.join("got")), "text");
        for out in [
            "absolute/secret",
            "relative/secret",
            "root/etc",
            "loop/x",
            "v1/../../outside/secret",
            "/etc/passwd",
        ] {
            let refused = Place::below(&from, Path::new(out), false);
            assert_eq!(
                refused.unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{out}"
            );
        }
        // As a target, too; as a source, the link itself is copied.
        assert!(Place::below(&from, Path::new("absolute"), true).is_err());
        let link = Place::below(&from, Path::new("absolute"), false).unwrap();
        assert_eq!(link.kind().unwrap(), Some(Kind::Link));
        let inside = Place::below(&from, Path::new("current"), true).unwrap();
        assert_eq!(inside.kind().unwrap(), Some(Kind::Directory));
        let missing = Place::below(&from, Path::new("v1/new"), true).unwrap();
        assert_eq!(missing.kind().unwrap(), None);
    }

    #[test]
    fn a_directory_is_not_copied_into_itself() {
        let (_dir, from, _, _) = trees();
        write(&from.join("a/file"), "text");
        for to in ["copy", "a/copy", ""] {
            let error = copied(&from, &from.join(to)).unwrap_err();
            assert_eq!(error.doing, "copy", "{error}");
        }
        assert_eq!(read(&from.join("a/file")), "text");
    }

    #[test]
    fn special_files_are_skipped_and_nesting_is_limited() {
        let (_dir, from, to, _) = trees();
        let fifo = from.join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        write(&from.join("file"), "text");
        let all = copied(&from, &to).unwrap();
        assert_eq!((all.files, all.skipped), (1, vec![fifo]));
        let deep: PathBuf = std::iter::repeat_n("d", MOST_LEVELS + 1).collect();
        fs::create_dir_all(&from.join(deep), 0o755).unwrap();
        let error = copied(&from, &to).unwrap_err();
        assert!(error.source.to_string().contains("levels deep"), "{error}");
    }

    #[test]
    fn holes_stay_holes() {
        let (_dir, from, to, _) = trees();
        let mut file = File::create(from.join("sparse")).unwrap();
        let size = 1 << 40;
        file.set_len(size).unwrap();
        file.seek(SeekFrom::Start(size / 2)).unwrap();
        io::Write::write_all(&mut file, b"data").unwrap();
        copied(&from.join("sparse"), &to.join("copy")).unwrap();
        let mut copy = File::open(to.join("copy")).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), size);
        assert!(copy.metadata().unwrap().blocks() < 1000);
        copy.seek(SeekFrom::Start(size / 2)).unwrap();
        let mut text = [0; 5];
        copy.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"data\0");
    }

    #[test]
    fn a_failed_copy_leaves_no_temporary_file() {
        let (_dir, from, to, _) = trees();
        write(&from.join("file"), "text");
        fs::create_dir(&to.join("file"), 0o755).unwrap();
        let error = copied(&from, &to).unwrap_err();
        assert_eq!(error.path, to.join("file"), "{error}");
        assert_eq!(names(&File::open(&to).unwrap()).unwrap(), ["file"]);
    }
}
