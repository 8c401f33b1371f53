//! Making a machine: a name nobody else has, and a directory that is whole or not there.

use std::path::PathBuf;

use kraft_core::machine::{MachineSpec, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::id::Id;
use crate::layout::{GONE, MachineDir, NEW};
use crate::machines::{Error, Machine, Machines, now};
use crate::names;
use crate::record::Record;

impl Machines {
    /// Makes a machine and its name; it is not started.
    ///
    /// Any number of processes may do this at once: names are given out one at a time.
    pub fn create(&self, spec: &MachineSpec) -> Result<Machine, Error> {
        if let Some(name) = &spec.name {
            check_name(name)?;
        }
        let id = Id::new();
        let lock = Lock::exclusive(&self.layout.machines())?;
        self.sweep();
        let name = self.reserve_name(spec.name.as_deref(), id)?;
        let made = self.make(id, &name, spec);
        if made.is_err() {
            // The first error is the one that counts.
            let _ = fs::remove_tree(self.layout.unfinished(id).path());
            let _ = fs::remove_file(&self.layout.name(&name));
        }
        drop(lock);
        made?;
        self.get(id)
    }

    /// Builds the directory under another name and then gives it its own.
    fn make(&self, id: Id, name: &str, spec: &MachineSpec) -> Result<(), Error> {
        let dir = self.layout.unfinished(id);
        // Nobody else's business: environments hold secrets.
        fs::create_dir(dir.path(), 0o700)?;
        // Those who watch the machine lock this one: it stays the same file for good.
        fs::truncate(&dir.diary_in(), 0)?;
        let record = Record::new(id, name.to_owned(), spec.clone(), now());
        record.reserve(&dir)?;
        record.store(&dir)?;
        fs::rename(dir.path(), self.layout.machine(id).path())?;
        fs::sync_dir(&self.layout.machines())?;
        Ok(())
    }

    /// Reserves the wished name, or one that is made up. The lock of `machines/` is held.
    fn reserve_name(&self, wished: Option<&str>, id: Id) -> Result<String, Error> {
        if let Some(name) = wished {
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
            let name = names::make_up(random, attempt);
            if self.try_name(&name, id)? {
                return Ok(name);
            }
            attempt += 1;
        }
    }

    /// Takes a name unless a machine has it. A link that leads nowhere is what somebody left who
    /// was killed while he held the lock: the name is free.
    fn try_name(&self, name: &str, id: Id) -> Result<bool, Error> {
        let link = self.layout.name(name);
        for _ in 0..2 {
            match std::os::unix::fs::symlink(link_target(id), &link) {
                Ok(()) => return Ok(true),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(fs::Error::on("reserve the name", &link)(e).into()),
            }
            // Asked of the name's target itself: it may be a directory that we may not enter.
            match std::fs::metadata(&link) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs::remove_file(&link)?,
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Clears away what others left half done who were killed. The lock of `machines/` is held,
    /// so nobody is making a machine; one that is being removed is locked by its remover.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.layout.partial()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let stale = if name.starts_with(NEW) {
                true
            } else if name.starts_with(GONE) {
                matches!(Lock::try_exclusive(&entry.path()), Ok(Some(_)))
            } else {
                false
            };
            if stale {
                // What cannot be cleared away does no harm: it is no machine.
                let _ = fs::remove_tree(&entry.path());
            }
        }
    }

    /// Removes a machine from the list at once, and then from the disk. The machine's lock is
    /// held.
    pub(crate) fn bury(&self, id: Id) -> Result<(), Error> {
        let name = self.name_of(id);
        let buried = self.layout.buried(id);
        fs::rename(self.layout.machine(id).path(), buried.path())?;
        if let Some(name) = name {
            self.free_name(id, &name)?;
        }
        // Those who wait for its end keep a shared lock until they have read it.
        wait_for_watchers(&buried);
        fs::remove_tree(buried.path())?;
        Ok(())
    }

    /// Gives up the name of a machine that is gone.
    pub(crate) fn free_name(&self, id: Id, name: &str) -> Result<(), Error> {
        // Whoever makes a machine may take over a name that leads nowhere: only under the lock can
        // it be known to be ours still.
        let _order = Lock::exclusive(&self.layout.machines())?;
        let link = self.layout.name(name);
        if std::fs::read_link(&link).is_ok_and(|to| to == link_target(id)) {
            fs::remove_file(&link)?;
        }
        Ok(())
    }
}

/// Returns what the link that reserves a name points to.
pub(crate) fn link_target(id: Id) -> PathBuf {
    PathBuf::from(format!("../machines/{id}"))
}

/// Waits until nobody watches a machine, but not for ever: a watcher may be stopped itself.
fn wait_for_watchers(dir: &MachineDir) {
    const STEP: std::time::Duration = std::time::Duration::from_millis(2);
    for _ in 0..1000 {
        match Lock::try_exclusive(&dir.diary_in()) {
            Ok(None) => std::thread::sleep(STEP),
            Ok(Some(_)) | Err(_) => return,
        }
    }
}
