//! Invalidates objects that make would consider up to date: make compares times only, and a file
//! restored by `cp -p`, `mv` or `tar` may be older than the objects made from another version.
//!
//! ```text
//! files changed since the last make
//!   ├ named by dependency files: remove the objects ─► make rebuilds them
//!   └ others, older than the last make and perhaps read by a rule ─► make clean
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kraft_sys::fs;

use super::{Error, Job};
use crate::make::Call;
use crate::state::{Product, State};
use crate::trees::Stamp;

/// Maximum size of the recorded file list, in bytes.
const LARGEST_MEMORY: u64 = 256 << 20;
/// Maximum size of a dependency file, in bytes.
const LARGEST_DEPENDENCIES: u64 = 4 << 20;
/// Maximum directory depth below make's build directory.
const DEEPEST: usize = 16;

/// Extensions of files that the compiler names in dependency files.
const COMPILED: [&str; 9] = ["c", "h", "S", "s", "cc", "cpp", "cxx", "hpp", "inc"];
/// Extensions of documentation files.
const PROSE: [&str; 5] = ["md", "rst", "adoc", "yaml", "yml"];
/// Extensions of archives that Unikraft's rules unpack.
const ARCHIVES: [&str; 8] = [
    ".zip", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar",
];
/// Prefixes of file names that no rule reads. Changes of `Config` files take effect when the kernel
/// is configured.
const NO_RULE: [&str; 9] = [
    ".",
    "Kraftfile",
    "Dockerfile",
    "Config",
    "Kconfig",
    "README",
    "LICENSE",
    "COPYING",
    "CODEOWNERS",
];

impl Job {
    /// Returns when make last ran, in nanoseconds since 1970; call it before starting the next log.
    pub(super) fn last_made(&self, state: &State) -> i128 {
        let log = Product::of(&self.places.log).ok();
        let made = log.iter().chain(&state.products);
        made.map(|product| product.time).max().unwrap_or_default()
    }

    /// Removes the build output of another location: after a project was copied or moved, paths in
    /// makefiles and dependency files are wrong, and the times of copies say nothing about which
    /// files were unpacked and patched. Downloads are kept.
    pub(super) fn forget_moved(&self, state: &mut State) -> Result<(), fs::Error> {
        let here = &self.places.work;
        if !state.place.as_os_str().is_empty() && state.place != *here {
            keep_downloads(here)?;
            fs::remove_tree(&fs::beside(here, ".files"))?;
            state.inputs = String::new();
            state.place.clone_from(here);
            state.save(&self.state_file())?;
        }
        state.place.clone_from(here);
        Ok(())
    }

    /// Removes the output made from changed files, and records the current files. `last` is when
    /// make last ran.
    pub(super) fn forget_stale(
        &self,
        call: &Call<'_>,
        files: &BTreeMap<PathBuf, Stamp>,
        last: i128,
    ) -> Result<(), Error> {
        let memory = fs::beside(&self.places.work, ".files");
        let before = remembered(&memory);
        // A file that was missing in the last, failed build may have existed before.
        let changed: BTreeSet<&Path> = files
            .iter()
            .filter(|(path, now)| before.get(*path) != Some(*now))
            .map(|(path, _)| path.as_path())
            .collect();
        if !before.is_empty() && !changed.is_empty() {
            let named = remove_dependent(&self.places.work, &changed)?;
            let missed = changed.iter().any(|path| {
                !named.contains(*path)
                    && files.get(*path).is_some_and(|now| now.modified <= last)
                    && self.may_be_read(path)
            });
            if missed {
                call.targets(&["clean"])?;
            }
        }
        let text = serde_json::to_vec(&files.iter().collect::<Vec<_>>())
            .map_err(|error| fs::Error::on("write", &memory)(error.into()))?;
        Ok(fs::replace_file(&memory, &text)?)
    }

    /// Returns whether a make rule may read a file that the compiler does not name.
    fn may_be_read(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        !COMPILED.contains(&ending)
            && !PROSE.contains(&ending)
            && !NO_RULE.iter().any(|start| name.starts_with(start))
            && !self.places.data.iter().any(|data| path.starts_with(data))
    }
}

