//! Copies archives into and out of the volumes of machines: `kraft cp` with `-`.
//!
//! ```no_run
//! # use kraft_engine::context::Context;
//! use std::path::Path;
//!
//! use kraft_engine::copy_archive;
//!
//! # fn example(context: &Context) -> Result<(), copy_archive::Error> {
//! let mut tar = Vec::new();
//! copy_archive::write(context, ("web", Path::new("/var/log")), false, &mut tar)?;
//! copy_archive::extract(context, &tar[..], ("other", Path::new("/data")))?;
//! # Ok(())
//! # }
//! ```
//!
//! Neither the archive nor the volume is trusted: no entry leads out of the directory, and no link is
//! followed.

use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use kraft_archive::compression::decompress;
use kraft_archive::tar::{Entry, Kind, Limits, Reader};
use kraft_sys::fs;
use kraft_sys::tree::{self, Content, Copied, Found, Place};
use tar::{Builder, EntryType, Header};

use crate::context::Context;
use crate::copy::{self, Reached, ends_in_directory, given_name, place_in};

/// The limits of an archive that is extracted: the disk is the other one.
const LIMITS: Limits = Limits {
    entries: 10_000_000,
    bytes: 1 << 44,
};

/// An archive cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path cannot be used.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// An entry of the archive leads out of the directory.
    #[error("the archive has the entry `{0}`, which leads out of the directory")]
    Outside(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Writes what is at a path of a machine as a tar archive, with its name, or the contents of a directory
/// that ends with `/.`. With `follow`, a link at the path is followed.
///
/// # Errors
///
/// If the path is not in a volume, or something cannot be read or written.
pub fn write(
    ctx: &Context,
    (machine, path): (&str, &Path),
    follow: bool,
    out: impl Write,
) -> Result<Copied, Error> {
    let source = place_in(ctx, machine, path, Reached::read(follow))?;
    let found = source.kind()?.ok_or_else(|| copy::Error::NotFound {
        path: path.to_owned(),
    })?;
    if ends_in_directory(path) && found != tree::Kind::Directory {
        let path = path.to_owned();
        return Err(copy::Error::NoDirectory { path }.into());
    }
    pack(&source, given_name(path).unwrap_or(OsStr::new(".")), out)
}

/// Writes what is at a place under the name `base`.
fn pack(source: &Place, base: &OsStr, out: impl Write) -> Result<Copied, Error> {
    let mut archive = Archive {
        tar: Builder::new(out),
        base: Path::new(base),
        copied: Copied::default(),
    };
    let skipped = tree::walk(source, &mut |found| archive.add(found))?;
    let mut out = archive.tar.into_inner().map_err(Error::Write)?;
    out.flush().map_err(Error::Write)?;
    Ok(Copied {
        skipped,
        ..archive.copied
    })
}

struct Archive<'a, W: Write> {
    tar: Builder<W>,
    base: &'a Path,
    copied: Copied,
}

impl<W: Write> Archive<'_, W> {
    fn add(&mut self, found: Found<'_>) -> Result<(), Error> {
        let path = if found.path.as_os_str().is_empty() {
            self.base.to_owned()
        } else {
            self.base.join(found.path)
        };
        let mut header = Header::new_gnu();
        let describe = |header: &mut Header, metadata: &std::fs::Metadata| {
            header.set_mode(metadata.mode() & 0o7777);
            header.set_uid(metadata.uid().into());
            header.set_gid(metadata.gid().into());
            header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
        };
        let added = match found.content {
            Content::Directory(metadata) => {
                describe(&mut header, &metadata);
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                // Its name ends with a slash.
                let path = path.join("");
                self.tar.append_data(&mut header, path, io::empty())
            }
            Content::File(file, metadata) => {
                describe(&mut header, &metadata);
                header.set_entry_type(EntryType::Regular);
                header.set_size(metadata.len());
                self.copied.files += 1;
                self.copied.bytes += metadata.len();
                // The guest may truncate or extend it meanwhile.
                let content = BufReader::new(file).chain(io::repeat(0));
                let content = content.take(metadata.len());
                self.tar.append_data(&mut header, path, content)
            }
            Content::Link(target) => {
                header.set_mode(0o777);
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                self.tar.append_link(&mut header, path, target)
            }
        };
        added.map_err(Error::Write)
    }
}

/// Extracts a tar archive, compressed or not, into a directory of a machine, which must exist. Files and
/// links are replaced; owners, times and setuid bits are not those of the archive.
///
/// # Errors
///
/// If the path is not a directory in a volume that can be written, or the archive is not one.
pub fn extract(
    ctx: &Context,
    archive: impl Read,
    (machine, path): (&str, &Path),
) -> Result<Copied, Error> {
    let root = place_in(ctx, machine, path, Reached::Written)?;
    if root.kind()? != Some(tree::Kind::Directory) {
        let path = path.to_owned();
        return Err(copy::Error::NoDirectory { path }.into());
    }
    unpack(archive, &root)
}

/// Extracts an archive into a directory.
fn unpack(archive: impl Read, root: &Place) -> Result<Copied, Error> {
    let stream = decompress(archive).map_err(Error::Read)?;
    let mut tar = Reader::new(stream, LIMITS);
    let mut copied = Copied::default();
    // Last, so that one without permission to write gets its content.
    let mut modes = Vec::new();
    while let Some(entry) = tar.next_entry().map_err(Error::Read)? {
        let parts = inside(&entry.path)?;
        match entry.kind {
            Kind::Directory => {
                make_directories(root, &parts)?;
                if !parts.as_os_str().is_empty() {
                    modes.push((parts, entry.mode));
                }
            }
            Kind::File => {
                let place = make_place(root, &parts)?;
                copied.bytes += place.write_file(&mut tar, entry.mode)?;
                copied.files += 1;
            }
            Kind::Symlink => {
                make_place(root, &parts)?.write_link(OsStr::from_bytes(&entry.link))?;
            }
            Kind::HardLink => hard_link(root, &entry, &parts)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Other(_) => {
                copied.skipped.push(parts);
            }
        }
    }
    for (parts, mode) in modes.into_iter().rev() {
        existing(root, &parts)?.set_directory_mode(mode)?;
    }
    Ok(copied)
}

