//! Listing of a directory for a daemon, in the order that it requires (fsutil's `validator.go`): by
//! bytes in each directory, a directory before its entries.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard_buildkit_proto::fsutil::types::Stat;
use kraft_core::dockerfile::patterns::Patterns;

use super::follow;

/// Bits of Go's `os.FileMode` that are not permissions (Go, `io/fs`).
mod mode {
    pub(super) const DIRECTORY: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const FIFO: u32 = 1 << 25;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHAR_DEVICE: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

/// Returns whether an entry of a listing is a regular file.
pub(crate) fn is_file(stat: &Stat) -> bool {
    let other = mode::DIRECTORY | mode::SYMLINK | mode::DEVICE | mode::FIFO;
    stat.mode & other == 0
}

/// Which entries of a directory are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only what matches one of these, and the directories on the way to it.
    pub(crate) include: Vec<String>,
    /// Patterns of entries that are left out: the lines of a `.dockerignore`.
    pub(crate) exclude: Vec<String>,
    /// Like `include`, with the targets of links.
    pub(crate) follow: Vec<String>,
}

/// Lists a directory. A listing contains what is needed to send the files.
pub(crate) fn list(root: &Path, filter: &Filter) -> io::Result<Vec<Stat>> {
    let mut include = filter.include.clone();
    if !filter.follow.is_empty() {
        include.extend(follow::links(root, &filter.follow));
    }
    let everything = include
        .iter()
        .any(|path| matches!(path.as_str(), "" | "." | "/"));
    let patterns = |list: &[String]| {
        Patterns::new(list.iter().map(String::as_str))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let include = (!include.is_empty() && !everything)
        .then(|| patterns(&include))
        .transpose()?;
    let mut walk = Walk {
        root,
        include,
        exclude: patterns(&filter.exclude)?,
        names: HashMap::new(),
        waiting: Vec::new(),
        found: Vec::new(),
    };
    let metadata = std::fs::metadata(root)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    walk.directory("")?;
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    include: Option<Patterns>,
    exclude: Patterns,
    /// The first name of a file with several, by device and number.
    names: HashMap<(u64, u64), String>,
    /// Directories that are listed only if an entry of them is.
    waiting: Vec<Stat>,
    found: Vec<Stat>,
}

impl Walk<'_> {
    fn directory(&mut self, below: &str) -> io::Result<()> {
        let full = self.root.join(below);
        let about = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot read `{}`: {error}", full.display()),
            )
        };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&full).map_err(about)? {
            let name = entry.map_err(about)?.file_name();
            let Some(name) = name.to_str() else {
                // The protocol carries names as text.
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the name `{}` in `{}` is not UTF-8",
                        name.display(),
                        full.display()
                    ),
                ));
            };
            entries.push(name.to_owned());
        }
        entries.sort_unstable();
        for name in entries {
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            self.entry(&path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &str) -> io::Result<()> {
        let full = self.root.join(path);
        let metadata = match std::fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let directory = metadata.is_dir();
        let excluded = self.exclude.matches(path);
        if excluded && !(directory && self.exclude.may_except_below(path)) {
            return Ok(());
        }
        let included = match &self.include {
            None => true,
            Some(include) if include.matches(path) => true,
            Some(include) if directory && include.may_match_below(path) => false,
            Some(_) => return Ok(()),
        };
        let Some(stat) = self.stat(path, &full, &metadata)? else {
            return Ok(());
        };
        if !directory {
            self.found.append(&mut self.waiting);
            self.found.push(stat);
            return Ok(());
        }
        let waits = excluded || !included;
        if waits {
            self.waiting.push(stat);
        } else {
            self.found.append(&mut self.waiting);
            self.found.push(stat);
        }
        let depth = self.waiting.len();
        self.directory(path)?;
        if waits && self.waiting.len() == depth {
            self.waiting.pop();
        }
        Ok(())
    }

    /// Describes an entry; `None` for a socket, which daemons do not accept.
    fn stat(&mut self, path: &str, full: &Path, metadata: &Metadata) -> io::Result<Option<Stat>> {
        let kind = metadata.file_type();
        let mut stat = Stat {
            mode: metadata.mode() & 0o777,
            mod_time: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
            // The files of a context always belong to root.
            uid: 0,
            gid: 0,
            ..Stat::default()
        };
        for (bit, own) in [
            (0o4000, mode::SETUID),
            (0o2000, mode::SETGID),
            (0o1000, mode::STICKY),
        ] {
            if metadata.mode() & bit != 0 {
                stat.mode |= own;
            }
        }
        let (major, minor) = (
            device_part(metadata.rdev(), true),
            device_part(metadata.rdev(), false),
        );
        if kind.is_dir() {
            stat.mode |= mode::DIRECTORY;
        } else if kind.is_symlink() {
            stat.mode |= mode::SYMLINK;
            stat.linkname = text(std::fs::read_link(full)?)?;
        } else if kind.is_file() {
            let first = (metadata.nlink() > 1)
                .then(|| {
                    let key = (metadata.dev(), metadata.ino());
                    let known = self.names.get(&key).cloned();
                    if known.is_none() {
                        self.names.insert(key, path.to_owned());
                    }
                    known
                })
                .flatten();
            match first {
                Some(first) => stat.linkname = first,
                None => stat.size = i64::try_from(metadata.len()).unwrap_or(i64::MAX),
            }
        } else if kind.is_fifo() {
            stat.mode |= mode::FIFO;
        } else if kind.is_char_device() || kind.is_block_device() {
            stat.mode |= mode::DEVICE;
            if kind.is_char_device() {
                stat.mode |= mode::CHAR_DEVICE;
            }
            (stat.devmajor, stat.devminor) = (major, minor);
        } else {
            return Ok(None);
        }
        path.clone_into(&mut stat.path);
        Ok(Some(stat))
    }
}

