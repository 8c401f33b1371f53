//! Source archives: downloads, verifies and safely unpacks them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use kraft_archive::compression::{self, read_full, read_some};
use kraft_archive::limits;
use kraft_archive::tar::{Entry, Kind, Limits, Reader};
use kraft_http::text::redacted_url;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use sha2::{Digest as _, Sha256};

use super::error::{ArchiveError, Error};
use super::validators::{self, Validators};
use super::{Sources, TaskProgress};
use crate::trees;

/// File name extensions of archives.
const ENDINGS: [&str; 8] = [
    ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tar.bz2", ".tar", ".zip",
];
/// Returns whether a URL or path is that of an archive.
pub(super) fn is_archive(source: &str) -> bool {
    let path = source.split(['?', '#']).next().unwrap_or(source);
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// Returns the cache path of an archive by its checksum.
pub(super) fn place(cache: &Path, sha256: &str) -> PathBuf {
    cache.join("archives").join(sha256)
}

/// Returns the checksum of the current file at a URL, after adding it to the cache. Offline, that
/// of the last download.
pub(super) fn latest(
    sources: &Sources,
    name: &str,
    url: &str,
    told: &TaskProgress<'_>,
) -> Result<String, Error> {
    let known = validators::recall(&sources.cache, url)
        .filter(|known| place(&sources.cache, &known.sha256).is_file());
    match known {
        Some(known) if sources.offline && local(url).is_none() => Ok(known.sha256),
        known => fetch(sources, name, url, (None, known.as_ref()), told),
    }
}

/// Adds an archive to the cache if it is missing; returns its checksum.
pub(super) fn download(
    sources: &Sources,
    name: &str,
    url: &str,
    sha256: Option<&str>,
    told: &TaskProgress<'_>,
) -> Result<String, Error> {
    fetch(sources, name, url, (sha256, None), told)
}

fn fetch(
    sources: &Sources,
    name: &str,
    url: &str,
    (sha256, known): (Option<&str>, Option<&Validators>),
    told: &TaskProgress<'_>,
) -> Result<String, Error> {
    let here = |sum: &str| place(&sources.cache, sum).is_file();
    if let Some(sum) = sha256.filter(|sum| here(sum)) {
        return Ok(sum.to_owned());
    }
    let local = local(url);
    if sources.offline && local.is_none() {
        return Err(Error::Offline {
            what: format!("`{}`", redacted_url(url)),
        });
    }
    let dir = sources.cache.join("archives");
    fs::create_dir_all(&dir, 0o755)?;
    let mut print = trees::of_texts([url.as_bytes()]);
    print.truncate(16);
    let part = dir.join(format!("{print}.part"));
    fs::append(&dir.join(format!("{print}.lock")))?;
    let _lock = Lock::exclusive(&dir.join(format!("{print}.lock")))?;
    // The previous holder of the lock may have downloaded the same file.
    if let Some(sum) = sha256.filter(|sum| here(sum)) {
        return Ok(sum.to_owned());
    }
    let mut told_of = None;
    if let Some(path) = local {
        let mut source = fs::open_file(&path)?;
        fs::truncate(&part, 0)?;
        let mut target = fs::append(&part)?;
        io::copy(&mut source, &mut target).map_err(fs::Error::on("write", &part))?;
    } else {
        // The state of a partial file from an earlier attempt is unknown.
        fs::truncate(&part, 0)?;
        told_of = sources.http.download(url, &part, known, told)?;
        if let (None, Some(known)) = (&told_of, known) {
            fs::remove_file(&part)?;
            return Ok(known.sha256.clone());
        }
    }
    let found = sum(&part)?;
    if let Some(wanted) = sha256.filter(|wanted| *wanted != found) {
        fs::remove_file(&part)?;
        return Err(Error::Checksum {
            name: name.to_owned(),
            url: redacted_url(url),
            wanted: wanted.to_owned(),
            found,
        });
    }
    File::open(&part)
        .and_then(|file| file.sync_all())
        .map_err(fs::Error::on("write", &part))?;
    fs::rename(&part, &place(&sources.cache, &found))?;
    if let Some(validators) = told_of {
        let validators = Validators {
            sha256: found.clone(),
            ..validators
        };
        validators::keep(&sources.cache, url, &validators)?;
    }
    Ok(found)
}

/// Returns the local path of a source, if it is one.
fn local(url: &str) -> Option<PathBuf> {
    match url.strip_prefix("file://") {
        Some(path) => Some(path.into()),
        None => (!url.contains("://")).then(|| url.into()),
    }
}

fn sum(path: &Path) -> Result<String, fs::Error> {
    let mut file = fs::open_file(path)?;
    let mut sum = Sha256::new();
    let mut chunk = vec![0; 128 << 10];
    loop {
        let read = read_some(&mut file, &mut chunk).map_err(fs::Error::on("read", path))?;
        if read == 0 {
            return Ok(trees::hex(sum));
        }
        sum.update(chunk.get(..read).unwrap_or_default());
    }
}

/// Unpacks an archive into an empty directory; a single top-level directory is stripped.
pub(super) fn unpack(archive: &Path, url: &str, name: &str, to: &Path) -> Result<(), Error> {
    let error = |error| match error {
        EntryError::Archive(source) => Error::Archive {
            name: name.to_owned(),
            url: redacted_url(url),
            source: Box::new(source),
        },
        EntryError::File(error) => Error::File(error),
    };
    let mut head = [0; 4];
    let mut file = fs::open_file(archive)?;
    let read = read_full(&mut file, &mut head).map_err(fs::Error::on("read", archive))?;
    let file = fs::open_file(archive)?;
    if head.get(..read) == Some(b"PK\x03\x04") {
        return zip(file, to).map_err(error);
    }
    let reader = compression::decompress(file).map_err(|bad| error(bad.into()))?;
    entries(reader, to).map_err(error)
}

#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    File(#[from] fs::Error),
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.into())
    }
}

