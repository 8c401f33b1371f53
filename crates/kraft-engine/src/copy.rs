//! Copies files into and out of the volumes of machines.
//!
//! A machine's root file system is in its memory, which kraft does not read: what can be copied is in
//! the directories that the machine mounts. Whether it runs does not matter. The guest may change them
//! at any time, so no link in them is followed out of them ([`kraft_sys::tree`]).
//!
//! ```
//! use std::path::Path;
//!
//! use kraft_engine::copy::Side;
//!
//! let path = Path::new("/data/file");
//! assert_eq!(Side::parse("web:/data/file".as_ref()), Side::Machine { name: "web", path });
//! let path = Path::new("./a:b");
//! assert_eq!(Side::parse("./a:b".as_ref()), Side::Local(path));
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_core::mount::{self, Volume};
use kraft_machine::Machine;
use kraft_sys::fs;
pub use kraft_sys::tree::Copied;
use kraft_sys::tree::{self, Kind, Place};

use crate::context::Context;
use crate::machines;

/// Why nothing is copied, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No side is a machine.
    #[error("neither `{}` nor `{}` names a machine", from.display(), to.display())]
    NoMachine {
        /// The source.
        from: PathBuf,
        /// The destination.
        to: PathBuf,
    },
    /// A side is `-`, and the other one is not a machine.
    #[error("an archive is copied into or out of a machine only")]
    Stream,
    /// Both sides are machines.
    #[error("cannot copy from the machine `{from}` to the machine `{to}` at once")]
    TwoMachines {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
    /// The path is in the memory of the machine.
    #[error(
        "`{}` of the machine `{machine}` is not in a volume: it is in the machine's memory, which kraft cannot read or write",
        path.display()
    )]
    Outside {
        /// The machine.
        machine: String,
        /// The path in the machine.
        path: PathBuf,
        /// Where its volumes are mounted.
        volumes: Vec<String>,
    },
    /// The volume is mounted read-only.
    #[error("cannot write to `{}` of the machine `{machine}`: it is mounted read-only", path.display())]
    ReadOnly {
        /// The machine.
        machine: String,
        /// The path in the machine.
        path: PathBuf,
    },
    /// There is nothing to copy.
    #[error("`{}` does not exist", path.display())]
    NotFound {
        /// The source.
        path: PathBuf,
    },
    /// A directory cannot be copied over a file.
    #[error("cannot copy a directory to `{}`, which is not a directory", path.display())]
    NotADirectory {
        /// The destination.
        path: PathBuf,
    },
    /// A path with a slash at its end names a directory.
    #[error("the directory `{}` does not exist", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// There is no such machine.
    #[error(transparent)]
    Machines(#[from] kraft_machine::Error),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// One side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side<'a> {
    /// A path in a machine.
    Machine {
        /// The name or id of the machine, or the beginning of one.
        name: &'a str,
        /// The path, relative to `/`.
        path: &'a Path,
    },
    /// A path on the host.
    Local(&'a Path),
    /// A tar archive: stdin or stdout (`-`).
    Stream,
}

impl<'a> Side<'a> {
    /// Parses `MACHINE:PATH`, or else a path: with a slash or a dot before the first colon, as in
    /// Docker.
    pub fn parse(text: &'a OsStr) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        let local = Self::Local(Path::new(text));
        let mut parts = text.as_bytes().splitn(2, |byte| *byte == b':');
        let (Some(name), Some(path)) = (parts.next(), parts.next()) else {
            return local;
        };
        match std::str::from_utf8(name) {
            Ok(name) if !(name.is_empty() || name.contains('/') || name.starts_with('.')) => {
                let path = Path::new(OsStr::from_bytes(path));
                Self::Machine { name, path }
            }
            _ => local,
        }
    }
}

impl<'a> Side<'a> {
    /// Returns the side with another machine, if it is one.
    #[must_use]
    pub fn of_machine(self, name: &'a str) -> Self {
        match self {
            Self::Machine { path, .. } => Self::Machine { name, path },
            side @ (Self::Local(_) | Self::Stream) => side,
        }
    }
}

/// Copies a file into a volume of a machine as [`copy`] does, and makes the directories that its path
/// there needs.
///
/// # Errors
///
/// As [`copy`].
pub fn copy_with_directories(
    ctx: &Context,
    from: &Path,
    name: &str,
    to: &Path,
) -> Result<Copied, Error> {
    let machine = machines::existing(ctx).find(name)?;
    let (volume, rest) = locate(&machine, to)?;
    if !volume.read_only
        && let Some(parent) = rest.parent()
    {
        let mut made = PathBuf::new();
        for part in parent.components() {
            made.push(part);
            Place::below(&volume.source, &made, true)?.make_directory()?;
        }
    }
    copy(
        ctx,
        Side::Local(from),
        Side::Machine { name, path: to },
        false,
    )
}

/// Copies a file or a directory out of a volume of a machine or into one; archives have
/// [their own module](crate::copy_archive).
///
/// As in Docker, a directory that exists as the destination gets the source by its name, or the
/// contents of the source if that ends with `/.`; links are copied as links, but with `follow` the source
/// itself is what its link leads to.
///
/// # Errors
///
/// If not exactly one side is a machine, its path is not in a volume that can be written, or a file
/// cannot be read or written.
pub fn copy(ctx: &Context, from: Side<'_>, to: Side<'_>, follow: bool) -> Result<Copied, Error> {
    match (from, to) {
        (Side::Stream, _) | (_, Side::Stream) => Err(Error::Stream),
        (Side::Machine { name, path }, Side::Local(local)) => {
            let source = place_in(ctx, name, path, Reached::read(follow))?;
            transfer((&source, path), (&Place::at(local, true)?, local))
        }
        (Side::Local(local), Side::Machine { name, path }) => {
            let real = local.canonicalize().ok().filter(|_| follow);
            let source = real.as_deref().unwrap_or(local);
            let source = Place::at(source, ends_in_directory(local))?;
            let target = place_in(ctx, name, path, Reached::Written)?;
            transfer((&source, local), (&target, path))
        }
        (Side::Machine { name: from, .. }, Side::Machine { name: to, .. }) => {
            let (from, to) = (from.to_owned(), to.to_owned());
            Err(Error::TwoMachines { from, to })
        }
        (Side::Local(from), Side::Local(to)) => {
            let (from, to) = (from.to_owned(), to.to_owned());
            Err(Error::NoMachine { from, to })
        }
    }
}

/// What a path in a machine is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It is read.
    Read,
    /// It is read, and a link at its end is followed inside the volume.
    Followed,
    /// It is written.
    Written,
}

