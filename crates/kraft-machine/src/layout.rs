//! Where things lie on disk.
//!
//! ```text
//! RUNTIME_DIR/
//! ├── machines/            its lock (flock on the directory): names and ports are given out under it
//! │   └── ID/              its lock: whoever changes the machine holds it
//! │       ├── record.json  the record; record.spare keeps disk space for its next version
//! │       ├── diary.in     what the VMM is told when it opens its diary; watchers share its lock
//! │       ├── diary.out    what the VMM writes down: the events of the machine protocol, QMP
//! │       ├── diary.sum    what the part of diary.out comes to that was given back to the disk
//! │       ├── control.sock the VMM's ear
//! │       ├── console/     what the guest printed since it was last started
//! │       ├── vmm.log      what the VMM's program said
//! │       └── kernel, initrd   links, so that neither the VMM nor the guest sees an odd path
//! ├── names/NAME           a symbolic link to ../machines/ID
//! ├── partial/
//! │   ├── new-ID/          being made, under the lock of machines/: stale if that lock is free
//! │   └── gone-ID/         being removed, under its own lock: stale if that lock is free
//! └── probe.json           what is known about this host
//! ```
//!
//! Locks are taken in this order, and never the other way round: a machine's, then that of
//! `machines/`.

use std::path::{Path, PathBuf};

use crate::id::Id;

/// The directories of this room.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    runtime_dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(runtime_dir: PathBuf) -> Self {
        Self { runtime_dir }
    }

    pub(crate) fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }

    pub(crate) fn machines(&self) -> PathBuf {
        self.runtime_dir.join("machines")
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.runtime_dir.join("names")
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.runtime_dir.join("partial")
    }

    pub(crate) fn probe(&self) -> PathBuf {
        self.runtime_dir.join("probe.json")
    }

    pub(crate) fn name(&self, name: &str) -> PathBuf {
        self.names().join(name)
    }

    pub(crate) fn machine(&self, id: Id) -> MachineDir {
        MachineDir::new(self.machines().join(id.to_string()))
    }

    pub(crate) fn unfinished(&self, id: Id) -> MachineDir {
        MachineDir::new(self.partial().join(format!("{NEW}{id}")))
    }

    pub(crate) fn buried(&self, id: Id) -> MachineDir {
        MachineDir::new(self.partial().join(format!("{GONE}{id}")))
    }
}

/// How the name of a directory begins that is still being made.
pub(crate) const NEW: &str = "new-";
/// How the name of a directory begins that is being removed.
pub(crate) const GONE: &str = "gone-";

/// The directory of one machine.
#[derive(Debug, Clone)]
pub(crate) struct MachineDir {
    path: PathBuf,
}

impl MachineDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.path.join("record.json")
    }

    pub(crate) fn record_spare(&self) -> PathBuf {
        self.path.join("record.spare")
    }

    pub(crate) fn diary_in(&self) -> PathBuf {
        self.path.join("diary.in")
    }

    pub(crate) fn diary_out(&self) -> PathBuf {
        self.path.join("diary.out")
    }

    pub(crate) fn diary_sum(&self) -> PathBuf {
        self.path.join("diary.sum")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    pub(crate) fn vmm_log(&self) -> PathBuf {
        self.path.join("vmm.log")
    }

    pub(crate) fn kernel(&self) -> PathBuf {
        self.path.join("kernel")
    }

    pub(crate) fn initrd(&self) -> PathBuf {
        self.path.join("initrd")
    }
}