impl From<zip::result::ZipError> for EntryError {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Archive(error.into())
    }
}

/// The reason of an entry that would be written elsewhere.
pub(super) const LEADS_OUT: &str = "leads out of it";

/// Returns the error about an entry; `why` follows its path.
fn bad(kind: &'static str, path: &Path, why: &'static str) -> EntryError {
    let path = path.to_owned();
    ArchiveError::Entry { kind, path, why }.into()
}

/// Unpacks a zip archive.
fn zip(file: File, to: &Path) -> Result<(), EntryError> {
    let size = file.metadata()?.len();
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file))?;
    if archive.is_empty() {
        return Err(ArchiveError::Empty.into());
    }
    if archive.len() as u64 > limits::ENTRIES {
        return Err(ArchiveError::TooManyEntries(limits::ENTRIES).into());
    }
    let mut left = limits::COMPONENT.min(limits::expanded(size));
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at)?;
        let named = PathBuf::from(entry.name()?.into_owned());
        let Some(inner) = inside(&named)? else {
            continue;
        };
        let path = to.join(&inner);
        parents(to, &path, &named)?;
        if entry.is_dir() {
            fs::create_dir_all(&path, 0o755)?;
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry.by_ref().take(4096).read_to_string(&mut target)?;
            let target = PathBuf::from(target);
            if escapes(&inner, &target) {
                return Err(leads_out(&named));
            }
            fs::replace_link(&path, &target)?;
        } else {
            let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            let mode = if executable { 0o755 } else { 0o644 };
            // The declared size is used only to reject.
            if entry.size() >= left {
                return Err(limits::expands_too_far().into());
            }
            let written = write(&mut entry.by_ref().take(left), &path, mode)?;
            left = left.saturating_sub(written);
            if left == 0 {
                return Err(limits::expands_too_far().into());
            }
        }
    }
    Ok(())
}

fn leads_out(named: &Path) -> EntryError {
    bad("link", named, LEADS_OUT)
}

fn leads_nowhere(named: &Path) -> EntryError {
    bad("link", named, "leads nowhere")
}

