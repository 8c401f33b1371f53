//! Mounts of a machine: host directories and named volumes over 9p, and the initramfs.
//!
//! A volume is written as `SRC:DST[:ro|:rw]`, where `SRC` is a directory or the name of a volume
//! that kraft keeps; or as `DST` alone, for an anonymous volume. The guest learns of it from an entry of its file
//! system table, `device:path:driver:flags:options:unikraft-options` (Unikraft 0.17
//! lib/vfscore/automount), whose device is the 9p mount tag: `fs1:/data:9pfs:::mkmp`.
//!
//! ```
//! use std::path::PathBuf;
//!
//! use kraft_core::kernel::Guest;
//! use kraft_core::mount::{Volume, VolumeArg, locate};
//!
//! let arg: VolumeArg = "./data:/var/data:ro".parse()?;
//! assert!(arg.read_only);
//! let volume = Volume {
//!     name: None,
//!     source: PathBuf::from("/srv").join(arg.source.unwrap()),
//!     destination: arg.destination,
//!     read_only: arg.read_only,
//! };
//! assert!(volume.fstab_entry(0, Guest::Unikraft).starts_with("fs1:/var/data:9pfs:"));
//! assert!("data".parse::<VolumeArg>().is_err());
//! assert_eq!("/cache".parse::<VolumeArg>()?.source, None);
//!
//! let (mount, rest) = locate(std::slice::from_ref(&volume), "/var/data/a/b".as_ref()).unwrap();
//! assert_eq!((mount, rest.to_str()), (&volume, Some("a/b")));
//! # Ok::<(), kraft_core::mount::VolumeError>(())
//! ```

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::kernel::Guest;
use crate::machine::looks_like_id;

/// The table entry that unpacks the initramfs: device, mount point, driver, flags, options,
/// Unikraft's options.
///
/// Without `ramfs=2` (mount a ramfs root if there is none yet) Unikraft 0.17 has nothing to unpack
/// into and does not boot; kernels without that option ignore it (lib/vfscore/automount.c).
pub const INITRD_ENTRY: &str = "initrd0:/:extract::ramfs=2:";

/// Number of entries in the guest's table (`CONFIG_LIBVFSCORE_AUTOMOUNT_UP_SIZE`, default value).
pub const FSTAB_LIMIT: usize = 16;

/// The driver of volumes: directories of the host over 9p.
pub const DRIVER: &str = "9pfs";

/// Maximum length of the name of a volume, in characters: that of a file's name.
pub const NAME_LIMIT: usize = 255;

/// A host directory mounted in the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Name of the volume whose directory `source` is; `None` for another directory of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Absolute path of a directory on the host.
    ///
    /// QEMU splits `-fsdev` at commas, so a driver doubles the commas of this path.
    pub source: PathBuf,
    /// Absolute path inside the machine.
    pub destination: String,
    /// Whether the mount is read-only; the VMM rejects writes, and the built-in runtime does so itself.
    pub read_only: bool,
}

impl Volume {
    /// Returns its entry for the guest's table; `mkmp` creates the mount point.
    ///
    /// The flags are those of `mount(2)`: 1 is read-only. Only the built-in runtime gets them.
    pub fn fstab_entry(&self, index: usize, guest: Guest) -> String {
        let flags = if self.read_only && guest == Guest::Runtime {
            "1"
        } else {
            ""
        };
        format!("{}:{}:9pfs:{flags}::mkmp", tag(index), self.destination)
    }
}

/// Returns the 9p mount tag of a machine's volume, counted from 0: `fs1`, `fs2`, …
pub fn tag(index: usize) -> String {
    format!("fs{}", index.saturating_add(1))
}

/// Why the name of a volume is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeNameError {
    /// It has no characters.
    #[error("a volume's name cannot be empty")]
    Empty,
    /// It has more than [`NAME_LIMIT`] characters.
    #[error("a volume's name has at most {NAME_LIMIT} characters")]
    TooLong,
    /// It begins with a character other than a letter or digit, as a path or a flag would.
    #[error("a volume's name begins with a letter or a digit (A-Z, a-z, 0-9)")]
    Beginning,
    /// It contains a character that is not allowed.
    #[error(
        "a volume's name is made of letters, digits, `_`, `.` and `-`, and `{0}` is none of these"
    )]
    Character(char),
    /// It has the form of an id.
    #[error("a volume's name cannot look like a volume's id")]
    LooksLikeId,
}

