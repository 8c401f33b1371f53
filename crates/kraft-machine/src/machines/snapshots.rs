//! Snapshots: saved machines with a name, that new machines continue from.
//!
//! A machine that is made from a snapshot is suspended, and has links to its files: so it does not
//! matter when the snapshot is removed, and all machines from one snapshot share their memory until
//! they change it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::machine::{EndReason, MachineSpec, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::Identity;
use serde_json::Map;

use crate::driver::Saved;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::error::similar;
use crate::machines::{Error, Machine, Machines};
use crate::record::{Ending, Record, Run};
use crate::saved::{KERNEL, MANIFEST, SavedMachine, SavedMachineError};

/// A snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The directory of its files.
    pub dir: PathBuf,
    /// What was saved.
    pub saved: SavedMachine,
}

/// A snapshot that cannot be read.
#[derive(Debug)]
pub struct UnreadableSnapshot {
    /// Its name.
    pub name: String,
    /// The reason.
    pub error: SavedMachineError,
}

impl Machines {
    /// Saves the memory and the devices of a machine as a snapshot. One that runs continues; of one
    /// that is suspended, what was saved is linked.
    pub fn take_snapshot(&self, id: &Id, name: &str) -> Result<Snapshot, Error> {
        check_name(name)?;
        if self.layout.snapshot(name).exists() {
            let name = name.to_owned();
            return Err(Error::SnapshotTaken { name });
        }
        if self.load_record(*id)?.is_suspended() {
            self.link_snapshot(*id, name)?;
        } else {
            self.save_snapshot(*id, name)?;
        }
        self.snapshot(name)
    }

    /// Makes a snapshot of a suspended machine.
    fn link_snapshot(&self, id: Id, name: &str) -> Result<(), Error> {
        let locked = self.lock_machine(id, None)?;
        if !locked.record.is_suspended() {
            return Err(locked.not_running());
        }
        let partial = self.layout.unfinished_save(Id::new());
        fs::create_dir(&partial, 0o700)?;
        let _partial = Lock::exclusive(&partial)?;
        let link = || -> Result<(), Error> {
            link_files(&locked.dir.saved(), &partial)?;
            fs::sync_dir(&partial)?;
            if !partial.join(KERNEL).exists() {
                SavedMachine::copy_kernel(&locked.record.spec.get().kernel, &partial)?;
            }
            self.commit_snapshot(&partial, name)
        };
        let linked = link();
        if linked.is_err() {
            // Only the first error is returned.
            let _ = fs::remove_tree(&partial);
        }
        linked
    }