fn entries(reader: impl Read, to: &Path) -> Result<(), EntryError> {
    let mut tar = Reader::new(reader, Limits::COMPONENT);
    let mut is_empty = true;
    let mut links = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        is_empty = false;
        let named = path_of(&entry.path);
        let Some(inner) = inside(&named)? else {
            continue;
        };
        let path = to.join(&inner);
        parents(to, &path, &named)?;
        match entry.kind {
            Kind::Directory => fs::create_dir_all(&path, 0o755)?,
            Kind::File => {
                let mode = if entry.mode & 0o111 == 0 {
                    0o644
                } else {
                    0o755
                };
                write(&mut tar, &path, mode)?;
            }
            Kind::Symlink => {
                let target = target(&entry, &named)?;
                if escapes(&inner, &target) {
                    return Err(leads_out(&named));
                }
                fs::replace_link(&path, &target)?;
            }
            // The target of a hard link may follow later.
            Kind::HardLink => links.push((path, target(&entry, &named)?, named)),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Other(_) => {
                let why = "is neither a file, a directory nor a link";
                return Err(bad("entry", &named, why));
            }
        }
    }
    if is_empty {
        return Err(ArchiveError::Empty.into());
    }
    hard_links(links, to)?;
    // A truncated compressed stream is detected only at its end.
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    Ok(())
}

/// Creates hard links: path, target, and the path as named in the archive.
fn hard_links(links: Vec<(PathBuf, PathBuf, PathBuf)>, to: &Path) -> Result<(), EntryError> {
    for (path, target, named) in links {
        let Some(inner) = inside(&target)? else {
            return Err(leads_nowhere(&named));
        };
        let source = to.join(inner);
        let plain = std::fs::symlink_metadata(&source).is_ok_and(|found| found.is_file());
        if !plain {
            return Err(leads_nowhere(&named));
        }
        parents(to, &path, &named)?;
        fs::link_or_copy(&source, &path)?;
    }
    Ok(())
}

fn target(entry: &Entry, named: &Path) -> Result<PathBuf, EntryError> {
    if entry.link.is_empty() {
        return Err(leads_nowhere(named));
    }
    Ok(path_of(&entry.link))
}

fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

/// Returns the path below the top-level directory; `None` for that directory itself.
fn inside(named: &Path) -> Result<Option<PathBuf>, EntryError> {
    let mut inner = PathBuf::new();
    let mut first = true;
    for part in named.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => {
                if !first {
                    inner.push(part);
                }
                first = false;
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(bad("path", named, LEADS_OUT));
            }
        }
    }
    Ok((!inner.as_os_str().is_empty()).then_some(inner))
}

/// Creates the parent directories of a path; links among them are rejected.
fn parents(root: &Path, path: &Path, named: &Path) -> Result<(), EntryError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let mut at = root.to_owned();
    for part in parent
        .strip_prefix(root)
        .unwrap_or(Path::new(""))
        .components()
    {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(bad("path", named, "leads through a link or a file"));
            }
            Err(_) => fs::create_dir(&at, 0o755)?,
        }
    }
    // A later entry may replace an earlier one, but not be written through it.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn write(source: &mut impl Read, path: &Path, mode: u32) -> Result<u64, EntryError> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(fs::Error::on("make", path))?;
    io::copy(source, &mut file).map_err(|error| {
        if error.kind() == io::ErrorKind::StorageFull {
            EntryError::File(fs::Error::on("write", path)(error))
        } else {
            error.into()
        }
    })
}

/// Returns whether a link inside a tree leads out of it.
pub(super) fn escapes(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_recognised_by_name() {
        for source in [
            "https://x.org/a.tar.gz",
            "/a/b.tgz",
            "https://x/a.tar.xz?raw=1",
        ] {
            assert!(is_archive(source), "{source}");
        }
        for source in ["https://x.org/a.git", "/a/b", "https://x.org/tar.gz/a"] {
            assert!(!is_archive(source), "{source}");
        }
    }

    #[test]
    fn links_out_of_the_tree_are_detected() {
        assert!(!escapes(Path::new("a/b/l"), Path::new("../../x")));
        assert!(escapes(Path::new("a/l"), Path::new("../../x")));
        assert!(escapes(Path::new("l"), Path::new("/etc")));
        assert!(!escapes(Path::new("a/l"), Path::new("./x/../y")));
    }
}
