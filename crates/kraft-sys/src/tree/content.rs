//! Reads trees entry by entry and writes entries, for archives. As in copies, no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};

use super::{Entry, Kind, MOST_LEVELS, PERMISSIONS, Place, Temporary, names, open_at};
use crate::fs::Error;

/// An entry of a tree.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its path below the place; empty for the place itself.
    pub path: &'a Path,
    /// What it is.
    pub content: Content,
}

/// What an entry of a tree is.
#[derive(Debug)]
pub enum Content {
    /// A directory, whose entries follow.
    Directory(Metadata),
    /// An open file. A guest may change its size meanwhile.
    File(File, Metadata),
    /// The target of a symbolic link.
    Link(OsString),
}

/// Calls `each` for what is at a place, and with a directory for everything in it, sorted by name.
/// Returns the paths of devices, sockets and named pipes, which are skipped.
///
/// ```
/// use kraft_sys::fs;
/// use kraft_sys::tree::{Place, walk};
///
/// let dir = tempfile::tempdir()?;
/// fs::create_dir_all(&dir.path().join("sub"), 0o755)?;
/// fs::replace_file(&dir.path().join("sub/file"), b"hello")?;
/// let mut paths = Vec::new();
/// walk(&Place::at(dir.path(), true)?, &mut |found| {
///     paths.push(found.path.display().to_string());
///     Ok::<_, fs::Error>(())
/// })?;
/// assert_eq!(paths, ["", "sub", "sub/file"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of `each`; if something cannot be read, or directories are nested more than 256 levels deep.
pub fn walk<E: From<Error>>(
    from: &Place,
    each: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
) -> Result<Vec<PathBuf>, E> {
    let mut skipped = Vec::new();
    visit(&from.entry(), Path::new(""), 0, &mut skipped, each)?;
    Ok(skipped)
}

fn visit<E: From<Error>>(
    from: &Entry<'_>,
    path: &Path,
    level: usize,
    skipped: &mut Vec<PathBuf>,
    each: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let stat = match rustix::fs::statat(from.dir, from.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        // It was removed meanwhile.
        Err(rustix::io::Errno::NOENT) if level > 0 => return Ok(()),
        Err(e) => return Err(from.cannot("read")(e.into()).into()),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |more: OFlags| -> Result<(File, Metadata), Error> {
        let file = open_at(from.dir, from.name, flags | OFlags::CLOEXEC | more);
        let file = file.map_err(from.cannot("read"))?;
        let metadata = file.metadata().map_err(from.cannot("read"))?;
        Ok((file, metadata))
    };
    match Kind::of(stat.st_mode) {
        Kind::File => {
            let (file, metadata) = open(OFlags::empty())?;
            if !metadata.is_file() {
                skipped.push(from.path.to_owned());
                return Ok(());
            }
            let content = Content::File(file, metadata);
            each(Found { path, content })
        }
        Kind::Link => {
            let target = rustix::fs::readlinkat(from.dir, from.name, Vec::new());
            let target = target.map_err(|e| from.cannot("read")(e.into()))?;
            let content = Content::Link(OsStr::from_bytes(target.to_bytes()).to_owned());
            each(Found { path, content })
        }
        Kind::Directory if level >= MOST_LEVELS => {
            let why = "it is more than 256 levels deep";
            let why = io::Error::new(io::ErrorKind::InvalidInput, why);
            Err(from.cannot("read")(why).into())
        }
        Kind::Directory => {
            let (dir, metadata) = open(OFlags::DIRECTORY)?;
            let content = Content::Directory(metadata);
            each(Found { path, content })?;
            for name in names(&dir).map_err(from.cannot("read"))? {
                let entry = Entry {
                    dir: &dir,
                    name: &name,
                    path: &from.path.join(&name),
                };
                visit(&entry, &path.join(&name), level + 1, skipped, each)?;
            }
            Ok(())
        }
        Kind::Other => {
            skipped.push(from.path.to_owned());
            Ok(())
        }
    }
}

impl Place {
    /// Writes a file as a whole, instead of a file or a link that exists, and returns its size. Of the
    /// mode, the permissions count.
    ///
    /// # Errors
    ///
    /// If `content` cannot be read, or the file cannot be written.
    pub fn write_file(&self, content: &mut dyn Read, mode: u32) -> Result<u64, Error> {
        let mut write = || -> io::Result<u64> {
            let (mut file, temporary) = Temporary::file(&self.dir)?;
            let size = io::copy(content, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode & PERMISSIONS))?;
            temporary
                .map_or_else(|| Temporary::named(&self.dir, &file), Ok)?
                .rename(&self.name)?;
            Ok(size)
        };
        write().map_err(Error::on("write", &self.path))
    }

    /// Writes a symbolic link, instead of a file or a link that exists.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_link(&self, target: &OsStr) -> Result<(), Error> {
        Temporary::link(&self.dir, target)
            .and_then(|temporary| temporary.rename(&self.name))
            .map_err(Error::on("write", &self.path))
    }

    /// Gives a directory the permissions of a mode.
    ///
    /// # Errors
    ///
    /// If there is no directory, or it is that of another user.
    pub fn set_directory_mode(&self, mode: u32) -> Result<(), Error> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open_at(&self.dir, &self.name, flags)
            .and_then(|dir| dir.set_permissions(Permissions::from_mode(mode & PERMISSIONS)))
            .map_err(Error::on("change", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_replace_links_and_directories_behind_links_are_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir(&root).unwrap();
        crate::fs::replace_file(&outside, b"secret").unwrap();
        symlink(&outside, root.join("file")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        let place = |path: &str| Place::below(&root, "".as_ref(), true)?.child(path.as_ref());
        let written = place("file").unwrap().write_file(&mut &b"new"[..], 0o4640);
        assert_eq!(written.unwrap(), 3);
        assert_eq!(std::fs::read(root.join("file")).unwrap(), b"new");
        assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
        let mode = std::fs::metadata(root.join("file")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o640);
        assert!(place("up").unwrap().child("x".as_ref()).is_err());
        assert!(place("up").unwrap().set_directory_mode(0o700).is_err());
        place("link").unwrap().write_link("file".as_ref()).unwrap();
        let mut found = Vec::new();
        let all = Place::below(&root, "".as_ref(), true).unwrap();
        let skipped = walk(&all, &mut |it| {
            let what = match it.content {
                Content::Directory(_) => "directory".to_owned(),
                Content::File(_, metadata) => metadata.len().to_string(),
                Content::Link(target) => target.to_string_lossy().into_owned(),
            };
            found.push(format!("{} {what}", it.path.display()));
            Ok::<_, Error>(())
        });
        assert!(skipped.unwrap().is_empty());
        let up = format!("up {}", dir.path().display());
        assert_eq!(found, [" directory", "file 3", "link file", &up]);
    }
}
