//! Component trees: created once in the cache, copied into projects, and marked with their origin.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kraft_core::lock::Pin;
use kraft_http::text::redacted_url;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::archive::LEADS_OUT;
use super::error::{ArchiveError, Error};
use super::{Sources, archive, git, tree_check};
use crate::trees;

/// The marker file in a component's directory: one line with its origin.
const MARK: &str = ".kraft-origin";
/// Maximum size of a marker, in bytes.
const LONGEST_MARK: u64 = 64 << 10;
/// Configuration of a stub repository that only contains a commit. Abbreviations have eight digits,
/// as in a full clone of Unikraft, independent of the user's settings, since they are recorded in
/// the kernel.
const STUB_CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tabbrev = 8\n";
/// Maximum nesting of submodules.
const DEEPEST: usize = 8;

/// The result of installing a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was installed.
    Placed,
    /// It was already installed.
    Kept,
    /// The path contains files not managed by kraft, which were kept.
    Foreign,
}

/// Returns the marker of a tree.
fn mark(pin: &Pin) -> String {
    match pin {
        Pin::Git { git, commit } => format!("git {commit} {git}\n"),
        Pin::Archive { archive, sha256 } => format!("archive {sha256} {archive}\n"),
    }
}

fn place(cache: &Path, pin: &Pin) -> PathBuf {
    let print = match pin {
        // The same commit is the same tree for any URL, except for its submodules.
        Pin::Git { git, commit } => {
            let mut print = trees::of_texts([git.as_bytes()]);
            print.truncate(8);
            format!("{commit}-{print}")
        }
        Pin::Archive { sha256, .. } => sha256.clone(),
    };
    cache.join("trees").join(print)
}

/// Returns whether a component is already installed.
pub fn is_in_place(pin: &Pin, to: &Path) -> bool {
    fs::read_file(&to.join(MARK), LONGEST_MARK).is_ok_and(|found| found == mark(pin).as_bytes())
}

/// Returns whether kraft installed the component at a path.
pub fn is_ours(to: &Path) -> bool {
    to.is_symlink() || to.join(MARK).is_file()
}

/// Makes an installed component files of the user: without the marker, and without the repository that
/// has only its commit.
pub fn release(to: &Path) -> Result<(), fs::Error> {
    fs::remove_tree(&to.join(".git"))?;
    fs::remove_file(&to.join(MARK))
}

/// Returns whether the tree of a component is in the cache.
pub(super) fn is_cached(cache: &Path, pin: &Pin) -> bool {
    place(cache, pin).is_dir()
}

/// Creates the tree of a commit in the cache.
pub(super) fn from_git(
    cache: &Path,
    mirror: &git::Mirror,
    commit: &str,
    sources: &Sources,
) -> Result<PathBuf, Error> {
    let pin = Pin::Git {
        git: mirror.url().to_owned(),
        commit: commit.to_owned(),
    };
    make(cache, &pin, |tree| {
        check_out(cache, mirror, commit, tree, sources, 0)?;
        check(tree, mirror.url(), mirror.name())?;
        head(tree, commit)
    })
}

fn check_out(
    cache: &Path,
    mirror: &git::Mirror,
    commit: &str,
    tree: &Path,
    sources: &Sources,
    depth: usize,
) -> Result<(), Error> {
    mirror.check_out(commit, tree)?;
    if depth == DEEPEST {
        return Ok(());
    }
    for module in mirror.submodules(commit)? {
        let outside = module
            .path
            .components()
            .any(|part| !matches!(part, std::path::Component::Normal(_)));
        if outside {
            return Err(Error::Archive {
                name: mirror.name().to_owned(),
                url: mirror.url().to_owned(),
                source: Box::new(ArchiveError::Entry {
                    kind: "submodule",
                    path: module.path,
                    why: LEADS_OUT,
                }),
            });
        }
        let inner = git::Mirror::new(cache, &module.url, mirror.name());
        inner.has(&module.commit, sources)?;
        let at = tree.join(&module.path);
        if at.is_symlink() {
            return Err(Error::InTheWay { path: at });
        }
        fs::create_dir_all(&at, 0o755)?;
        check_out(cache, &inner, &module.commit, &at, sources, depth + 1)?;
    }
    Ok(())
}

/// Creates the tree of an archive in the cache.
pub(super) fn from_archive(
    cache: &Path,
    name: &str,
    url: &str,
    sha256: &str,
) -> Result<PathBuf, Error> {
    let pin = Pin::Archive {
        archive: url.to_owned(),
        sha256: sha256.to_owned(),
    };
    make(cache, &pin, |tree| {
        archive::unpack(&archive::place(cache, sha256), url, name, tree)?;
        check(tree, url, name)
    })
}

/// Creates a tree at a temporary path, and renames it when it is complete.
fn make(
    cache: &Path,
    pin: &Pin,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let place = place(cache, pin);
    let lock_file = place.with_extension("lock");
    fs::create_dir_all(&cache.join("trees"), 0o755)?;
    fs::append(&lock_file)?;
    let _lock = Lock::exclusive(&lock_file)?;
    if place.is_dir() {
        return Ok(place);
    }
    let temporary = place.with_extension("new");
    // Left by a killed process.
    fs::remove_tree(&temporary)?;
    fs::create_dir_all(&temporary, 0o755)?;
    let filled = fill(&temporary);
    if let Err(error) = filled {
        let _ = fs::remove_tree(&temporary);
        return Err(error);
    }
    fs::sync_file_system(&temporary)?;
    fs::rename(&temporary, &place)?;
    Ok(place)
}

