//! Named volumes of one runtime directory: directories that machines mount and that outlive them.
//!
//! ```text
//! RUNTIME_DIR/volumes/     its lock (flock on the directory): volumes are made and removed under it
//! ├── NAME/
//! │   ├── volume.json      the record
//! │   └── data/            what machines mount
//! └── .partial-ID/         being made under that lock, or being removed under its own: otherwise stale
//! ```
//!
//! Which machines use a volume is in the records of the machines alone:
//! [`Machines::remove_volume`](crate::Machines::remove_volume) looks there.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::mount::{self, Volume, VolumeNameError, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::machines::now;

/// The version that this `kraft` writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The maximal size of a record in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The label of volumes that belong to one machine, as in Docker.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The beginning of directories that are being made or removed: no name begins so.
const PARTIAL: &str = ".partial-";

/// An operation on volumes failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// There is a volume of that name.
    #[error("volume `{name}` already exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no volume of that name or id.
    #[error("no volume `{name}`")]
    NotFound {
        /// The name or id.
        name: String,
    },
    /// Machines mount it.
    #[error("volume `{name}` is in use by {}", machines_named(machines))]
    InUse {
        /// The volume.
        name: String,
        /// The names of the machines.
        machines: Vec<String>,
    },
    /// Its record is not valid.
    #[error("the record `{path}` is damaged", path = path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// The syntax error.
        source: serde_json::Error,
    },
    /// A newer `kraft` wrote it.
    #[error(
        "the record `{path}` was written by a newer kraft (version {version}, this one reads {VERSION})",
        path = path.display()
    )]
    TooNew {
        /// The record.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A file or directory cannot be accessed.
    #[error(transparent)]
    File(#[from] fs::Error),
}

fn machines_named(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 {
        "machine"
    } else {
        "machines"
    };
    format!("{noun} {}", quoted.join(", "))
}

/// A named volume, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    version: u32,
    /// Its id.
    pub id: Id,
    /// Its name, unique in the runtime directory.
    pub name: String,
    /// Its kind: `9pfs`.
    pub driver: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its labels; only [`ANONYMOUS`] affects it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The named volumes of one runtime directory.
///
/// Any number of processes and threads may use the same directory at once.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use kraft_machine::Volumes;
///
/// let dir = tempfile::tempdir()?;
/// let volumes = Volumes::new(dir.path());
/// let labels = BTreeMap::from([("project".to_owned(), "shop".to_owned())]);
/// let made = volumes.create("shop_data", &labels)?;
/// assert_eq!(volumes.list()?, [made]);
///
/// // What a machine mounts; the volume is made with the machine if it does not exist.
/// let mount = volumes.mount("shop_data", "/var/lib/data".to_owned(), false)?;
/// assert!(mount.source.is_dir());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Volumes {
    root: PathBuf,
}

impl Volumes {
    /// Uses the volumes of a runtime directory, which need not exist.
    pub fn new(runtime_dir: &Path) -> Self {
        Self {
            root: runtime_dir.join("volumes"),
        }
    }

