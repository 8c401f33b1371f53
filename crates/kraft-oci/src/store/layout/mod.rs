//! A store in a directory: an OCI image layout (OCI image specification 1.1, image-layout.md) that
//! other tools can read, with two private directories.
//!
//! ```text
//! DIR/oci-layout          {"imageLayoutVersion":"1.0.0"}
//!     index.json          the names: a new version at once, by one process at a time
//!     blobs/sha256/HEX    appear whole, under the digest they have, and never change
//!     ingest/HEX          a blob on its way in; locked by who writes it, kept for the next try
//!     ingest/new-ID       one whose digest is not known yet
//!     holds/ID            digests that a living process needs, locked by it; or that an ended one left
//!     references          which blobs belong to which index or manifest: a cache
//!     positions           where names are in a large index.json: a cache
//!     previous            its version before, from which the next one is made (`kraft_sys::amend`)
//!     difference          where the two differ
//!     rows                the listing of the images: a cache
//! ```
//!
//! Three locks, all released by the system when their holder ends: `DIR` itself for changes of
//! names, `DIR/blobs` shared for creating leases and exclusive for garbage collection, and each
//! file in `ingest` and `holds` by its owner.

mod collect;
mod digits;
mod ingest;
mod lease;
mod lines;
mod names;
mod positions;
mod references;
mod seal;
mod search;
mod state;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use kraft_core::reference::{Digest, Reference};
use kraft_sys::lock::Lock;
use kraft_sys::{clock, fs};

use self::lease::{Later, LayoutLease};
use self::lines::Line;
use self::names::Change;
use self::references::Additions;
use super::{Blobs, Error, Expect, Lease, ListingCache, Named, Store, Swept};
use crate::digest::Damage;
use crate::image::Descriptor;

/// The file that says what the directory is, and what it says.
const MARK: &str = "oci-layout";
const VERSION: &str = "1.0.0";
/// Age after which an abandoned partial download is removed.
const STALE: Duration = Duration::from_hours(24);

/// A store in a directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Names the directory, which is made when something is first stored in it.
    ///
    /// Errors: it holds something else.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let layout = Self {
            dir: dir.to_owned(),
        };
        layout.check_mark()?;
        Ok(layout)
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn blobs_dir(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    fn ingest_dir(&self) -> PathBuf {
        self.dir.join("ingest")
    }

    fn holds_dir(&self) -> PathBuf {
        self.dir.join("holds")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Returns whether the directory is a layout; `false` if there is none yet.
    fn check_mark(&self) -> Result<bool, Error> {
        let path = self.dir.join(MARK);
        let foreign = |why: String| Error::Foreign {
            place: self.dir.display().to_string(),
            why,
        };
        let bytes = match fs::read_file(&path, 4096) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mark: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| foreign(format!("`{MARK}`: {error}")))?;
        match mark.get("imageLayoutVersion").and_then(|v| v.as_str()) {
            Some(version) if version.starts_with("1.") => Ok(true),
            _ => Err(foreign(format!("`{MARK}` names no version that is known"))),
        }
    }

    /// Makes what is missing of the directory.
    fn prepare(&self) -> Result<(), Error> {
        if self.check_mark()? {
            return Ok(());
        }
        for dir in [
            self.dir.join("blobs/sha256"),
            self.ingest_dir(),
            self.holds_dir(),
        ] {
            fs::create_dir_all(&dir, 0o700)?;
        }
        if !self.dir.join("index.json").exists() {
            references::create(&self.dir)?;
        }
        // Last: who finds the mark finds the rest.
        let mark = format!("{{\"imageLayoutVersion\":\"{VERSION}\"}}");
        fs::replace_file(&self.dir.join(MARK), mark.as_bytes())?;
        Ok(())
    }

    /// Blocks garbage collection while a lease is being created.
    fn no_sweeping(&self) -> Result<Lock, Error> {
        Ok(Lock::shared(&self.blobs_dir())?)
    }

    /// Writes changed names; returns those that were not changed. What they pointed to before is left
    /// to the next collection, also if this process is killed in between. The caller has the lock.
    fn save(&self, mut change: Change, additions: Additions) -> Result<Vec<Reference>, Error> {
        let lease = if change.dropped.is_empty() {
            None
        } else {
            Some(LayoutLease::begin(self, None)?)
        };
        if let Some(lease) = &lease {
            for target in &change.dropped {
                match Line::of(self, target) {
                    Ok(line) => lease.leave(line.blobs().iter().map(Digest::hex))?,
                    Err(_) => lease.leave([target.digest.hex()])?,
                }
            }
        }
        if change.is_change() {
            additions.seal(change.save()?);
        }
        Ok(change.moved)
    }

    /// Removes abandoned partial downloads, and leases of dead processes.
    fn sweep_leftovers(&self, dry_run: bool) -> Result<u64, Error> {
        let mut bytes = 0;
        for entry in entries(&self.ingest_dir())? {
            let Ok(metadata) = std::fs::metadata(&entry) else {
                continue;
            };
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let age = metadata
                .modified()
                .ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .map(|time| clock::now().saturating_sub(time));
            let unnamed = name.starts_with("new-");
            if !unnamed && age.is_none_or(|age| age < STALE) {
                continue;
            }
            // A process that is writing it holds its lock.
            let Ok(Some(_lock)) = Lock::try_exclusive(&entry) else {
                continue;
            };
            bytes += metadata.len();
            if !dry_run {
                fs::remove_file(&entry)?;
            }
        }
        Ok(bytes)
    }
}