/// Checks that a text is a valid name of a volume. No such name is a path with a directory.
///
/// # Errors
///
/// The reason if it is not.
pub fn check_name(name: &str) -> Result<(), VolumeNameError> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match name.chars().next() {
        None => Err(VolumeNameError::Empty),
        _ if name.len() > NAME_LIMIT => Err(VolumeNameError::TooLong),
        _ if looks_like_id(name) => Err(VolumeNameError::LooksLikeId),
        Some(first) if !first.is_ascii_alphanumeric() => Err(VolumeNameError::Beginning),
        Some(_) => name
            .chars()
            .find(odd)
            .map_or(Ok(()), |c| Err(VolumeNameError::Character(c))),
    }
}

/// The length of the name of an anonymous volume, which consists of hexadecimal digits as in Docker.
const ANONYMOUS: usize = 64;

/// Returns whether a name is that of a volume that belongs to one machine.
pub fn is_anonymous(name: &str) -> bool {
    name.len() == ANONYMOUS && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns an absolute path without `.` and `..`, which are removed from the text, as if no part was a
/// link: kraft does not see the links of a machine's root file system.
pub fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// Returns the volume that a path of a machine is in, and the path below its directory, which is
/// empty for the directory itself. The path must be [plain](plain_path).
pub fn locate<'v>(volumes: &'v [Volume], path: &Path) -> Option<(&'v Volume, PathBuf)> {
    let depth = |volume: &Volume| Path::new(&volume.destination).components().count();
    volumes
        .iter()
        .filter_map(|volume| Some((volume, path.strip_prefix(&volume.destination).ok()?)))
        .max_by_key(|(volume, _)| depth(volume))
        .map(|(volume, rest)| (volume, rest.to_owned()))
}

/// Returns whether two volumes are mounted on the same path.
pub fn same_place(one: &str, other: &str) -> bool {
    match (check_destination(one), check_destination(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Merges two lists of volumes: one in `typed` replaces one in `below` with the same destination;
/// the others are appended.
pub fn over(below: Vec<Volume>, typed: Vec<Volume>) -> Vec<Volume> {
    let mut typed = typed;
    let mut all = Vec::with_capacity(below.len() + typed.len());
    for volume in below {
        let instead = typed
            .iter()
            .position(|own| same_place(&own.destination, &volume.destination));
        all.push(instead.map_or(volume, |at| typed.remove(at)));
    }
    all.extend(typed);
    all
}

/// A volume as written; the source may be a relative path or a volume name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VolumeArg {
    /// The text before the first colon; `None` for an anonymous volume.
    pub source: Option<String>,
    /// Absolute path inside the machine, without a trailing slash.
    pub destination: String,
    /// Whether `:ro` was given.
    pub read_only: bool,
}

/// The text is not a valid volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("volume `{text}`: {kind}")]
pub struct VolumeError {
    /// The invalid text.
    pub text: String,
    /// What is wrong with it.
    kind: VolumeErrorKind,
}

/// Why a volume is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeErrorKind {
    /// It does not have two or three parts.
    #[error(
        "expected DIRECTORY:MACHINE_PATH[:ro|:rw], NAME:MACHINE_PATH[:ro|:rw] or MACHINE_PATH (a colon cannot be part of a path)"
    )]
    Shape,
    /// The part before the first colon is empty.
    #[error("the directory on the host, or the name of the volume, is missing")]
    NoSource,
    /// The third part is neither `ro` nor `rw`.
    #[error("unknown mode `{0}`: expected ro or rw")]
    Mode(String),
    /// The path inside the machine is invalid.
    #[error(transparent)]
    Destination(#[from] DestinationError),
}

/// Why a path cannot be a mount point of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// It is not absolute.
    #[error("the path inside the machine, `{0}`, is not absolute: it must begin with a slash")]
    NotAbsolute(String),
    /// It contains `.` or `..`.
    #[error("the path inside the machine, `{0}`, must not contain `.` or `..`")]
    Dots(String),
    /// It contains the separator of the guest's table fields.
    #[error(
        "the path inside the machine, `{0}`, contains a colon, which separates the fields of the guest's table"
    )]
    Colon(String),
    /// It contains a character that the command line cannot represent.
    #[error("the path inside the machine, {0:?}, contains a control character")]
    Control(String),
}

