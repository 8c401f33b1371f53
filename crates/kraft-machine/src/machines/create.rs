//! Creating and removing a machine: a unique name, and a directory that is complete or absent.

use std::path::PathBuf;

use kraft_core::machine::{MachineSpec, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::id::Id;
use crate::layout::{GONE, MachineDir, NEW, SAVE};
use crate::machines::{Error, Machine, Machines, now};
use crate::names;
use crate::record::Record;

impl Machines {
    /// Creates a machine, and generates a name if the specification has none. It is not started.
    /// Its named volumes are made if they do not exist, and stay if it cannot be created.
    ///
    /// Any number of processes may do this at once: names are assigned one at a time.
    pub fn create(&self, spec: &MachineSpec) -> Result<Machine, Error> {
        self.create_with(spec, |_, _, _| Ok(()))
    }

    /// Creates a machine whose directory and record `complete` completes before they are there for
    /// others.
    pub(super) fn create_with(
        &self,
        spec: &MachineSpec,
        complete: impl FnOnce(&MachineDir, Id, &mut Record) -> Result<(), Error>,
    ) -> Result<Machine, Error> {
        if let Some(name) = &spec.name {
            check_name(name)?;
        }
        let id = Id::new();
        let lock = self.lock_all()?;
        self.remove_stale();
        let name = self.reserve_name(spec.name.as_deref(), id)?;
        let created = self
            .reserve_addresses(id, &name, &spec.networks)
            .and_then(|networks| {
                let spec = MachineSpec {
                    networks,
                    volumes: self.ensure_volumes(&spec.volumes)?,
                    ..spec.clone()
                };
                self.create_directory(id, &name, spec, complete)
            });
        if created.is_err() {
            self.release_addresses(id);
            // Only the first error is returned.
            let _ = fs::remove_tree(self.layout.unfinished(id).path());
            let _ = fs::remove_file(&self.layout.name(&name));
        }
        drop(lock);
        if created.is_err() {
            let _ = self.remove_anonymous_volumes(&spec.volumes, None);
        }
        created?;
        self.get(id)
    }

    /// Creates the directory under a temporary name and renames it.
    fn create_directory(
        &self,
        id: Id,
        name: &str,
        spec: MachineSpec,
        complete: impl FnOnce(&MachineDir, Id, &mut Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let dir = self.layout.unfinished(id);
        // Private: environments contain secrets.
        fs::create_dir(dir.path(), 0o700)?;
        // Watchers lock this file: it stays the same for the life of the machine.
        fs::truncate(&dir.watchers(), 0)?;
        let mut record = Record::new(id, name.to_owned(), spec, now());
        complete(&dir, id, &mut record)?;
        record.reserve(&dir)?;
        record.create(&dir)?;
        if dir.saved().exists() {
            // After the record, with which a journal has written this as well.
            fs::sync_dir(&dir.saved())?;
        }
        fs::rename(dir.path(), self.layout.machine(id).path())?;
        fs::sync_dir(&self.layout.machines())?;
        Ok(())
    }

    /// Reserves the requested name, or a generated one. The lock of `machines/` is held.
    fn reserve_name(&self, requested: Option<&str>, id: Id) -> Result<String, Error> {
        if let Some(name) = requested {
            return if self.try_name(name, id)? {
                Ok(name.to_owned())
            } else {
                Err(Error::NameTaken {
                    name: name.to_owned(),
                })
            };
        }
        let mut attempt = 0;
        loop {
            let random = getrandom::u64()
                .map_err(|e| Error::on("get a random number")(std::io::Error::other(e)))?;
            let name = names::generate(random, attempt);
            if self.try_name(&name, id)? {
                return Ok(name);
            }
            attempt += 1;
        }
    }

    /// Reserves a name unless a machine has it. A dangling link is left over from a process that was
    /// killed while it held the lock: the name is free.
    pub(super) fn try_name(&self, name: &str, id: Id) -> Result<bool, Error> {
        let link = self.layout.name(name);
        for _ in 0..2 {
            match std::os::unix::fs::symlink(link_target(id), &link) {
                Ok(()) => return Ok(true),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(fs::Error::on("reserve the name", &link)(e).into()),
            }
            // The target itself is checked: it may be a directory that this user may not enter.
            match std::fs::metadata(&link) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs::remove_file(&link)?,
                // Left over from a process that was killed while it renamed the machine.
                Ok(_) if self.has_another_name(&link, name) => fs::remove_file(&link)?,
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Returns whether the machine that a name's link points to has another name.
    fn has_another_name(&self, link: &std::path::Path, name: &str) -> bool {
        let target = std::fs::read_link(link).ok();
        let id = target
            .as_ref()
            .and_then(|to| to.file_name()?.to_str()?.parse().ok());
        let record = id.and_then(|id| Record::load(&self.layout.machine(id)).ok());
        record.is_some_and(|record| record.name != name)
    }

    /// Removes what killed processes left incomplete, as the next [`create`](Self::create) does.
    pub fn remove_leftovers(&self) {
        if self.layout.machines().is_dir()
            && let Ok(_lock) = self.lock_all()
        {
            self.remove_stale();
        }
    }

    /// Removes what killed processes left incomplete. The lock of `machines/` is held, so no machine
    /// is being created; one that is being removed is locked.
    fn remove_stale(&self) {
        self.release_stale_names();
        let Ok(entries) = std::fs::read_dir(self.layout.partial()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let stale = if name.starts_with(NEW) {
                true
            } else if name.starts_with(GONE) || name.starts_with(SAVE) {
                matches!(Lock::try_exclusive(&entry.path()), Ok(Some(_)))
            } else {
                false
            };
            if stale {
                // If it cannot be removed, it does no harm: it is not a machine.
                let _ = fs::remove_tree(&entry.path());
            }
        }
    }

    /// Releases names that were reserved for machines that were never made.
    fn release_stale_names(&self) {
        let entries = std::fs::read_dir(self.layout.names()).into_iter().flatten();
        let mut lost = None;
        for link in entries.flatten().map(|entry| entry.path()) {
            let target = std::fs::read_link(&link).ok();
            let id = target.and_then(|to| to.file_name()?.to_str()?.parse::<Id>().ok());
            let Some(id) = id.filter(|id| !self.layout.machine(*id).path().exists()) else {
                continue;
            };
            // The name of a machine that lost its directory and runs is known by this link alone.
            let lost = lost.get_or_insert_with(|| self.lost());
            if !lost.contains(&id) {
                let _ = fs::remove_file(&link);
            }
        }
    }

    /// Removes a machine from the list, and then from the disk. The machine's lock is held.
    pub(crate) fn remove_directory(&self, id: Id) -> Result<(), Error> {
        let name = self.name_of(id);
        let removed = self.layout.removed(id);
        fs::rename(self.layout.machine(id).path(), removed.path())?;
        if let Some(name) = name {
            self.release_name(id, &name)?;
        }
        self.release_addresses(id);
        // Watchers hold a shared lock until they have read the end.
        wait_for_watchers(&removed);
        fs::remove_tree(removed.path())?;
        Ok(())
    }

    /// Releases the name of a machine that was removed.
    pub(crate) fn release_name(&self, id: Id, name: &str) -> Result<(), Error> {
        // Another machine may take over a dangling link, but only under this lock.
        let _lock = self.lock_all()?;
        let link = self.layout.name(name);
        if std::fs::read_link(&link).is_ok_and(|to| to == link_target(id)) {
            fs::remove_file(&link)?;
        }
        Ok(())
    }
}

/// Returns the target of the link that reserves a name.
pub(crate) fn link_target(id: Id) -> PathBuf {
    PathBuf::from(format!("../machines/{id}"))
}

/// Waits until no process watches a machine, for a limited time: a watcher may be stopped.
fn wait_for_watchers(dir: &MachineDir) {
    const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(2);
    for _ in 0..1000 {
        match Lock::try_exclusive(&dir.watchers()) {
            Ok(None) => std::thread::sleep(POLL_INTERVAL),
            Ok(Some(_)) | Err(_) => return,
        }
    }
}