    /// Makes an empty volume.
    ///
    /// # Errors
    ///
    /// If there is one of that name, or the name is not valid.
    pub fn create(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<VolumeRecord, VolumeError> {
        check_name(name)?;
        let _lock = self.lock()?;
        if self.dir(name).exists() {
            let name = name.to_owned();
            return Err(VolumeError::Exists { name });
        }
        self.make(name, labels)
    }

    /// Returns a new name for a volume that belongs to one machine.
    fn anonymous_name() -> String {
        let digits = || Id::new().to_string().replace('-', "");
        digits() + &digits()
    }

    /// Returns a volume, and makes it if there is none of that name. An
    /// [anonymous](Self::mount_anonymous) one gets the label [`ANONYMOUS`].
    ///
    /// # Errors
    ///
    /// If the name is not valid, or the record cannot be read or written.
    pub fn ensure(&self, name: &str) -> Result<VolumeRecord, VolumeError> {
        check_name(name)?;
        let _lock = self.lock()?;
        match self.read(name) {
            Err(VolumeError::NotFound { .. }) => {
                let label =
                    mount::is_anonymous(name).then(|| (ANONYMOUS.to_owned(), String::new()));
                self.make(name, &label.into_iter().collect())
            }
            found => found,
        }
    }

    /// Returns the volume of a name or an id.
    ///
    /// # Errors
    ///
    /// If there is none, or its record cannot be read.
    pub fn get(&self, name: &str) -> Result<VolumeRecord, VolumeError> {
        let Ok(id) = name.parse::<Id>() else {
            check_name(name)?;
            return self.read(name);
        };
        let all = self.list()?.into_iter();
        let mut found = all.filter(|volume| volume.id == id);
        found.next().ok_or_else(|| VolumeError::NotFound {
            name: name.to_owned(),
        })
    }

    /// Returns all volumes, by name. Directories that are not volumes are skipped.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn list(&self) -> Result<Vec<VolumeRecord>, VolumeError> {
        let names = fs::names(&self.root)?.into_iter();
        let mut volumes = Vec::new();
        for name in names.filter(|name| check_name(name).is_ok()) {
            match self.read(&name) {
                Ok(volume) => volumes.push(volume),
                // It was removed meanwhile, or is something else.
                Err(VolumeError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// Returns the directory of the data of a volume, which need not exist.
    ///
    /// # Errors
    ///
    /// If the name is not valid.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        check_name(name)?;
        Ok(self.data(name))
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir(name).join("data")
    }

    /// Returns the mount of a new volume that belongs to one machine, at an absolute path of it. The
    /// volume is made with the machine.
    pub fn mount_anonymous(&self, destination: String) -> Volume {
        let name = Self::anonymous_name();
        Volume {
            source: self.data(&name),
            name: Some(name),
            destination,
            read_only: false,
        }
    }

    /// Returns the mount of a volume in a machine, at an absolute path of the machine.
    /// [`Machines::create`](crate::Machines::create) makes the volume if it does not exist.
    ///
    /// # Errors
    ///
    /// If the name is not valid.
    pub fn mount(
        &self,
        name: &str,
        destination: String,
        read_only: bool,
    ) -> Result<Volume, VolumeError> {
        Ok(Volume {
            name: Some(name.to_owned()),
            source: self.path(name)?,
            destination,
            read_only,
        })
    }

    /// Takes a volume from the list, whether machines mount it or not. Its data exists until
    /// [`Detached::remove`].
    pub(crate) fn detach(&self, name: &str) -> Result<Detached, VolumeError> {
        check_name(name)?;
        let dir = self.dir(name);
        let absent = |error: fs::Error| match error.kind() {
            ErrorKind::NotFound => VolumeError::NotFound {
                name: name.to_owned(),
            },
            _ => error.into(),
        };
        if !dir.is_dir() {
            let name = name.to_owned();
            return Err(VolumeError::NotFound { name });
        }
        let _all = self.lock()?;
        // The lock goes with the directory: no process takes what is being removed for stale.
        let lock = Lock::exclusive(&dir).map_err(absent)?;
        let path = self.root.join(format!("{PARTIAL}{}", Id::new()));
        fs::rename(&dir, &path).map_err(absent)?;
        fs::sync_dir(&self.root)?;
        tracing::debug!(name, "detached a volume");
        Ok(Detached { path, _lock: lock })
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Locks the directory, which is made if it is missing, and cleans it up.
    fn lock(&self) -> Result<Lock, VolumeError> {
        // Private: other users must not read the data.
        fs::create_dir_all(&self.root, 0o700)?;
        let lock = Lock::exclusive(&self.root)?;
        self.remove_stale();
        Ok(lock)
    }

    /// Makes a volume. The directory is locked, and there is no volume of that name.
    fn make(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<VolumeRecord, VolumeError> {
        let record = VolumeRecord {
            version: VERSION,
            id: Id::new(),
            name: name.to_owned(),
            driver: mount::DRIVER.to_owned(),
            created_at: now(),
            labels: labels.clone(),
        };
        // Complete before it has its name: one that is killed meanwhile leaves nothing in the way.
        let partial = self.root.join(format!("{PARTIAL}{}", record.id));
        let made = fs::create_dir(&partial, 0o700)
            .and_then(|()| fs::create_dir(&partial.join("data"), 0o755))
            .and_then(|()| fs::replace_file(&partial.join(RECORD), &record.to_json()))
            .and_then(|()| fs::rename(&partial, &self.dir(name)))
            .and_then(|()| fs::sync_dir(&self.root));
        if let Err(error) = made {
            // Only the first error is returned; what is left of it is removed with the next volume.
            let _ = fs::remove_tree(&partial);
            return Err(error.into());
        }
        tracing::debug!(name, "made a volume");
        Ok(record)
    }

    fn read(&self, name: &str) -> Result<VolumeRecord, VolumeError> {
        let path = self.dir(name).join(RECORD);
        let bytes = match fs::read_file(&path, MAX_BYTES) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                let name = name.to_owned();
                return Err(VolumeError::NotFound { name });
            }
            other => other?,
        };
        let record = match serde_json::from_slice(&bytes) {
            // Its directory is what it is found by.
            Ok(record) => VolumeRecord {
                name: name.to_owned(),
                ..record
            },
            Err(source) => return Err(VolumeError::Damaged { path, source }),
        };
        if record.version > VERSION {
            let version = record.version;
            return Err(VolumeError::TooNew { path, version });
        }
        Ok(record)
    }

    /// Removes what killed processes left incomplete. The directory is locked, so no volume is being
    /// made; one that is being removed is locked itself.
    fn remove_stale(&self) {
        let entries = std::fs::read_dir(&self.root);
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let partial = name.to_str().is_some_and(|name| name.starts_with(PARTIAL));
            if partial && let Ok(Some(_lock)) = Lock::try_exclusive(&entry.path()) {
                // If it cannot be removed, it does no harm: it is not a volume.
                let _ = fs::remove_tree(&entry.path());
            }
        }
    }
}

/// The data of a volume that is not in the list any more.
#[derive(Debug)]
#[must_use]
pub(crate) struct Detached {
    path: PathBuf,
    /// While it is held, no other process removes the data.
    _lock: Lock,
}

impl Detached {
    /// Removes the data, which may take long.
    pub(crate) fn remove(self) -> Result<(), VolumeError> {
        Ok(fs::remove_tree(&self.path)?)
    }
}

/// The name of the record in the directory of a volume.
const RECORD: &str = "volume.json";

impl VolumeRecord {
    fn to_json(&self) -> Vec<u8> {
        // INVARIANT: serialising cannot fail, because all keys of maps are strings.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(volumes: &Volumes) -> Vec<String> {
        let list = volumes.list().unwrap().into_iter();
        list.map(|volume| volume.name).collect()
    }

    #[test]
    fn a_volume_is_made_once_and_keeps_its_data() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(&dir.path().join("runtime"));
        assert_eq!(names(&volumes), [""; 0]);
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let made = volumes.create("data", &labels).unwrap();
        let file = volumes.path("data").unwrap().join("file");
        fs::replace_file(&file, b"kept").unwrap();
        assert!(matches!(
            volumes.create("data", &labels),
            Err(VolumeError::Exists { .. })
        ));
        assert_eq!(volumes.ensure("data").unwrap(), made);
        assert_eq!(volumes.get("data").unwrap(), made);
        assert_eq!(volumes.get(&made.id.to_string()).unwrap(), made);
        assert_eq!(made.labels, labels);
        volumes.ensure("other").unwrap();
        assert_eq!(names(&volumes), ["data", "other"]);
        assert_eq!(fs::read_file(&file, 9).unwrap(), b"kept");
        volumes.detach("data").unwrap().remove().unwrap();
        assert_eq!(names(&volumes), ["other"]);
        for missing in ["data", &made.id.to_string()] {
            let error = volumes.get(missing).unwrap_err().to_string();
            assert_eq!(error, format!("no volume `{missing}`"));
        }
    }

    #[test]
    fn of_many_that_make_a_volume_at_once_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path());
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| volumes.create("data", &BTreeMap::new()).is_ok()))
                .collect();
            let made = threads.into_iter().map(|thread| thread.join().unwrap());
            made.filter(|made| *made).count()
        });
        assert_eq!(made, 1);
        assert_eq!(names(&volumes), ["data"]);
    }

    #[test]
    fn what_killed_processes_left_is_no_volume_and_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path());
        volumes.create("data", &BTreeMap::new()).unwrap();
        let root = dir.path().join("volumes");
        let (stale, busy) = (root.join(".partial-1"), root.join(".partial-2"));
        for dir in [&stale, &busy] {
            fs::create_dir_all(&dir.join("data"), 0o700).unwrap();
        }
        let held = Lock::exclusive(&busy).unwrap();
        assert_eq!(names(&volumes), ["data"]);
        volumes.create("next", &BTreeMap::new()).unwrap();
        assert!(!stale.exists() && busy.exists());
        drop(held);
        volumes.ensure("next").unwrap();
        assert!(!busy.exists());
    }

    #[test]
    fn names_never_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path());
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/a",
            "-a",
            ".partial-1",
            "a\0",
        ] {
            assert!(volumes.create(name, &BTreeMap::new()).is_err(), "{name:?}");
            assert!(volumes.ensure(name).is_err(), "{name:?}");
            assert!(volumes.get(name).is_err(), "{name:?}");
            assert!(volumes.path(name).is_err(), "{name:?}");
            assert!(volumes.detach(name).is_err(), "{name:?}");
        }
        assert!(!dir.path().join("volumes").exists());
    }

    #[test]
    fn a_damaged_record_is_named_and_its_volume_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(dir.path());
        volumes.create("data", &BTreeMap::new()).unwrap();
        let record = dir.path().join("volumes/data/volume.json");
        for (text, part) in [
            (&b"{"[..], "is damaged"),
            (
                br#"{"version": 2, "id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "name": "data",
                "driver": "9pfs", "created_at": "2026-01-31T12:00:00Z"}"#,
                "by a newer kraft",
            ),
        ] {
            fs::replace_file(&record, text).unwrap();
            for error in [
                volumes.get("data").unwrap_err(),
                volumes.list().unwrap_err(),
                volumes.ensure("data").unwrap_err(),
            ] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        volumes.detach("data").unwrap().remove().unwrap();
        assert_eq!(names(&volumes), [""; 0]);
    }
}