impl Reached {
    /// Returns how a source is read.
    pub(crate) const fn read(follow: bool) -> Self {
        if follow { Self::Followed } else { Self::Read }
    }
}

/// The maximum number of links that lead to each other.
const MOST_LINKS: usize = 40;

/// Opens the place of a path in a machine.
pub(crate) fn place_in(
    ctx: &Context,
    name: &str,
    path: &Path,
    reached: Reached,
) -> Result<Place, Error> {
    let machine = machines::existing(ctx).find(name)?;
    let into = reached == Reached::Written || ends_in_directory(path);
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let (volume, rest) = locate(&machine, &at)?;
        if reached == Reached::Written && volume.read_only {
            return Err(Error::ReadOnly {
                machine: machine.name,
                path: path.to_owned(),
            });
        }
        let place = Place::below(&volume.source, &rest, into)?;
        if reached != Reached::Followed {
            return Ok(place);
        }
        match place.link()? {
            // An absolute one begins at the root of the machine.
            Some(link) => at = at.parent().unwrap_or(Path::new("/")).join(link),
            None => return Ok(place),
        }
    }
    Err(Error::NotFound {
        path: path.to_owned(),
    })
}

/// Returns the volume of a path in a machine, and the path below its directory.
fn locate<'m>(machine: &'m Machine, path: &Path) -> Result<(&'m Volume, PathBuf), Error> {
    let plain = mount::plain_path(path);
    let volumes = &machine.spec.volumes;
    mount::locate(volumes, &plain).ok_or_else(|| Error::Outside {
        machine: machine.name.clone(),
        path: plain,
        volumes: volumes.iter().map(|it| it.destination.clone()).collect(),
    })
}

/// Returns whether the text of a path says that it is a directory.
pub(crate) fn ends_in_directory(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    text.ends_with(b"/") || text.ends_with(b"/.") || text == b"."
}