impl Blobs for Layout {
    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.blob(digest);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fs::Error::on("look at", &path)(error).into()),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        let path = self.blob(digest);
        match fs::open_file(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::damaged(digest, Damage::Missing))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for Layout {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn lease(&self) -> Result<Box<dyn Lease>, Error> {
        self.prepare()?;
        Ok(Box::new(LayoutLease::begin(self, None)?))
    }

    fn lease_many(&self) -> Result<Box<dyn Lease>, Error> {
        self.prepare()?;
        Ok(Box::new(LayoutLease::begin(self, Some(Later::default()))?))
    }

    fn names(&self) -> Result<Vec<Named>, Error> {
        names::read(&self.dir)
    }

    fn find(&self, name: &Reference) -> Result<Option<Named>, Error> {
        names::find(&self.dir, name)
    }

    fn tag(&self, name: &Reference, target: &Descriptor, expect: &Expect) -> Result<(), Error> {
        let named = Named {
            name: name.clone(),
            target: target.clone(),
            since: None,
        };
        match self.tag_many(&[(named, expect.clone())])?.pop() {
            Some(moved) => Err(Error::Moved(moved)),
            None => Ok(()),
        }
    }

    fn tag_many(&self, names: &[(Named, Expect)]) -> Result<Vec<Reference>, Error> {
        self.prepare()?;
        // A document that is damaged keeps nothing from being removed later, but an error then.
        let lines: Vec<Option<Line>> = names
            .iter()
            .map(|(named, _)| Line::of(self, &named.target).ok())
            .collect();
        let _lock = Lock::exclusive(&self.dir)?;
        let mut change = Change::begin(&self.dir, names.len())?;
        let mut additions = Additions::begin(&self.dir, change.version());
        additions.add(lines.iter().map(Option::as_ref));
        change.set(names)?;
        self.save(change, additions)
    }

    fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        Ok(self.untag_many(std::slice::from_ref(name))?.pop())
    }

    fn untag_many(&self, names: &[Reference]) -> Result<Vec<Descriptor>, Error> {
        if !self.check_mark()? {
            return Ok(Vec::new());
        }
        let _lock = Lock::exclusive(&self.dir)?;
        let mut change = Change::begin(&self.dir, names.len())?;
        let additions = Additions::begin(&self.dir, change.version());
        change.remove(names)?;
        let dropped = change.dropped.clone();
        self.save(change, additions)?;
        Ok(dropped)
    }

    fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        let mut blobs = Vec::new();
        for path in entries(&self.dir.join("blobs/sha256"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Ok(digest) = Digest::from_str(&format!("sha256:{name}")) else {
                continue;
            };
            if let Some(size) = self.size(&digest)? {
                blobs.push((digest, size));
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    fn discard(&self, digest: &Digest) -> Result<(), Error> {
        let _lock = Lock::exclusive(&self.blobs_dir())?;
        Ok(fs::remove_file(&self.blob(digest))?)
    }

    fn sweep(&self, dry_run: bool) -> Result<Swept, Error> {
        if !self.check_mark()? {
            return Ok(Swept::default());
        }
        collect::all(self, dry_run)
    }

    fn listing_cache(&self) -> Option<ListingCache> {
        Some(ListingCache {
            path: self.dir.join("rows"),
            state: state::of(
                &[names::path(&self.dir), self.dir.join("blobs/sha256")],
                clock::now(),
            ),
        })
    }

    fn collect(&self) -> Result<Swept, Error> {
        if !self.check_mark()? {
            return Ok(Swept::default());
        }
        collect::ended(self)
    }
}

/// Returns the paths in a directory, none if it is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fs::Error::on("read", dir)(error).into()),
    }
}

#[cfg(test)]
mod tests;
