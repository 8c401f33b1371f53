//! Holds: what a living process needs, told to those who sweep.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kraft_core::reference::Digest;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::super::{About, Error, Hold, Ingest};
use super::ingest::LayoutIngest;
use super::{Layout, entries};
use crate::unique::unique;

/// A line is a digest's 64 hexadecimal digits and a line break; more than a million are no hold.
const LARGEST: u64 = 65 << 20;

/// The digests that one process needs, one per line of a file that it has locked.
#[derive(Debug)]
pub(super) struct LayoutHold {
    layout: Layout,
    path: PathBuf,
    _lock: Lock,
}

impl LayoutHold {
    pub(super) fn begin(layout: &Layout) -> Result<Self, Error> {
        loop {
            let path = layout.holds_dir().join(unique());
            drop(fs::append(&path)?);
            match Lock::exclusive(&path) {
                Ok(lock) => {
                    return Ok(Self {
                        layout: layout.clone(),
                        path,
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
        }
        match LayoutIngest::begin(&self.layout, &self.path, about)? {
            Some(ingest) => Ok(Some(Box::new(ingest))),
            None => Ok(None),
        }
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