/// Adds a stub repository with the commit to a tree: Unikraft determines its version with `git`,
/// which would otherwise find the repository of the project.
fn head(tree: &Path, commit: &str) -> Result<(), Error> {
    let git = tree.join(".git");
    if git.exists() || git.is_symlink() {
        return Ok(());
    }
    Ok(stub_repository(&git, commit)?)
}

/// Creates a repository that contains only the current commit.
pub(crate) fn stub_repository(git: &Path, commit: &str) -> Result<(), fs::Error> {
    for dir in ["objects", "refs"] {
        fs::create_dir_all(&git.join(dir), 0o755)?;
    }
    fs::replace_file(&git.join("config"), STUB_CONFIG.as_bytes())?;
    fs::replace_file(&git.join("HEAD"), format!("{commit}\n").as_bytes())
}

/// Rejects trees with entries that lead outside, or are not files, directories or links.
fn check(tree: &Path, url: &str, name: &str) -> Result<(), Error> {
    match tree_check::unsafe_entry(tree)? {
        Some(why) => Err(Error::Archive {
            name: name.to_owned(),
            url: redacted_url(url),
            source: Box::new(ArchiveError::Tree(why)),
        }),
        None => Ok(()),
    }
}

/// Installs a component from the cache.
pub(super) fn put(cache: &Path, name: &str, pin: &Pin, to: &Path) -> Result<Put, Error> {
    if is_in_place(pin, to) {
        return Ok(Put::Kept);
    }
    let _turn = turn(cache, to)?;
    let wanted = mark(pin);
    match std::fs::symlink_metadata(to) {
        Ok(found) if found.is_dir() => match fs::read_file(&to.join(MARK), LONGEST_MARK) {
            Ok(mark) if mark == wanted.as_bytes() => return Ok(Put::Kept),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Put::Foreign),
            Err(error) => return Err(error.into()),
        },
        Ok(found) if found.is_symlink() => fs::remove_file(to)?,
        Ok(_) => {
            return Err(Error::InTheWay {
                path: to.to_owned(),
            });
        }
        Err(_) => {}
    }
    let tree = place(cache, pin);
    if !tree.is_dir() {
        return Err(Error::Offline {
            what: name.to_owned(),
        });
    }
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent, 0o755)?;
    let mut temporary = parent.as_os_str().as_bytes().to_vec();
    temporary.extend_from_slice(b"/.new-");
    temporary.extend_from_slice(to.file_name().unwrap_or_default().as_bytes());
    let temporary = PathBuf::from(std::ffi::OsStr::from_bytes(&temporary));
    fs::remove_tree(&temporary)?;
    copy(&tree, &temporary)?;
    fs::replace_file(&temporary.join(MARK), wanted.as_bytes())?;
    fs::remove_tree(to)?;
    fs::rename(&temporary, to)?;
    Ok(Put::Placed)
}

/// Locks the installation path. The lock is in the cache, so that projects stay clean and may be
/// read-only.
fn turn(cache: &Path, to: &Path) -> Result<Lock, Error> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent, 0o755)?;
    let parent = parent
        .canonicalize()
        .map_err(fs::Error::on("open", parent))?;
    let name = to.file_name().unwrap_or_default();
    let mut print = trees::of_texts([parent.as_os_str().as_bytes(), name.as_bytes()]);
    print.truncate(16);
    let dir = cache.join("places");
    fs::create_dir_all(&dir, 0o755)?;
    fs::append(&dir.join(&print))?;
    Ok(Lock::exclusive(&dir.join(&print))?)
}

/// Links a directory into the project.
pub(super) fn link(path: &Path, to: &Path) -> Result<Put, Error> {
    match std::fs::symlink_metadata(to) {
        Ok(found) if found.is_symlink() => {
            if std::fs::read_link(to).is_ok_and(|target| target == path) {
                return Ok(Put::Kept);
            }
        }
        Ok(found) if found.is_dir() => {
            if !to.join(MARK).exists() {
                return Ok(Put::Foreign);
            }
            fs::remove_tree(to)?;
        }
        Ok(_) => {
            return Err(Error::InTheWay {
                path: to.to_owned(),
            });
        }
        Err(_) => {}
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent, 0o755)?;
    }
    fs::replace_link(to, path)?;
    Ok(Put::Placed)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to, 0o755)?;
    for entry in std::fs::read_dir(from)
        .map_err(fs::Error::on("read", from))?
        .flatten()
    {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry
            .file_type()
            .map_err(fs::Error::on("look at", &source))?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            let leads = std::fs::read_link(&source).map_err(fs::Error::on("read", &source))?;
            symlink(leads, &target).map_err(fs::Error::on("link", &target))?;
        } else {
            // With its permissions, and sharing blocks if the file system supports it.
            std::fs::copy(&source, &target).map_err(fs::Error::on("copy", &source))?;
        }
    }
    Ok(())
}
