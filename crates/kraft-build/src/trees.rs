//! Fingerprints of source trees: whether anything that a build reads has changed.
//!
//! A file counts by its name, size, times, inode and permissions; nothing is read. That is what
//! make itself goes by, and more: the time of the last change of the inode cannot be put back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Deeper trees than this are not looked into.
const DEEPEST: usize = 64;
/// Names that no build reads, at any depth.
const IGNORED: [&str; 2] = [".git", ".unikraft"];

/// What trees look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prints {
    /// Over every file, in hexadecimal digits.
    pub all: String,
    /// Over the files that decide the configuration: `Config.uk`, `Kconfig…`, `version.mk` and
    /// the Makefiles of the trees' roots, in hexadecimal digits.
    pub configuration: String,
    /// Every file by its path, links resolved down to the tree's root.
    pub files: BTreeMap<PathBuf, Stamp>,
}

/// What tells that a file was written to: its size, its two times in nanoseconds, its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    size: u64,
    /// When its content was changed, in nanoseconds since 1970.
    pub modified: i128,
    changed: i128,
    inode: u64,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let nanos = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        Self {
            size: found.size(),
            modified: nanos(found.mtime(), found.mtime_nsec()),
            changed: nanos(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        }
    }
}

/// Looks at trees, except at some directories and files in them.
///
/// # Errors
/// A tree that is not there, or a directory that cannot be read.
pub fn look(trees: &[&Path], except: &[&Path]) -> Result<Prints, fs::Error> {
    let mut walk = Walk {
        all: Sha256::new(),
        configuration: Sha256::new(),
        except,
        seen: BTreeSet::new(),
        files: BTreeMap::new(),
    };
    for tree in trees {
        let real = tree.canonicalize().map_err(fs::Error::on("open", tree))?;
        walk.text(tree.as_os_str().as_bytes());
        walk.directory(&real, 0)?;
    }
    Ok(Prints {
        all: hex(walk.all),
        configuration: hex(walk.configuration),
        files: walk.files,
    })
}

/// Returns the fingerprint of texts, in hexadecimal digits.
pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sum = Sha256::new();
    for text in texts {
        sum.update((text.len() as u64).to_le_bytes());
        sum.update(text);
    }
    hex(sum)
}

pub(crate) fn hex(sum: Sha256) -> String {
    use std::fmt::Write as _;
    sum.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

struct Walk<'a> {
    all: Sha256,
    configuration: Sha256,
    except: &'a [&'a Path],
    seen: BTreeSet<(u64, u64)>,
    files: BTreeMap<PathBuf, Stamp>,
}

impl Walk<'_> {
    fn text(&mut self, bytes: &[u8]) {
        for sum in [&mut self.all, &mut self.configuration] {
            sum.update((bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        }
    }

    fn directory(&mut self, dir: &Path, depth: usize) -> Result<(), fs::Error> {
        let found = std::fs::metadata(dir).map_err(fs::Error::on("open", dir))?;
        if depth > DEEPEST || !self.seen.insert((found.dev(), found.ino())) {
            return Ok(());
        }
        let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
            .map_err(fs::Error::on("read", dir))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        paths.sort_unstable();
        for path in paths {
            let name = path.file_name().unwrap_or_default();
            let ignored = IGNORED.iter().any(|ignored| name == *ignored)
                || name.as_bytes().starts_with(b".config")
                || self.except.contains(&path.as_path());
            // A link that leads nowhere, or a file that has just gone, is nothing to a build.
            let Some(found) = (!ignored).then(|| std::fs::metadata(&path).ok()).flatten() else {
                continue;
            };
            if found.is_dir() {
                self.all.update(b"d");
                self.all.update(name.as_bytes());
                self.directory(&path, depth + 1)?;
            } else {
                let configures = configures(&name.to_string_lossy(), depth);
                let stamp = Stamp::of(&found);
                self.file(name.as_bytes(), stamp, found.mode(), configures);
                self.files.insert(path, stamp);
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &[u8], stamp: Stamp, mode: u32, configures: bool) {
        let Stamp {
            size,
            modified,
            changed,
            inode,
        } = stamp;
        let length = name.len() as u64;
        let numbers = [length, size, inode, u64::from(mode)]
            .map(i128::from)
            .into_iter()
            .chain([modified, changed]);
        let sums = [
            Some(&mut self.all),
            configures.then_some(&mut self.configuration),
        ];
        for sum in sums.into_iter().flatten() {
            sum.update(name);
            for number in numbers.clone() {
                sum.update(number.to_le_bytes());
            }
        }
    }
}

/// Whether a file decides what can be configured.
fn configures(name: &str, depth: usize) -> bool {
    name.strip_suffix(".uk")
        .is_some_and(|name| name.starts_with("Config"))
        || name.starts_with("Kconfig")
        || name == "version.mk"
        || (depth == 0 && name.starts_with("Makefile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("src/.git")).unwrap();
        for (name, text) in [
            ("Config.uk", "config A"),
            ("src/main.c", "int x;"),
            ("src/.git/HEAD", "x"),
        ] {
            fs::replace_file(&dir.path().join(name), text.as_bytes()).unwrap();
        }
        dir
    }

    #[test]
    fn a_changed_source_changes_the_one_print_and_a_changed_option_both() {
        let dir = tree();
        let before = look(&[dir.path()], &[]).unwrap();
        assert_eq!(look(&[dir.path()], &[]).unwrap(), before);
        fs::replace_file(&dir.path().join("src/main.c"), b"int y;").unwrap();
        let touched = look(&[dir.path()], &[]).unwrap();
        assert_ne!(touched.all, before.all);
        assert_eq!(touched.configuration, before.configuration);
        fs::replace_file(&dir.path().join("Config.uk"), b"config B").unwrap();
        assert_ne!(
            look(&[dir.path()], &[]).unwrap().configuration,
            before.configuration
        );
    }

    #[test]
    fn what_no_build_reads_does_not_count_and_a_loop_of_links_ends() {
        let dir = tree();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("src/loop")).unwrap();
        let before = look(&[dir.path()], &[&out]).unwrap();
        fs::replace_file(&out.join("kernel"), b"1").unwrap();
        fs::replace_file(&dir.path().join("src/.git/HEAD"), b"other").unwrap();
        fs::replace_file(&dir.path().join(".config.x"), b"A=y").unwrap();
        assert_eq!(look(&[dir.path()], &[&out]).unwrap(), before);
    }

    #[test]
    fn a_tree_that_is_not_there_is_an_error() {
        let dir = tree();
        assert!(look(&[&dir.path().join("nothing")], &[]).is_err());
    }
}