/// Returns the path of an entry below the directory.
fn inside(path: &[u8]) -> Result<PathBuf, Error> {
    let mut parts = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Outside(String::from_utf8_lossy(path).into_owned()));
            }
        }
    }
    Ok(parts)
}

/// Returns the place of a path whose directories exist. Links are not followed.
fn existing(root: &Place, path: &Path) -> Result<Place, Error> {
    let mut place = root.child(OsStr::new("."))?;
    for name in path {
        place = place.child(name)?;
    }
    Ok(place)
}

fn make_directories(root: &Place, path: &Path) -> Result<Place, Error> {
    let mut place = root.child(OsStr::new("."))?;
    for name in path {
        place = place.child(name)?;
        place.make_directory()?;
    }
    Ok(place)
}

/// Returns the place of a file, and makes its directories.
fn make_place(root: &Place, path: &Path) -> Result<Place, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Outside("/".to_owned()));
    };
    Ok(make_directories(root, parent)?.child(name)?)
}

/// Copies the file that an entry is another name of.
fn hard_link(root: &Place, entry: &Entry, path: &Path) -> Result<(), Error> {
    let first = existing(root, &inside(&entry.link)?)?;
    let place = make_place(root, path)?;
    // A copy: the guest sees no difference until it writes to one of them.
    if first.kind()? == Some(tree::Kind::File) {
        tree::copy(&first, &place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn place(path: &Path) -> Place {
        Place::at(path, true).unwrap()
    }

    #[test]
    fn a_tree_is_the_same_behind_an_archive() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(&from.join("sub/empty"), 0o755).unwrap();
        fs::create_dir_all(&to, 0o755).unwrap();
        fs::replace_file(&from.join("sub/file"), b"text").unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(from.join("sub/file"), mode(0o4750)).unwrap();
        symlink("/nowhere", from.join("sub/link")).unwrap();
        let mut tar = Vec::new();
        let packed = pack(&place(&from), "data".as_ref(), &mut tar).unwrap();
        assert_eq!((packed.files, packed.bytes), (1, 4));
        // What is there is replaced, links not followed.
        fs::create_dir_all(&to.join("data/sub"), 0o755).unwrap();
        symlink(home.path().join("other"), to.join("data/sub/file")).unwrap();
        let unpacked = unpack(&tar[..], &place(&to)).unwrap();
        assert_eq!((unpacked.files, unpacked.bytes), (1, 4));
        let file = to.join("data/sub/file");
        assert_eq!(fs::read_file(&file, 9).unwrap(), b"text");
        let permissions = std::fs::symlink_metadata(&file).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o7777, 0o750);
        assert_eq!(
            std::fs::read_link(to.join("data/sub/link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(to.join("data/sub/empty").is_dir());
        assert!(!home.path().join("other").exists());
        let cut = unpack(&tar[..700], &place(&to)).unwrap_err();
        assert!(matches!(cut, Error::Read(_) | Error::File(_)), "{cut}");
    }

    #[test]
    fn no_entry_leads_out_of_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
        fs::create_dir_all(&inside, 0o755).unwrap();
        fs::create_dir_all(&outside, 0o755).unwrap();
        fs::replace_file(&outside.join("secret"), b"secret").unwrap();
        let entry = |kind, path: &str, link: &Path, text: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            // The library refuses such names.
            let name = path.as_bytes();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            if !link.as_os_str().is_empty() {
                header
                    .set_link_name_literal(link.as_os_str().as_bytes())
                    .unwrap();
            }
            header.set_cksum();
            (header, text.to_vec())
        };
        let none = Path::new("");
        let file = |path: &str| entry(EntryType::Regular, path, none, b"bad");
        let link = entry(EntryType::Symlink, "link", &outside, b"");
        for entries in [
            vec![file("../outside/secret")],
            vec![file("a/../../outside/secret")],
            vec![link.clone(), file("link/secret")],
            vec![
                link.clone(),
                entry(EntryType::Directory, "link/x", none, b""),
            ],
            vec![entry(
                EntryType::Link,
                "x",
                Path::new("../outside/secret"),
                b"",
            )],
            vec![
                link,
                entry(EntryType::Link, "x", Path::new("link/secret"), b""),
            ],
        ] {
            let mut tar = Builder::new(Vec::new());
            for (header, text) in &entries {
                tar.append(header, &text[..]).unwrap();
            }
            let tar = tar.into_inner().unwrap();
            unpack(&tar[..], &place(&inside)).unwrap_err();
            assert_eq!(fs::names(&outside).unwrap(), ["secret"]);
            assert_eq!(
                fs::read_file(&outside.join("secret"), 9).unwrap(),
                b"secret"
            );
            assert!(!inside.join("x").exists());
        }
        // Absolute names are those in the directory.
        let mut tar = Builder::new(Vec::new());
        let (header, text) = file("/etc/file");
        tar.append(&header, &text[..]).unwrap();
        unpack(&tar.into_inner().unwrap()[..], &place(&inside)).unwrap();
        assert_eq!(fs::read_file(&inside.join("etc/file"), 9).unwrap(), b"bad");
    }
}