/// Splits a device number as Linux does (`makedev(3)`).
fn device_part(number: u64, major: bool) -> i64 {
    let part = if major {
        ((number >> 32) & 0xffff_f000) | ((number >> 8) & 0xfff)
    } else {
        ((number >> 12) & 0xffff_ff00) | (number & 0xff)
    };
    i64::try_from(part).unwrap_or(0)
}

fn text(path: PathBuf) -> io::Result<String> {
    path.into_os_string().into_string().map_err(|path| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the link's target `{}` is not UTF-8", path.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path, filter: &Filter) -> Vec<String> {
        let found = list(root, filter).unwrap();
        found.into_iter().map(|stat| stat.path).collect()
    }

    fn some(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "a/x.c",
            "a/x.o",
            "a-b",
            "b/deep/er/y",
            "node_modules/keep/z",
            "ü",
        ] {
            let full = dir.path().join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            std::fs::File::create(full).unwrap();
        }
        std::fs::hard_link(dir.path().join("a/x.c"), dir.path().join("b/hard")).unwrap();
        std::os::unix::fs::symlink("b/deep", dir.path().join("way")).unwrap();
        dir
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let dir = tree();
        let found = paths(dir.path(), &Filter::default());
        assert_eq!(
            found,
            [
                "a",
                "a/x.c",
                "a/x.o",
                "a-b",
                "b",
                "b/deep",
                "b/deep/er",
                "b/deep/er/y",
                "b/hard",
                "node_modules",
                "node_modules/keep",
                "node_modules/keep/z",
                "way",
                "ü"
            ]
        );
    }

    #[test]
    fn what_is_excluded_is_not_told_unless_taken_back() {
        let dir = tree();
        let filter = Filter {
            exclude: some(&["**/*.o", "node_modules", "!node_modules/keep", "b"]),
            ..Filter::default()
        };
        assert_eq!(
            paths(dir.path(), &filter),
            [
                "a",
                "a/x.c",
                "a-b",
                "node_modules",
                "node_modules/keep",
                "node_modules/keep/z",
                "way",
                "ü"
            ]
        );
    }

    #[test]
    fn only_what_is_wished_is_told_with_the_way_to_it() {
        let dir = tree();
        let filter = Filter {
            follow: some(&["way/er", "a/*.c"]),
            ..Filter::default()
        };
        assert_eq!(
            paths(dir.path(), &filter),
            [
                "a",
                "a/x.c",
                "b",
                "b/deep",
                "b/deep/er",
                "b/deep/er/y",
                "way"
            ]
        );
        let filter = Filter {
            include: some(&["nothing"]),
            ..Filter::default()
        };
        assert!(paths(dir.path(), &filter).is_empty());
    }

    #[test]
    fn a_second_name_of_a_file_is_a_link_to_the_first() {
        let dir = tree();
        let found = list(dir.path(), &Filter::default()).unwrap();
        let hard = found.iter().find(|stat| stat.path == "b/hard").unwrap();
        assert_eq!((hard.linkname.as_str(), hard.size), ("a/x.c", 0));
    }
}