/// Returns the name that a source gets in a directory; `None` if only its contents are copied.
pub(crate) fn given_name(path: &Path) -> Option<&OsStr> {
    let text = path.as_os_str().as_bytes();
    if text.ends_with(b"/.") {
        return None;
    }
    path.file_name()
}

/// Copies to a destination that may be the directory to copy into. Each place has the path that names
/// it.
fn transfer(from: (&Place, &Path), to: (&Place, &Path)) -> Result<Copied, Error> {
    let ((source, from), (target, to)) = (from, to);
    let absent = || Error::NotFound {
        path: from.to_owned(),
    };
    let is_directory = source.kind()?.ok_or_else(absent)? == Kind::Directory;
    if ends_in_directory(from) && !is_directory {
        let path = from.to_owned();
        return Err(Error::NoDirectory { path });
    }
    let copied = match target.kind()? {
        Some(Kind::Directory) => match given_name(from) {
            Some(name) => tree::copy(source, &target.child(name)?),
            None => tree::copy(source, target),
        },
        Some(_) if is_directory => {
            let path = to.to_owned();
            return Err(Error::NotADirectory { path });
        }
        _ if ends_in_directory(to) && !is_directory => {
            let path = to.to_owned();
            return Err(Error::NoDirectory { path });
        }
        _ => tree::copy(source, target),
    };
    Ok(copied?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_before_the_first_colon() {
        let machine = |name, path: &'static str| Side::Machine {
            name,
            path: Path::new(path),
        };
        let local = |path: &'static str| Side::Local(Path::new(path));
        for (text, side) in [
            ("web:/data", machine("web", "/data")),
            ("web:data:b", machine("web", "data:b")),
            ("web:", machine("web", "")),
            ("file", local("file")),
            (":x", local(":x")),
            ("./a:b", local("./a:b")),
            ("../a:b", local("../a:b")),
            ("/a:b", local("/a:b")),
            ("a/b:c", local("a/b:c")),
        ] {
            assert_eq!(Side::parse(text.as_ref()), side, "{text}");
        }
    }

    /// Copies as `kraft cp` does, between two directories of the host.
    fn between(from: &Path, to: &Path) -> Result<Copied, Error> {
        let source = Place::at(from, ends_in_directory(from))?;
        transfer((&source, from), (&Place::at(to, true)?, to))
    }

    #[test]
    fn the_destination_is_the_name_or_the_directory_to_copy_into_as_in_docker() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir_all(&path("src"), 0o755).unwrap();
        fs::create_dir_all(&path("dir"), 0o755).unwrap();
        fs::replace_file(&path("src/file"), b"text").unwrap();
        fs::replace_file(&path("other"), b"old").unwrap();
        std::os::unix::fs::symlink("dir", path("link")).unwrap();
        for (from, to, made) in [
            ("src/file", "new", "new"),
            ("src/file", "other", "other"),
            ("src/file", "dir", "dir/file"),
            ("src/file", "link/", "dir/file"),
            ("src", "copy", "copy/file"),
            ("src", "dir", "dir/src/file"),
            ("src/", "link", "dir/src/file"),
            ("src/.", "dir", "dir/file"),
            ("src/.", "copy2", "copy2/file"),
        ] {
            between(&path(from), &path(to)).unwrap();
            assert_eq!(
                fs::read_file(&path(made), 9).unwrap(),
                b"text",
                "{from} {to}"
            );
            fs::remove_tree(&path(made)).unwrap();
        }
        fs::replace_file(&path("other"), b"old").unwrap();
        let error = |from: &str, to: &str| between(&path(from), &path(to)).unwrap_err();
        assert!(matches!(error("nothing", "dir"), Error::NotFound { .. }));
        assert!(matches!(error("src", "other"), Error::NotADirectory { .. }));
        assert!(matches!(
            error("src/file", "no/"),
            Error::NoDirectory { .. }
        ));
        assert!(matches!(error("src/file", "no/x"), Error::File(_)));
        assert!(matches!(
            error("src/file/.", "dir"),
            Error::NoDirectory { .. }
        ));
        assert_eq!(fs::read_file(&path("other"), 9).unwrap(), b"old");
    }
}
