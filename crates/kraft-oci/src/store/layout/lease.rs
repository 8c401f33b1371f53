//! Leases: blobs in use by a running process, protected from garbage collection.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraft_core::reference::Digest;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::super::{About, Blobs, Error, Ingest, Lease};
use super::ingest::LayoutIngest;
use super::{Layout, entries, references};
use crate::unique::unique;

/// A line is a digest's 64 hexadecimal digits and a line break; more than a million are not a lease.
const LARGEST: u64 = 65 << 20;
/// The file of a lease that is worth reading when it ends, in bytes: some hundred digests.
const FEW_BYTES: u64 = 8 << 10;
/// Leases of ended processes that are read at once: each is an open file.
const MOST_ENDED: usize = 256;
/// Blobs that wait to be put in their places: each is an open file.
const MOST_WAITING: usize = 256;

/// The digests that one process needs, one per line of a file that it has locked.
#[derive(Debug)]
pub(super) struct LayoutLease {
    layout: Layout,
    path: PathBuf,
    /// What was committed and is not in its place yet; `None` where each blob goes there at once.
    later: Option<Arc<Later>>,
    /// Whether it lists blobs that were stored under it, and are garbage unless they got a name.
    stored: AtomicBool,
    /// Whether it lists blobs that lose a name: then its file stays for the next collection.
    lost: AtomicBool,
    _lock: Lock,
}

impl LayoutLease {
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
                        stored: AtomicBool::new(false),
                        lost: AtomicBool::new(false),
                        _lock: lock,
                    });
                }
                // A garbage collection came before the lock and removed the lease as that of a dead
                // process.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl LayoutLease {
    /// Lists blobs that lose a name, for the next collection once this is dropped.
    pub(super) fn leave<'a>(&self, digits: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        self.lost.store(true, Ordering::Relaxed);
        self.list(digits)
    }

    fn list<'a>(&self, digits: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let mut lines = String::new();
        for digits in digits {
            lines.push_str(digits);
            lines.push('\n');
        }
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(fs::Error::on("open", &self.path))?;
        file.write_all(lines.as_bytes())
            .map_err(fs::Error::on("write", &self.path))?;
        Ok(())
    }

    /// Returns whether something that is listed may be garbage once this is dropped.
    fn leaves(&self) -> bool {
        if self.lost.load(Ordering::Relaxed) {
            return true;
        }
        if !self.stored.load(Ordering::Relaxed) {
            return false;
        }
        match fs::read_file(&self.path, FEW_BYTES) {
            // What was stored has its name by now, in most cases.
            Ok(listed) => {
                !references::are_recent(self.layout.dir(), &String::from_utf8_lossy(&listed))
            }
            Err(_) => true,
        }
    }
}

impl Lease for LayoutLease {
    fn keep(&self, digests: &[&Digest]) -> Result<(), Error> {
        let _no_sweeping = self.layout.no_sweeping()?;
        self.list(digests.iter().map(|digest| digest.hex()))
    }

    fn ingest(&self, about: &About<'_>) -> Result<Option<Box<dyn Ingest>>, Error> {
        if let Some(digest) = about.digest {
            self.keep(&[digest])?;
            if self.later.as_ref().is_some_and(|later| later.has(digest)) {
                return Ok(None);
            }
        }
        match LayoutIngest::begin(&self.layout, &self.path, self.later.clone(), about)? {
            Some(ingest) => {
                self.stored.store(true, Ordering::Relaxed);
                Ok(Some(Box::new(ingest)))
            }
            None => Ok(None),
        }
    }

    fn flush(&self) -> Result<(), Error> {
        match &self.later {
            Some(later) => later.flush(&self.layout),
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

    /// Adds a blob; when there are many, all are flushed.
    pub(super) fn add(&self, layout: &Layout, blob: Waiting) -> Result<(), Error> {
        let full = {
            let mut waiting = self.waiting();
            waiting.push(blob);
            waiting.len() >= MOST_WAITING
        };
        if full { self.flush(layout) } else { Ok(()) }
    }

    fn flush(&self, layout: &Layout) -> Result<(), Error> {
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

impl Drop for LayoutLease {
    fn drop(&mut self) {
        if !self.leaves() {
            // What cannot be removed now is removed with the next collection.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What the leases in a store say. The caller keeps everyone from beginning one.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// What living processes need.
    pub(super) needed: BTreeSet<Digest>,
    /// What ended processes listed.
    pub(super) left: BTreeSet<Digest>,
    /// The leases of ended processes, locked: one may only just begin.
    ended: Vec<(PathBuf, Lock)>,
}

impl Leases {
    /// Reads all leases, but at most [`MOST_ENDED`] of ended processes.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let mut leases = Self::default();
        for path in entries(dir)? {
            match Lock::try_exclusive(&path) {
                Ok(Some(_)) if leases.ended.len() >= MOST_ENDED => {}
                Ok(Some(lock)) => {
                    leases.left.extend(listed(&path)?);
                    leases.ended.push((path, lock));
                }
                Ok(None) => leases.needed.extend(listed(&path)?),
                // It ended just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(leases)
    }

    /// Removes the leases of ended processes.
    pub(super) fn remove_ended(&self) -> Result<(), Error> {
        for (path, _lock) in &self.ended {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Returns the digests in the file of a lease; none if it has vanished.
fn listed(path: &Path) -> Result<Vec<Digest>, Error> {
    let lines = match fs::read_file(path, LARGEST) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(String::from_utf8_lossy(&lines)
        .lines()
        .filter_map(|hex| Digest::from_str(&format!("sha256:{hex}")).ok())
        .collect())
}
