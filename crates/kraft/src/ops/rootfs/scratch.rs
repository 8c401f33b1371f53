//! A directory for a moment, which sweepers take away if we cannot.

use std::io::Write;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use kraft_sys::lock::Lock;
use tempfile::TempDir;

use crate::app::App;
use crate::failure::Failure;

/// A directory that only we can look into, removed with this.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
    /// Keeps sweepers out.
    _building: Lock,
}

impl Scratch {
    /// Makes one.
    pub(crate) fn new(app: &App) -> Result<Self, Failure> {
        let above = super::dir(app);
        fs::create_dir_all(&above, 0o700)?;
        let lock = Lock::shared(&above)?;
        let dir = tempfile::Builder::new()
            .prefix("scratch-")
            .tempdir_in(&above)
            .map_err(fs::Error::on("write", &above))?;
        Ok(Self {
            dir,
            _building: lock,
        })
    }

    /// Returns it.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file that only we can read.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path().join(name);
        let mut file = fs::NewFile::with_mode(&path, 0o600)?;
        file.write_all(bytes)
            .map_err(fs::Error::on("write", &path))?;
        file.commit()?;
        Ok(path)
    }
}
