//! Temporary directories of builds.

use std::io::Write;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::context::Context;

/// Prefix of their names.
const PREFIX: &str = "scratch-";

/// A directory that only this user can read, removed when this is dropped. If the process is killed,
/// the next [`Scratch::new`] removes the directory, as does [`remove_leftovers`].
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Locked while the directory is in use.
    _own: Lock,
    /// Keeps files of machines from being removed.
    _shared: Lock,
}

impl Scratch {
    /// Creates a directory.
    pub fn new(ctx: &Context) -> Result<Self, fs::Error> {
        remove_leftovers(ctx);
        let above = super::dir(ctx);
        fs::create_dir_all(&above, 0o700)?;
        let shared = Lock::shared(&above)?;
        let begun = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&above)
            .map_err(fs::Error::on("write", &above))?;
        // It is renamed when it is locked: a directory with the prefix and no lock is a leftover.
        let own = Lock::exclusive(begun.path())?;
        let name = begun.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().replacen(".new-", PREFIX, 1);
        let path = above.join(name);
        fs::rename(begun.path(), &path)?;
        drop(begun.keep());
        Ok(Self {
            path,
            _own: own,
            _shared: shared,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only this user can read.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, fs::Error> {
        let path = self.path().join(name);
        let mut file = fs::NewFile::with_mode(&path, 0o600)?;
        file.write_all(bytes)
            .map_err(fs::Error::on("write", &path))?;
        file.commit()?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed later.
        let _ = fs::remove_tree(&self.path);
    }
}

/// Removes the directories of builds that were killed: root trees, and files with secrets.
pub fn remove_leftovers(ctx: &Context) {
    let Ok(entries) = std::fs::read_dir(super::dir(ctx)) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A running build has the lock.
        if let Ok(Some(_lock)) = Lock::try_exclusive(&entry.path()) {
            // What cannot be removed now is removed by the next call.
            let _ = fs::remove_tree(&entry.path());
        }
    }
}