/// Removes everything from the build directory except for archives, which are in the directories of
/// libraries.
fn keep_downloads(work: &Path) -> Result<(), fs::Error> {
    for library in std::fs::read_dir(work).into_iter().flatten().flatten() {
        if !library.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_tree(&library.path())?;
            continue;
        }
        for entry in std::fs::read_dir(library.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            let is_archive = ARCHIVES.iter().any(|ending| name.ends_with(ending));
            if !(is_archive && entry.file_type().is_ok_and(|kind| kind.is_file())) {
                fs::remove_tree(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Reads the recorded file list; invalid content yields an empty list.
fn remembered(memory: &Path) -> BTreeMap<PathBuf, Stamp> {
    let files = fs::read_file(memory, LARGEST_MEMORY)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Vec<(PathBuf, Stamp)>>(&bytes).ok());
    files.unwrap_or_default().into_iter().collect()
}

/// Removes the objects whose dependency files name one of these files; returns the files that were
/// named.
fn remove_dependent<'c>(
    work: &Path,
    changed: &BTreeSet<&'c Path>,
) -> Result<BTreeSet<&'c Path>, fs::Error> {
    // Below a link to a directory, a file has two paths.
    let spelled: HashMap<PathBuf, &Path> = changed
        .iter()
        .map(|path| {
            (
                path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
                *path,
            )
        })
        .collect();
    let mut named = BTreeSet::new();
    let mut real = HashMap::new();
    for list in dependency_files(work, 0) {
        let Ok(bytes) = fs::read_file(&list, LARGEST_DEPENDENCIES) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut hit = false;
        for token in text.split_ascii_whitespace() {
            let name = token.trim_end_matches([':', '\\']);
            if !name.starts_with('/') {
                continue;
            }
            let path = real
                .entry(name.to_owned())
                .or_insert_with(|| Path::new(name).canonicalize().ok());
            if let Some(path) = path.as_ref().and_then(|path| spelled.get(path)) {
                named.insert(*path);
                hit = true;
            }
        }
        if hit {
            remove_object(&list)?;
        }
    }
    Ok(named)
}

/// Removes the object of a dependency file: `x.o` for `x.d` and `x.o.d`, `x.lds` for `x.lds.d`.
fn remove_object(list: &Path) -> Result<(), fs::Error> {
    let stem = list.with_extension("");
    for object in [fs::beside(&stem, ".o"), stem] {
        if object.is_file() {
            fs::remove_file(&object)?;
        }
    }
    Ok(())
}

/// Returns the dependency files below the build directory, without following links.
fn dependency_files(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        let Ok(kind) = kind else { continue };
        if kind.is_dir() && depth < DEEPEST && entry.file_name() != "origin" {
            found.extend(dependency_files(&path, depth + 1));
        } else if kind.is_file() && path.extension().is_some_and(|ending| ending == "d") {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_removed_for_every_dependency_syntax() {
        let dir = tempfile::tempdir().unwrap();
        let (work, tree) = (dir.path().join("work"), dir.path().join("tree"));
        let source = tree.join("a.h");
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::replace_file(path, text.as_bytes()).unwrap();
        };
        write(&source, "");
        write(&tree.join("sub/other.h"), "");
        std::os::unix::fs::symlink(&tree, dir.path().join("link")).unwrap();
        write(&dir.path().join("shared/b.h"), "");
        std::os::unix::fs::symlink(dir.path().join("shared"), tree.join("shared")).unwrap();
        let named = source.display();
        let at = dir.path().display();
        for (list, text, object) in [
            (
                "l/gcc.o.d",
                format!("gcc.o: /x.c \\\n {named}\n"),
                "l/gcc.o",
            ),
            (
                "l/phony.o.d",
                format!("p.o: /x.c\n\n{named}:\n"),
                "l/phony.o",
            ),
            (
                "l/s/fixdep.d",
                format!("deps := \\\n  {named} \\\n"),
                "l/s/fixdep.o",
            ),
            (
                "l/script.lds.d",
                format!("x.lds: {named}\n"),
                "l/script.lds",
            ),
            ("l/dots.d", format!("x: {at}/tree/sub/../a.h\n"), "l/dots.o"),
            ("l/link.d", format!("x: {at}/link/a.h\n"), "l/link.o"),
            (
                "l/below.d",
                format!("x: {at}/tree/shared/b.h\n"),
                "l/below.o",
            ),
        ] {
            write(&work.join(list), &text);
            write(&work.join(object), "object");
        }
        write(
            &work.join("l/not.d"),
            &format!("x: {at}/tree/sub/other.h\n"),
        );
        write(&work.join("l/not.o"), "object");
        write(&work.join("l/origin/no.d"), &format!("x: {named}\n"));
        let real = source.canonicalize().unwrap();
        let below = real.with_file_name("shared/b.h");
        let changed = BTreeSet::from([real.as_path(), below.as_path()]);
        let named = remove_dependent(&work, &changed).unwrap();
        assert_eq!(named, changed);
        let mut left: Vec<String> = std::fs::read_dir(work.join("l"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| {
                Path::new(name)
                    .extension()
                    .is_none_or(|ending| ending != "d")
            })
            .collect();
        left.sort_unstable();
        assert_eq!(left, ["not.o", "origin", "s"]);
        assert!(!work.join("l/s/fixdep.o").exists());
    }

    #[test]
    fn invalid_file_lists_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("m.files");
        for text in ["", "{}", "[[1]]", "[[\"/a\", {\"size\": -1}]]"] {
            fs::replace_file(&memory, text.as_bytes()).unwrap();
            assert!(remembered(&memory).is_empty(), "{text}");
        }
    }
}
