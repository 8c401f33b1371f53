//! A directory for the time of a build.

use std::io::Write;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::context::Context;
use crate::failure::Failure;

/// What the names of such directories begin with.
const PREFIX: &str = "scratch-";

/// A directory that only we can look into, removed with this. If this process is killed, the next
/// one that makes such a directory removes it, as does [`remove_leftovers`].
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Says that the directory is in use.
    _own: Lock,
    /// Keeps files of machines from being removed.
    _building: Lock,
}

impl Scratch {
    /// Makes one.
    pub fn new(ctx: &Context) -> Result<Self, Failure> {
        remove_leftovers(ctx);
        let above = super::dir(ctx);
        fs::create_dir_all(&above, 0o700)?;
        let building = Lock::shared(&above)?;
        let begun = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&above)
            .map_err(fs::Error::on("write", &above))?;
        // It gets its name when it is locked: what has the name and no lock is a leftover.
        let own = Lock::exclusive(begun.path())?;
        let name = begun.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().replacen(".new-", PREFIX, 1);
        let path = above.join(name);
        fs::rename(begun.path(), &path)?;
        drop(begun.keep());
        Ok(Self {
            path,
            _own: own,
            _building: building,
        })
    }

    /// Returns it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only we can read.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
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

/// Removes what builds left that were killed: root trees, and files with secrets.
pub fn remove_leftovers(ctx: &Context) {
    let Ok(entries) = std::fs::read_dir(super::dir(ctx)) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Its build holds the lock as long as it runs.
        if let Ok(Some(_lock)) = Lock::try_exclusive(&entry.path()) {
            // What cannot be removed now is removed by the next.
            let _ = fs::remove_tree(&entry.path());
        }
    }
}