/// Returns the normalised path: no trailing slash, no double slashes.
pub fn check_destination(path: &str) -> Result<String, DestinationError> {
    let own = || path.to_owned();
    if path.contains(char::is_control) {
        return Err(DestinationError::Control(own()));
    }
    if path.contains(':') {
        return Err(DestinationError::Colon(own()));
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(DestinationError::NotAbsolute(own()));
    };
    let mut plain = String::with_capacity(path.len());
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        if part == "." || part == ".." {
            return Err(DestinationError::Dots(own()));
        }
        plain.push('/');
        plain.push_str(part);
    }
    if plain.is_empty() {
        plain.push('/');
    }
    Ok(plain)
}

impl FromStr for VolumeArg {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        read(text).map_err(|kind| VolumeError {
            text: text.to_owned(),
            kind,
        })
    }
}

fn read(text: &str) -> Result<VolumeArg, VolumeErrorKind> {
    let Some((source, rest)) = text.split_once(':') else {
        // Anything else was meant to have a source.
        if !text.starts_with('/') {
            return Err(VolumeErrorKind::Shape);
        }
        return Ok(VolumeArg {
            source: None,
            destination: check_destination(text)?,
            read_only: false,
        });
    };
    if source.is_empty() {
        return Err(VolumeErrorKind::NoSource);
    }
    let (destination, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        _ if mode.contains(':') => return Err(VolumeErrorKind::Shape),
        _ => return Err(VolumeErrorKind::Mode(mode.to_owned())),
    };
    Ok(VolumeArg {
        source: Some(source.to_owned()),
        destination: check_destination(destination)?,
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn volumes_are_parsed_with_and_without_a_mode() {
        let arg = |source: &str, destination: &str, read_only| {
            Ok(VolumeArg {
                source: Some(source.into()),
                destination: destination.into(),
                read_only,
            })
        };
        let anonymous = VolumeArg {
            source: None,
            destination: "/data/x".into(),
            read_only: false,
        };
        assert_eq!("/data//x/".parse(), Ok(anonymous));
        assert_eq!("./data:/data".parse(), arg("./data", "/data", false));
        assert_eq!("/a:/b:ro".parse(), arg("/a", "/b", true));
        assert_eq!("/a:/b:rw".parse(), arg("/a", "/b", false));
        assert_eq!("/a b:/c d//e/".parse(), arg("/a b", "/c d/e", false));
        assert_eq!("vol:/".parse(), arg("vol", "/", false));
    }

    #[test]
    fn errors_of_volumes_name_the_invalid_part() {
        let texts = [
            "data",
            "",
            ":/data",
            "/a/../b",
            "/a:data",
            "/a:",
            "/a:/b:rx",
            "/a:/b:ro:x",
            "/a:/b/../c",
            "/a:/b\n",
        ];
        insta::assert_snapshot!(
            texts.map(|text| text.parse::<VolumeArg>().unwrap_err().to_string()).join("\n"),
            @r#"
        volume `data`: expected DIRECTORY:MACHINE_PATH[:ro|:rw], NAME:MACHINE_PATH[:ro|:rw] or MACHINE_PATH (a colon cannot be part of a path)
        volume ``: expected DIRECTORY:MACHINE_PATH[:ro|:rw], NAME:MACHINE_PATH[:ro|:rw] or MACHINE_PATH (a colon cannot be part of a path)
        volume `:/data`: the directory on the host, or the name of the volume, is missing
        volume `/a/../b`: the path inside the machine, `/a/../b`, must not contain `.` or `..`
        volume `/a:data`: the path inside the machine, `data`, is not absolute: it must begin with a slash
        volume `/a:`: the path inside the machine, ``, is not absolute: it must begin with a slash
        volume `/a:/b:rx`: unknown mode `rx`: expected ro or rw
        volume `/a:/b:ro:x`: expected DIRECTORY:MACHINE_PATH[:ro|:rw], NAME:MACHINE_PATH[:ro|:rw] or MACHINE_PATH (a colon cannot be part of a path)
        volume `/a:/b/../c`: the path inside the machine, `/b/../c`, must not contain `.` or `..`
        volume `/a:/b
        `: the path inside the machine, "/b\n", contains a control character
        "#
        );
        assert_eq!(
            check_destination("/a:b"),
            Err(DestinationError::Colon("/a:b".into()))
        );
    }

    #[test]
    fn table_entries_use_the_mount_tags() {
        let volume = Volume {
            name: None,
            source: "/srv".into(),
            destination: "/data".into(),
            read_only: true,
        };
        let entry = |index, guest| volume.fstab_entry(index, guest);
        assert_eq!(entry(0, Guest::Unikraft), "fs1:/data:9pfs:::mkmp");
        assert_eq!(entry(11, Guest::Other), "fs12:/data:9pfs:::mkmp");
        assert_eq!(entry(0, Guest::Runtime), "fs1:/data:9pfs:1::mkmp");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_rejected(text in "\\PC*|[a/:.ro]{0,16}") {
            if let Ok(arg) = text.parse::<VolumeArg>() {
                prop_assert_eq!(check_destination(&arg.destination), Ok(arg.destination.clone()));
                prop_assert!(arg.source.is_none_or(|source| !source.is_empty()));
            }
        }
    }

    #[test]
    fn volumes_replace_those_of_the_same_destination() {
        let volume = |source: &str, destination: &str| Volume {
            name: None,
            source: source.into(),
            destination: destination.into(),
            read_only: false,
        };
        let below = vec![volume("/a", "/data"), volume("/b", "/data/sub")];
        let shown = |typed: Vec<Volume>| {
            over(below.clone(), typed)
                .iter()
                .map(|v| format!("{}:{}", v.source.display(), v.destination))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shown(vec![]), "/a:/data /b:/data/sub");
        assert_eq!(
            shown(vec![volume("/x", "//data/"), volume("/y", "/y")]),
            "/x://data/ /b:/data/sub /y:/y"
        );
        // Duplicates in the second list are kept; planning rejects them.
        assert_eq!(
            shown(vec![volume("/x", "/data"), volume("/y", "/data")]),
            "/x:/data /b:/data/sub /y:/data"
        );
    }

    #[test]
    fn names_of_volumes_are_not_paths_flags_or_ids() {
        for good in ["a", "0", "web_data-1.2", &"x".repeat(NAME_LIMIT)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", VolumeNameError::Empty),
            (".", VolumeNameError::Beginning),
            ("..", VolumeNameError::Beginning),
            ("-f", VolumeNameError::Beginning),
            ("~", VolumeNameError::Beginning),
            ("a/b", VolumeNameError::Character('/')),
            ("a\n", VolumeNameError::Character('\n')),
            ("a\0", VolumeNameError::Character('\0')),
            (&"x".repeat(NAME_LIMIT + 1), VolumeNameError::TooLong),
            (
                "6fa459ea-ee8a-4ca4-894e-db77e160355e",
                VolumeNameError::LooksLikeId,
            ),
        ] {
            assert_eq!(check_name(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn a_path_belongs_to_the_innermost_volume() {
        let volume = |destination: &str| Volume {
            name: None,
            source: "/srv".into(),
            destination: destination.to_owned(),
            read_only: false,
        };
        let volumes = ["/data", "/data/logs", "/other"].map(volume);
        let found = |path: &str| {
            let (volume, rest) = locate(&volumes, &plain_path(Path::new(path)))?;
            Some(format!("{} {}", volume.destination, rest.display()))
        };
        for (path, expected) in [
            ("/data", Some("/data ")),
            ("/data/", Some("/data ")),
            ("data/a", Some("/data a")),
            ("/data/../data/./a//b/", Some("/data a/b")),
            ("/data/logs/today", Some("/data/logs today")),
            ("/data/logsx", Some("/data logsx")),
            ("/datax", None),
            ("/data/../etc/passwd", None),
            ("/../../etc", None),
            ("/", None),
        ] {
            assert_eq!(found(path).as_deref(), expected, "{path}");
        }
        let everything = [volume("/"), volume("/data")];
        let (root, rest) = locate(&everything, Path::new("/etc")).unwrap();
        assert_eq!(
            (root.destination.as_str(), rest.to_str()),
            ("/", Some("etc"))
        );
    }
}
