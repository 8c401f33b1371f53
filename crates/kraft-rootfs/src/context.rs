//! Detects changes of the files that a Dockerfile copies: by their metadata, or by their contents.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kraft_core::dockerfile::patterns::Patterns;
use sha2::{Digest as _, Sha256};

use crate::cache_key::{self, Key};
use crate::dockerfile::context_subset;
use crate::source::directory;
use crate::tree::{Kind, Tree};
use crate::{Error, shown};

/// Maximum size in bytes of contents that are read only to detect a change.
const MOST_READ: u64 = 64 << 20;

/// The files of a directory that are not ignored.
///
/// ```
/// use kraft_core::dockerfile::patterns::Patterns;
/// use kraft_rootfs::Context;
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a"), "1")?;
/// let look = || Context::look(dir.path(), &Patterns::default());
/// let before = look()?.content(None)?;
/// std::fs::write(dir.path().join("a"), "2")?;
/// assert_ne!(look()?.content(None)?, before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Context {
    tree: Tree,
    /// Metadata that identifies a version of a file, by path.
    numbers: HashMap<String, Vec<u64>>,
}

impl Context {
    /// Lists a directory without reading its files.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn look(root: &Path, ignore: &Patterns) -> Result<Self, Error> {
        let numbers = RefCell::new(HashMap::new());
        let seen = |path: &str, metadata: &Metadata| {
            numbers
                .borrow_mut()
                .insert(path.to_owned(), numbers_of(metadata));
        };
        let tree = directory::kept(root, ignore, &seen)?;
        Ok(Self {
            tree,
            numbers: numbers.into_inner(),
        })
    }

    /// Returns a digest of metadata, which changes if a file was written. With `taken` (paths and
    /// patterns) only those files count.
    pub fn numbers(&self, taken: Option<&[String]>) -> String {
        let part = taken.map(|taken| context_subset::of(&self.tree, taken));
        let mut hasher = Sha256::new();
        for way in part.iter().flat_map(|part| &part.ways) {
            hasher.update(way);
            hasher.update([0]);
        }
        let tree = part.as_ref().map_or(&self.tree, |part| &part.tree);
        for (path, node) in tree.entries() {
            hasher.update(&path);
            for number in self.numbers.get(&shown(&path)).into_iter().flatten() {
                hasher.update(number.to_le_bytes());
            }
            if let Kind::Symlink(target) = &node.kind {
                hasher.update(target);
            }
            hasher.update([0]);
        }
        cache_key::hex(&hasher.finalize().into())
    }

    /// Returns a digest of the contents; `None` if building again is faster than reading them. With
    /// `taken` only those files count.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn content(&self, taken: Option<&[String]>) -> Result<Option<String>, Error> {
        let part = taken.map(|taken| context_subset::of(&self.tree, taken));
        let tree = part.as_ref().map_or(&self.tree, |part| &part.tree);
        let sizes = tree.entries().filter_map(|(_, node)| match &node.kind {
            Kind::File(content) => Some(content.size),
            _ => None,
        });
        if sizes.sum::<u64>() > MOST_READ {
            return Ok(None);
        }
        let mut all = Key::new("context").and(cache_key::of_tree(tree)?);
        for way in part.iter().flat_map(|part| &part.ways) {
            all.add(way);
        }
        Ok(Some(cache_key::hex(&all.digest())))
    }
}

/// Returns the metadata that a file system changes with a file; of a directory only its identity.
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
            let context = Context::look(dir.path(), &Patterns::new(["*.log"]).unwrap()).unwrap();
            (
                context.numbers(None),
                context.content(None).unwrap().unwrap(),
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

    #[test]
    fn only_what_is_taken_counts() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            kraft_sys::fs::overwrite(&path, text.as_bytes()).unwrap();
        };
        let look = |taken: &[&str]| {
            let taken: Vec<String> = taken.iter().map(|it| (*it).to_owned()).collect();
            let context = Context::look(dir.path(), &Patterns::default()).unwrap();
            let read = context.content(Some(&taken)).unwrap().unwrap();
            (context.numbers(Some(&taken)), read)
        };
        put("src/a.c", "a");
        put("data/x", "1");
        std::os::unix::fs::symlink("src", dir.path().join("link")).unwrap();
        let kinds: [&[&str]; 4] = [&["src"], &["link/a.c"], &["s*/*.c", "none*"], &["src/a.c"]];
        let before = kinds.map(look);
        put("data/x", "2");
        put("data/more", "3");
        assert_eq!(kinds.map(look), before, "no kind takes `data`");
        assert_ne!(look(&["."]), {
            put("data/x", "4");
            look(&["."])
        });
        put("src/a.c", "b");
        for (kind, before) in kinds.iter().zip(&before) {
            let now = look(kind);
            assert_ne!((&now.0, &now.1), (&before.0, &before.1), "{kind:?}");
            assert_ne!(now.1, before.1, "{kind:?}");
        }
        // A pattern takes what is new.
        let before = look(&["n*"]);
        put("new", "");
        assert_ne!(look(&["n*"]), before);
    }
}
