//! Holds: what a living process needs, told to those who sweep.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraft_core::reference::Digest;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::super::{About, Error, Hold, Ingest, Store};
use super::ingest::LayoutIngest;
use super::{Layout, entries};
use crate::unique::unique;

/// A line is a digest's 64 hexadecimal digits and a line break; more than a million are no hold.
const LARGEST: u64 = 65 << 20;
/// Blobs that wait to be put in their places: each is an open file.
const MOST_WAITING: usize = 256;

/// The digests that one process needs, one per line of a file that it has locked.
#[derive(Debug)]
pub(super) struct LayoutHold {
    layout: Layout,
    path: PathBuf,
    /// What was committed and is not in its place yet; `None` where each blob goes there at once.
    later: Option<Arc<Later>>,
    _lock: Lock,
}

impl LayoutHold {
    pub(super) fn begin(layout: &Layout, later: Option<Later>) -> Result<Self, Error> {
        let later = later.map(Arc::new);
        loop {
            let path = layout.holds_dir().join(unique());
            drop(fs::append(&path)?);
            match Lock::exclusive(&path) {
                Ok(lock) => {
                    return Ok(Self {
                        layout: layout.clone(),
                        path,
                        later,
                        _lock: lock,
                    });
                }
                // A sweeper came before our lock and took it for a dead one's.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Hold for LayoutHold {
    fn keep(&self, digests: &[&Digest]) -> Result<(), Error> {
        let mut lines = String::with_capacity(digests.len() * 65);
        for digest in digests {
            lines.push_str(digest.hex());
            lines.push('\n');
        }
        let _no_sweeping = self.layout.no_sweeping()?;
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(fs::Error::on("open", &self.path))?;
        file.write_all(lines.as_bytes())
            .map_err(fs::Error::on("write", &self.path))?;
        Ok(())
    }

    fn ingest(&self, about: &About<'_>) -> Result<Option<Box<dyn Ingest>>, Error> {
        if let Some(digest) = about.digest {
            self.keep(&[digest])?;
            if self.later.as_ref().is_some_and(|later| later.has(digest)) {
                return Ok(None);
            }
        }
        match LayoutIngest::begin(&self.layout, &self.path, self.later.clone(), about)? {
            Some(ingest) => Ok(Some(Box::new(ingest))),
            None => Ok(None),
        }
    }

    fn settle(&self) -> Result<(), Error> {
        match &self.later {
            Some(later) => later.settle(&self.layout),
            None => Ok(()),
        }
    }
}

/// Blobs that are whole and wait, locked, to be put in their places together.
#[derive(Debug, Default)]
pub(super) struct Later(Mutex<Vec<Waiting>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) lock: Lock,
}

impl Later {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, digest: &Digest) -> bool {
        self.waiting().iter().any(|one| one.digest == *digest)
    }

    /// Adds a blob; all are settled when there are many.
    pub(super) fn add(&self, layout: &Layout, blob: Waiting) -> Result<(), Error> {
        let full = {
            let mut waiting = self.waiting();
            waiting.push(blob);
            waiting.len() >= MOST_WAITING
        };
        if full { self.settle(layout) } else { Ok(()) }
    }

    fn settle(&self, layout: &Layout) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.waiting());
        if waiting.is_empty() {
            return Ok(());
        }
        // A name must never lead to bytes that a crash can still take away.
        fs::sync_file_system(&layout.ingest_dir())?;
        for Waiting {
            path,
            digest,
            size,
            lock,
        } in waiting
        {
            if layout.size(&digest)? == Some(size) {
                fs::remove_file(&path)?;
            } else {
                fs::rename(&path, &layout.blob(&digest))?;
            }
            drop(lock);
        }
        fs::sync_dir(&layout.dir.join("blobs/sha256"))?;
        Ok(())
    }
}

impl Drop for LayoutHold {
    fn drop(&mut self) {
        // What stays is swept with the next sweep.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns every digest that a living process holds, and removes what the dead left. The caller
/// keeps everyone from beginning to hold.
pub(super) fn held(dir: &Path) -> Result<HashSet<Digest>, Error> {
    let mut held = HashSet::new();
    for path in entries(dir)? {
        match Lock::try_exclusive(&path) {
            Ok(Some(_dead)) => fs::remove_file(&path)?,
            Ok(None) => {
                let lines = match fs::read_file(&path, LARGEST) {
                    Ok(lines) => lines,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                };
                let lines = String::from_utf8_lossy(&lines);
                held.extend(
                    lines
                        .lines()
                        .filter_map(|hex| Digest::from_str(&format!("sha256:{hex}")).ok()),
                );
            }
            // It ended just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(held)
}
