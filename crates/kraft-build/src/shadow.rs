//! Mirrors directories whose names make does not support under safe names.
//!
//! Make splits at blanks and interprets `$`, `#`, `:` and `%`, and Unikraft's Makefile resolves
//! symbolic links. So a tree at such a path is presented to make as a tree of links: real
//! directories at a safe path, in which every file is a link to the original. Edits of files take
//! effect, and nothing is copied.
//!
//! ```
//! use kraft_build::shadow::{is_awkward, show, plain_name};
//!
//! let dir = tempfile::tempdir()?;
//! let tree = dir.path().join("my app");
//! std::fs::create_dir(&tree)?;
//! std::fs::write(tree.join("main.c"), "int main;")?;
//! assert!(is_awkward("my app".as_ref()));
//!
//! let mirror = dir.path().join(plain_name("my app"));
//! show(&tree, &mirror, &[])?;
//! assert_eq!(std::fs::read(mirror.join("main.c"))?, b"int main;");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use kraft_sys::fs;

/// Maximum depth of a mirrored tree.
const DEEPEST: usize = 64;

/// Returns whether make, or a shell in a recipe, would misread a path.
pub fn is_awkward(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| {
        byte.is_ascii_whitespace()
            || byte.is_ascii_control()
            || b"#$:%;&|<>()*?[]{}~!'\"\\`,=".contains(byte)
    })
}

/// Replaces characters in a name that make, or a shell in a recipe, would misread.
pub fn plain_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if is_awkward(Path::new(c.encode_utf8(&mut [0; 4]))) {
                '_'
            } else {
                c
            }
        })
        .collect()
}

/// Mirrors a tree at another path; removes entries that no longer exist in the tree.
///
/// `except` are names at the root of the tree that are skipped and kept.
pub fn show(tree: &Path, at: &Path, except: &[&str]) -> Result<(), fs::Error> {
    directory(tree, at, except, 0)
}

fn directory(from: &Path, to: &Path, except: &[&str], depth: usize) -> Result<(), fs::Error> {
    fs::create_dir_all(to, 0o755)?;
    let mut wanted: Vec<OsString> = Vec::new();
    for entry in std::fs::read_dir(from)
        .map_err(fs::Error::on("read", from))?
        .flatten()
    {
        let name = entry.file_name();
        if except.iter().any(|except| name == *except) || depth > DEEPEST {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if target.is_symlink() || target.is_file() {
                fs::remove_file(&target)?;
            }
            directory(&source, &target, &[], depth + 1)?;
        } else {
            link(&source, &target)?;
        }
        wanted.push(name);
    }
    wanted.sort_unstable();
    for entry in std::fs::read_dir(to)
        .map_err(fs::Error::on("read", to))?
        .flatten()
    {
        let left_out = except.iter().any(|except| entry.file_name() == *except);
        if wanted.binary_search(&entry.file_name()).is_err() && !left_out {
            fs::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn link(source: &Path, target: &Path) -> Result<(), fs::Error> {
    match std::fs::read_link(target) {
        Ok(found) if found == source => return Ok(()),
        Ok(_) => fs::remove_file(target)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => fs::remove_tree(target)?,
    }
    symlink(source, target).map_err(fs::Error::on("link", target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_blanks_and_special_characters_are_awkward() {
        for path in ["/a b", "/a#b", "/a$b", "/a:b", "/it's"] {
            assert!(is_awkward(Path::new(path)), "{path}");
        }
        for path in ["/a/b-c_d.1+2@3", "/tür/日本"] {
            assert!(!is_awkward(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn special_characters_are_replaced() {
        assert_eq!(plain_name("my app=1_qemu-x86_64"), "my_app_1_qemu-x86_64");
        assert_eq!(plain_name("tür"), "tür");
    }

    #[test]
    fn trees_are_mirrored_without_exceptions() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, at) = (dir.path().join("a b"), dir.path().join("shown"));
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::fs::create_dir_all(tree.join(".unikraft")).unwrap();
        fs::replace_file(&tree.join("sub/x.c"), b"1").unwrap();
        fs::replace_file(&tree.join("old"), b"1").unwrap();
        show(&tree, &at, &[".unikraft"]).unwrap();
        assert_eq!(std::fs::read(at.join("sub/x.c")).unwrap(), b"1");
        assert!(!at.join(".unikraft").exists());
        assert!(!at.join("sub").is_symlink());

        std::fs::remove_file(tree.join("old")).unwrap();
        std::fs::create_dir(tree.join("old")).unwrap();
        fs::replace_file(&tree.join("old/y"), b"2").unwrap();
        std::fs::remove_dir_all(tree.join("sub")).unwrap();
        fs::replace_file(&tree.join("sub"), b"3").unwrap();
        show(&tree, &at, &[".unikraft"]).unwrap();
        assert_eq!(std::fs::read(at.join("old/y")).unwrap(), b"2");
        assert_eq!(std::fs::read(at.join("sub")).unwrap(), b"3");
    }
}
