//! Whether the files that a Dockerfile copies from are what they were: by a look at their numbers,
//! or by reading them all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kraft_archive::compression::read_some;
use kraft_core::dockerfile::patterns::Patterns;
use kraft_sys::fs::Error as FileError;
use sha2::{Digest as _, Sha256};

use crate::source::directory;
use crate::tree::{Kind, Tree};
use crate::{Error, shown};

/// More than this is not read only to see whether it changed, in bytes.
const MOST_READ: u64 = 64 << 20;

/// A directory without what is ignored.
#[derive(Debug)]
pub struct Context {
    tree: Tree,
    /// What may not change unseen.
    numbers: String,
}

impl Context {
    /// Looks at a directory; nothing in it is read.
    pub fn look(root: &Path, ignore: &Patterns) -> Result<Self, Error> {
        let numbers = RefCell::new(HashMap::new());
        let seen = |path: &str, metadata: &Metadata| {
            numbers
                .borrow_mut()
                .insert(path.to_owned(), numbers_of(metadata));
        };
        let tree = directory::kept(root, ignore, &seen)?;
        let numbers = numbers.into_inner();
        let mut hasher = Sha256::new();
        for (path, node) in tree.entries() {
            hasher.update(&path);
            for number in numbers.get(&shown(&path)).into_iter().flatten() {
                hasher.update(number.to_le_bytes());
            }
            if let Kind::Symlink(target) = &node.kind {
                hasher.update(target);
            }
            hasher.update([0]);
        }
        Ok(Self {
            tree,
            numbers: hex(hasher),
        })
    }

    /// Returns what changes whenever a file may have been written to.
    pub fn numbers(&self) -> &str {
        &self.numbers
    }

    /// Reads everything, and returns what changes when something in it does; `None` if there is so
    /// much that building again costs less.
    pub fn content(&self) -> Result<Option<String>, Error> {
        let sizes = self
            .tree
            .entries()
            .filter_map(|(_, node)| match &node.kind {
                Kind::File(content) => Some(content.size),
                _ => None,
            });
        if sizes.sum::<u64>() > MOST_READ {
            return Ok(None);
        }
        let mut hasher = Sha256::new();
        for (path, node) in self.tree.entries() {
            hasher.update(&path);
            hasher.update([0]);
            hasher.update(node.permissions.to_le_bytes());
            match &node.kind {
                Kind::Directory => hasher.update(b"d"),
                Kind::Symlink(target) => {
                    hasher.update(b"l");
                    hasher.update(target);
                    hasher.update([0]);
                }
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                    hasher.update(b"s");
                }
                Kind::File(content) => {
                    hasher.update(b"f");
                    hasher.update(content.size.to_le_bytes());
                    let mut file = content.open()?;
                    pour(&mut file, &mut hasher).map_err(FileError::on("read", &file.name))?;
                }
            }
        }
        Ok(Some(hex(hasher)))
    }
}

/// What a file system counts up when something in a file changes; of a directory only what it is.
fn numbers_of(metadata: &Metadata) -> Vec<u64> {
    let mut numbers = vec![u64::from(metadata.mode()), metadata.ino()];
    if !metadata.is_dir() {
        numbers.extend([
            metadata.size(),
            metadata.mtime().cast_unsigned(),
            metadata.mtime_nsec().cast_unsigned(),
            metadata.ctime().cast_unsigned(),
            metadata.ctime_nsec().cast_unsigned(),
        ]);
    }
    numbers
}

fn pour(from: &mut dyn Read, hasher: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = read_some(from, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

fn hex(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_changes_the_numbers_and_a_write_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let put = |text: &str| {
            use std::io::Write as _;
            std::fs::File::create(&file)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        let look = || {
            let context = Context::look(dir.path(), &Patterns::new(["*.log"])).unwrap();
            (
                context.numbers().to_owned(),
                context.content().unwrap().unwrap(),
            )
        };
        put("one");
        let first = look();
        assert_eq!(look(), first);
        std::fs::File::create(dir.path().join("x.log")).unwrap();
        assert_eq!(look(), first, "what is ignored does not count");
        put("one");
        let touched = look();
        assert_ne!(touched.0, first.0);
        assert_eq!(touched.1, first.1);
        put("two");
        assert_ne!(look().1, first.1);
    }
}
