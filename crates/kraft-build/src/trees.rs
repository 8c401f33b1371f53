//! Fingerprints of source trees, to detect changes of build inputs.
//!
//! A file is identified by its name, size, times, inode and permissions; contents are not read.
//! This is stricter than make itself: the change time of an inode cannot be set back.
//!
//! ```
//! use kraft_build::trees::look;
//!
//! let dir = tempfile::tempdir()?;
//! let before = look(&[dir.path()], &[])?;
//! std::fs::write(dir.path().join("main.c"), "int main;")?;
//! let after = look(&[dir.path()], &[])?;
//! assert_ne!(before.all, after.all);
//! assert_eq!(after.all, look(&[dir.path()], &[])?.all);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Maximum directory depth.
const DEEPEST: usize = 64;
/// Names that no build reads, at any depth.
const IGNORED: [&str; 2] = [".git", ".unikraft"];

/// Fingerprints of trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prints {
    /// Of every file, in hexadecimal digits.
    pub all: String,
    /// Of the files that affect the configuration: `Config.uk`, `Kconfig…`, `version.mk` and the
    /// Makefiles at the roots of the trees, in hexadecimal digits.
    pub configuration: String,
    /// Every file by its path, with links to the tree's root resolved.
    pub files: BTreeMap<PathBuf, Stamp>,
}

/// Metadata that changes when a file is written: size, modification and change time, inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    size: u64,
    /// Modification time, in nanoseconds since 1970.
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

/// Fingerprints trees, except for some directories and files in them.
///
/// # Errors
/// A tree is missing, or a directory cannot be read.
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
            // Dangling links, and files removed meanwhile, are ignored.
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

/// Returns whether a file affects the configuration.
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
    fn sources_change_one_fingerprint_and_options_both() {
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
    fn ignored_files_and_link_loops_are_skipped() {
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
    fn missing_trees_are_an_error() {
        let dir = tree();
        assert!(look(&[&dir.path().join("nothing")], &[]).is_err());
    }
}
