//! Blobs on their way in.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_archive::compression::read_some;
use kraft_core::reference::Digest;
use kraft_sys::bulk::{ALIGNMENT, Bulk};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::super::{About, Blobs, Error, Ingest, Store};
use super::Layout;
use super::lease::{Later, Waiting};
use crate::digest::{self, Damage, Hasher};
use crate::unique::unique;

/// A blob that grows in `ingest`, locked.
#[derive(Debug)]
pub(super) struct LayoutIngest {
    layout: Layout,
    /// The lease that keeps the blob once its digest is known.
    lease: PathBuf,
    path: PathBuf,
    /// What it must become; `None` for whatever comes.
    digest: Option<Digest>,
    size: Option<u64>,
    hasher: Hasher,
    /// `None` once it was taken apart.
    out: Option<Bulk>,
    offset: u64,
    /// `None` after it was passed on with the blob.
    lock: Option<Lock>,
    /// Where the blob waits for others when it is whole; `None` if it does not.
    later: Option<Arc<Later>>,
    committed: bool,
}

impl LayoutIngest {
    /// Returns `None` if the blob already exists.
    pub(super) fn begin(
        layout: &Layout,
        lease: &Path,
        later: Option<Arc<Later>>,
        about: &About<'_>,
    ) -> Result<Option<Self>, Error> {
        loop {
            if let Some(digest) = about.digest
                && let Some(found) = layout.size(digest)?
            {
                match about.size {
                    Some(stated) if stated != found => {
                        // The disk lost data, or the stated size is wrong.
                        if is_whole(layout, digest)? {
                            let digest = digest.clone();
                            return Err(Error::Size {
                                digest,
                                stated,
                                found,
                            });
                        }
                        layout.discard(digest)?;
                    }
                    _ => return Ok(None),
                }
            }
            let name = match about.digest {
                Some(digest) => digest.hex().to_owned(),
                None => format!("new-{}", unique()),
            };
            let path = layout.ingest_dir().join(name);
            drop(fs::append(&path)?);
            let lock = match Lock::exclusive(&path) {
                Ok(lock) => lock,
                // The other process has finished or cancelled it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let mut ingest = Self {
                layout: layout.clone(),
                lease: lease.to_owned(),
                path,
                digest: about.digest.cloned(),
                size: about.size,
                hasher: Hasher::default(),
                out: None,
                offset: 0,
                lock: Some(lock),
                later,
                committed: false,
            };
            ingest.go_on()?;
            return Ok(Some(ingest));
        }
    }

    /// Resumes after the data of an earlier attempt.
    fn go_on(&mut self) -> Result<(), Error> {
        let mut file = self.open()?;
        let there = file
            .metadata()
            .map_err(fs::Error::on("look at", &self.path))?
            .len();
        let usable = there - there % ALIGNMENT;
        let usable = match self.size {
            // The whole blob or more: after an error it is fastest to start again.
            Some(size) if usable >= size => 0,
            _ => usable,
        };
        file.set_len(usable)
            .and_then(|()| self.hash(&mut file, usable))
            .map_err(fs::Error::on("read", &self.path))?;
        self.offset = self.hasher.size();
        self.out = Some(Bulk::new(file));
        Ok(())
    }

    fn open(&self) -> Result<File, Error> {
        Ok(OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(fs::Error::on("open", &self.path))?)
    }

    fn hash(&mut self, file: &mut File, bytes: u64) -> io::Result<()> {
        let mut rest = file.take(bytes);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = read_some(&mut rest, &mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(buffer.get(..count).unwrap_or_default());
        }
    }

    fn forget(&mut self) {
        self.out = None;
        // Files that cannot be removed now are garbage-collected later.
        let _ = fs::remove_file(&self.path);
    }

    /// Checks the bytes against what they should be.
    fn check(&self, found: &Digest) -> Result<(), Error> {
        let size = self.hasher.size();
        let (Some(digest), expected) = (&self.digest, self.size.unwrap_or(size)) else {
            return Ok(());
        };
        let damage = match size.cmp(&expected) {
            std::cmp::Ordering::Less => Damage::Shorter {
                expected,
                found: size,
            },
            std::cmp::Ordering::Greater => Damage::Longer { expected },
            std::cmp::Ordering::Equal if found != digest => Damage::Digest {
                found: found.clone(),
            },
            std::cmp::Ordering::Equal => return Ok(()),
        };
        Err(Error::damaged(digest, damage))
    }

    fn shown(&self) -> String {
        self.digest.as_ref().map_or_else(
            || "a blob".to_owned(),
            |digest| format!("the blob {digest}"),
        )
    }
}

/// Returns whether the bytes of a blob are those of its digest.
fn is_whole(layout: &Layout, digest: &Digest) -> Result<bool, Error> {
    let found = digest::of_reader(layout.open(digest)?);
    Ok(found.map_err(|error| Error::reading(digest, error))? == *digest)
}

impl Write for LayoutIngest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let out = self
            .out
            .as_mut()
            .ok_or_else(|| io::Error::other("the blob was given up"))?;
        let count = out.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        if let Some(expected) = self.size
            && self.hasher.size() > expected
        {
            self.forget();
            return Err(io::Error::other(Damage::Longer { expected }));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for LayoutIngest {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn restart(&mut self) -> io::Result<()> {
        if self.hasher.size() == 0 {
            return Ok(());
        }
        // The writer of the old one must be done with the file before it is emptied.
        drop(self.out.take().map(Bulk::finish));
        let mut file = self.open().map_err(io::Error::other)?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::default();
        self.offset = 0;
        self.out = Some(Bulk::new(file));
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(Digest, u64), Error> {
        let size = self.hasher.size();
        let found = self.hasher.clone().finish();
        if let Err(error) = self.check(&found) {
            self.forget();
            return Err(error);
        }
        let out = self.out.take();
        if let (Some(later), Some(digest)) = (self.later.take(), self.digest.clone()) {
            out.map(Bulk::write_out)
                .transpose()
                .map_err(|error| Error::writing(&self.shown(), error))?;
            if let Some(lock) = self.lock.take() {
                let path = self.path.clone();
                let blob = Waiting {
                    path,
                    digest,
                    size,
                    lock,
                };
                self.committed = true;
                later.add(&self.layout, blob)?;
            }
            return Ok((found, size));
        }
        if let Some(out) = out {
            out.finish()
                .map_err(|error| Error::writing(&self.shown(), error))?;
        }
        if self.digest.is_none() {
            let line = format!("{}\n", found.hex());
            let _no_sweeping = self.layout.no_sweeping()?;
            fs::append(&self.lease)?
                .write_all(line.as_bytes())
                .map_err(fs::Error::on("write", &self.lease))?;
        }
        if self.layout.size(&found)? == Some(size) {
            self.forget();
        } else {
            let place = self.layout.blob(&found);
            fs::rename(&self.path, &place)?;
            fs::sync_dir(&self.layout.dir.join("blobs/sha256"))?;
        }
        self.committed = true;
        Ok((found, size))
    }
}

impl Drop for LayoutIngest {
    fn drop(&mut self) {
        // The lock is still held: no other process writes to the file meanwhile.
        let _ = &self.lock;
        if !self.committed && self.digest.is_none() {
            self.forget();
        }
    }
}