    /// Returns the snapshot with a name.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot, Error> {
        check_name(name)?;
        let dir = self.layout.snapshot(name);
        if !dir.is_dir() {
            let names = self.snapshot_names().unwrap_or_default();
            return Err(Error::NoSnapshot {
                name: name.to_owned(),
                similar: similar(name, names.iter().map(String::as_str)),
            });
        }
        Ok(Snapshot {
            name: name.to_owned(),
            saved: SavedMachine::load(&dir)?,
            dir,
        })
    }

    /// Returns the names of all snapshots, sorted.
    pub fn snapshot_names(&self) -> Result<Vec<String>, Error> {
        let mut names = match fs::names(&self.layout.snapshots()) {
            Ok(names) => names,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e.into()),
        };
        names.retain(|name| check_name(name).is_ok());
        names.sort_unstable();
        Ok(names)
    }

    /// Returns all snapshots, by their names.
    pub fn snapshots(&self) -> Result<Vec<Result<Snapshot, UnreadableSnapshot>>, Error> {
        let names = self.snapshot_names()?;
        let read = |name: String| {
            let dir = self.layout.snapshot(&name);
            match SavedMachine::load(&dir) {
                Ok(saved) => Ok(Snapshot { name, dir, saved }),
                Err(error) => Err(UnreadableSnapshot { name, error }),
            }
        };
        Ok(names.into_iter().map(read).collect())
    }

    /// Removes a snapshot, also one that cannot be read. Machines that were made from it stay.
    pub fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let lock = self.lock_all()?;
        let dir = self.layout.snapshot(name);
        if !dir.exists() {
            drop(lock);
            return self.snapshot(name).map(drop);
        }
        let removed = self.layout.unfinished_save(Id::new());
        fs::rename(&dir, &removed)?;
        drop(lock);
        Ok(fs::remove_tree(&removed)?)
    }

    /// Notes that a snapshot is used now; see [`unused_for`](Self::unused_for).
    pub fn note_use(&self, snapshot: &Snapshot) {
        // The time of the directory: what is in it does not change.
        let touched = std::fs::File::open(&snapshot.dir)
            .and_then(|dir| dir.set_modified(std::time::SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(name = snapshot.name, %error, "cannot note the use of the snapshot");
        }
    }

    /// Returns how long ago a snapshot was made or its use was [noted](Self::note_use); zero if that is
    /// not known.
    pub fn unused_for(&self, name: &str) -> Duration {
        let modified = std::fs::metadata(self.layout.snapshot(name)).and_then(|it| it.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        age.unwrap_or_default()
    }

    /// Makes a snapshot from files that `fill` writes into an empty directory: `saved.json`, `kernel`,
    /// `state` and `memory`. Their sums are checked.
    ///
    /// # Errors
    ///
    /// If there is a snapshot with that name, or the files are not those of one.
    pub fn import_snapshot<E: From<Error>>(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Snapshot, E> {
        check_name(name).map_err(Error::from)?;
        if self.layout.snapshot(name).exists() {
            let name = name.to_owned();
            return Err(Error::SnapshotTaken { name }.into());
        }
        let partial = self.layout.unfinished_save(Id::new());
        let make = || -> Result<Lock, Error> {
            fs::create_dir(&partial, 0o700)?;
            Ok(Lock::exclusive(&partial)?)
        };
        let _partial = make()?;
        let imported = fill(&partial).and_then(|()| {
            SavedMachine::adopt(&partial).map_err(Error::from)?;
            self.commit_snapshot(&partial, name)?;
            Ok(())
        });
        if imported.is_err() {
            // Only the first error is returned.
            let _ = fs::remove_tree(&partial);
        }
        imported?;
        Ok(self.snapshot(name)?)
    }

    /// Creates a machine that continues what was saved in a directory: it is suspended, and
    /// [`start`](Self::start) restores it. `spec` is that of the saved machine with another name,
    /// other ports and addresses; the kernel is that of the directory, if it has one.
    pub fn create_from(&self, from: &Path, spec: &MachineSpec) -> Result<Machine, Error> {
        let saved = SavedMachine::load(from)?;
        self.create_with(spec, |dir, id, record| {
            link_files(from, &dir.saved())?;
            let kernel = dir.saved().join(KERNEL);
            if kernel.exists() {
                let own = self.layout.machine(id).own_kernel();
                fs::rename(&kernel, &dir.own_kernel())?;
                record.spec.change(|spec| spec.kernel = own);
            }
            let me = Identity::me().ok_or_else(|| {
                Error::on("identify this process")(std::io::Error::other("`/proc` is not mounted"))
            })?;
            record.run = Some(Run {
                started_at: saved.created_at,
                monitor: me,
                vmm: None,
                ports: Vec::new(),
                hidden_ports: Vec::new(),
                end: Some(Ending {
                    at: saved.created_at,
                    reason: EndReason::Suspended,
                }),
                restoring: None,
                unknown: Map::new(),
            });
            Ok(())
        })
    }

    /// Creates a machine as [`create`](Self::create) does, of which a snapshot is made when its health
    /// check first succeeds, unless there is one with that name.
    pub fn create_warm(&self, spec: &MachineSpec, snapshot: &str) -> Result<Machine, Error> {
        check_name(snapshot)?;
        self.create_with(spec, |_, _, record| {
            record.warm = Some(snapshot.to_owned());
            Ok(())
        })
    }

    /// Removes what a machine was to continue from, so that its next start boots it; and then a snapshot
    /// is made as for [`create_warm`](Self::create_warm).
    pub fn boot_instead(&self, id: &Id, snapshot: &str) -> Result<(), Error> {
        check_name(snapshot)?;
        let mut locked = self.lock_machine(*id, None)?;
        if !locked.record.is_suspended() {
            return Err(locked.not_running());
        }
        locked.record.run = None;
        locked.record.warm = Some(snapshot.to_owned());
        locked.record.store(&locked.dir)?;
        Ok(fs::remove_tree(&locked.dir.saved())?)
    }

    pub(super) fn load_record(&self, id: Id) -> Result<Record, Error> {
        match self.load(id) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(Error::not_found(id)),
            Err(source) => Err(Error::Unreadable { id, source }),
        }
    }
}

/// Links the files of a saved machine into another directory, which is made if it is missing and not
/// flushed to disk.
fn link_files(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to, 0o700)?;
    for name in [Saved::MEMORY, Saved::STATE, KERNEL, MANIFEST] {
        let file = from.join(name);
        if name != KERNEL || file.exists() {
            fs::link_or_copy(&file, &to.join(name))?;
        }
    }
    Ok(())
}

impl MachineDir {
    /// Returns the path of the kernel of a machine that was made from a snapshot.
    fn own_kernel(&self) -> PathBuf {
        self.path().join("kernel.saved")
    }
}
