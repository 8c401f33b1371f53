//! Checks untrusted trees: no entry may lead outside.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use kraft_sys::fs;

/// Maximum directory depth.
const DEEPEST: usize = 128;
/// Maximum number of links in one path.
const MOST_LINKS: usize = 40;

/// Returns the first entry of a tree that leads outside, or is not a file, directory or link, and
/// the reason.
pub(super) fn unsafe_entry(root: &Path) -> Result<Option<String>, fs::Error> {
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).map_err(fs::Error::on("read", &dir))? {
            let entry = entry.map_err(fs::Error::on("read", &dir))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(fs::Error::on("read", &path))?;
            let shown = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            let bad = |why: &str| Ok(Some(format!("`{}` {why}", shown.display())));
            if kind.is_dir() {
                if depth == DEEPEST {
                    return bad("is nested too deep");
                }
                waiting.push((path, depth + 1));
            } else if kind.is_symlink() {
                if !stays_inside(root, &shown) {
                    return bad("is a link that leads outside");
                }
            } else if kind.is_block_device()
                || kind.is_char_device()
                || kind.is_fifo()
                || kind.is_socket()
            {
                return bad("is neither file, directory nor link");
            }
        }
    }
    Ok(None)
}

/// Returns whether the link at `path` below `root`, and every link it leads through, stays below
/// `root`, even if it is dangling.
fn stays_inside(root: &Path, path: &Path) -> bool {
    let mut at = PathBuf::new();
    // Remaining path components, in reverse order.
    let mut ahead: Vec<OsString> = Vec::new();
    if !push(&mut ahead, path) {
        return false;
    }
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            if !at.pop() {
                return false;
            }
            continue;
        }
        at.push(part);
        let Ok(target) = std::fs::read_link(root.join(&at)) else {
            continue;
        };
        links += 1;
        if links > MOST_LINKS || !push(&mut ahead, &target) {
            // A loop does not lead outside.
            return links > MOST_LINKS;
        }
        at.pop();
    }
    true
}

/// Prepends the components of a relative path; returns false for an absolute one.
fn push(ahead: &mut Vec<OsString>, path: &Path) -> bool {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => ahead.push(name.to_owned()),
            Component::ParentDir => ahead.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(links: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (name, target) in links {
            symlink(target, dir.path().join(name)).unwrap();
        }
        dir
    }

    #[test]
    fn links_that_stay_inside_are_fine() {
        let tree = tree(&[
            ("one", "a/b"),
            ("a/two", "../one/../b"),
            ("loop", "loop"),
            ("nowhere", "a/nothing"),
            ("self", "."),
        ]);
        assert_eq!(unsafe_entry(tree.path()).unwrap(), None);
    }

    #[test]
    fn links_that_lead_outside_are_detected() {
        for links in [
            &[("l", "/etc/passwd")][..],
            &[("l", "../x")],
            &[("a/l", "../../x")],
            &[("a/s", "."), ("a/t", "s/../../../x")],
            &[("d", "a/b"), ("l", "d/../../../x")],
            &[("up", "."), ("l", "up/../x")],
        ] {
            let tree = tree(links);
            let found = unsafe_entry(tree.path()).unwrap();
            assert!(
                found.is_some_and(|f| f.contains("leads outside")),
                "{links:?}"
            );
        }
    }

    #[test]
    fn special_files_are_detected() {
        let tree = tree(&[]);
        let _listener = std::os::unix::net::UnixListener::bind(tree.path().join("s")).unwrap();
        assert!(
            unsafe_entry(tree.path())
                .unwrap()
                .unwrap()
                .contains("neither")
        );
    }
}
