//! The files and directories of machines.
//!
//! ```text
//! RUNTIME_DIR/
//! ├── machines/            its lock (flock on the directory): names and ports are assigned under it
//! │   └── ID/              its lock: whoever changes the machine holds it
//! │       ├── record.json  the record; record.spare reserves disk space for its next version
//! │       ├── events.in    input of the event log, if the VMM needs one; watchers share its lock
//! │       ├── events.out   the event log of the VMM
//! │       ├── events.sum   the folded part of the event log whose space was given back
//! │       ├── control.sock the socket by which the VMM is controlled
//! │       ├── console/     what the guest printed since it was last started
//! │       ├── health.json  the result of its health checks
//! │       ├── saved/       its memory and devices while it is suspended, see the module `saved`
//! │       ├── vmm.log      what the VMM and the monitor printed
//! │       └── kernel, initrd   links that a VMM may use instead of the paths
//! ├── names/NAME           a symbolic link to ../machines/ID
//! ├── partial/
//! │   ├── new-ID/          being created, under the lock of machines/: stale if that lock is free
//! │   ├── gone-ID/         being removed, under its own lock: stale if that lock is free
//! │   └── save-ID/         memory and devices that are being saved, likewise
//! ├── snapshots/NAME/      saved machines that do not change, see the module `saved`
//! ├── volumes/             see the module `volumes`
//! └── probe.json           what is known about this host
//! ```
//!
//! Earlier versions named the files of the event log `diary.*`; their machines keep these names.
//!
//! The order of locks is always the same: that of a machine, then that of `machines/`, then that of
//! `volumes/`.

use std::path::{Path, PathBuf};

use kraft_sys::fs;

use crate::id::Id;

/// The directories of this crate.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    runtime_dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(runtime_dir: PathBuf) -> Self {
        Self { runtime_dir }
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

    pub(crate) fn name(&self, name: &str) -> PathBuf {
        self.names().join(name)
    }

    pub(crate) fn machine(&self, id: Id) -> MachineDir {
        MachineDir::new(self.machines().join(id.to_string()))
    }

    pub(crate) fn unfinished(&self, id: Id) -> MachineDir {
        MachineDir::new(self.partial().join(format!("{NEW}{id}")))
    }

    /// Returns the directory of something that is being saved.
    pub(crate) fn unfinished_save(&self, id: Id) -> PathBuf {
        self.partial().join(format!("{SAVE}{id}"))
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.runtime_dir.join("snapshots")
    }

    pub(crate) fn snapshot(&self, name: &str) -> PathBuf {
        self.snapshots().join(name)
    }

    pub(crate) fn removed(&self, id: Id) -> MachineDir {
        MachineDir::new(self.partial().join(format!("{GONE}{id}")))
    }
}

/// The prefix of a directory that is being created.
pub(crate) const NEW: &str = "new-";
/// The prefix of a directory that is being removed.
pub(crate) const GONE: &str = "gone-";

/// The prefix of a directory into which a machine is being saved.
pub(crate) const SAVE: &str = "save-";

/// The name of the directory with the memory of a suspended machine.
pub(crate) const SAVED: &str = "saved";

/// The name of the event log's files. QEMU adds `.in` and `.out` itself.
pub(crate) const EVENTS: &str = "events";
/// Their name in machines of earlier versions.
const OLD_EVENTS: &str = "diary";

/// The directory of one machine.
#[derive(Debug, Clone)]
pub struct MachineDir {
    path: PathBuf,
}

/// The maximal length of the end of the VMM's log that is read, in bytes.
const MAX_LOG: u64 = 64 << 10;

impl MachineDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.path.join("record.json")
    }

    pub(crate) fn record_spare(&self) -> PathBuf {
        self.path.join("record.spare")
    }

    /// Returns the name of the event log's files without their extensions.
    pub(crate) fn events_name(&self) -> &'static str {
        // The input is created with the machine, and stays.
        if self.path.join(OLD_EVENTS).with_extension("in").exists() {
            OLD_EVENTS
        } else {
            EVENTS
        }
    }

    fn event_file(&self, extension: &str) -> PathBuf {
        self.path.join(self.events_name()).with_extension(extension)
    }

    /// Returns the file that watchers of the machine lock. It must stay the same file for the life
    /// of the machine.
    pub(crate) fn watchers(&self) -> PathBuf {
        self.events_input()
    }

    /// Returns the input of the event log, for VMMs that need one. It exists, and must be
    /// overwritten, never replaced.
    pub fn events_input(&self) -> PathBuf {
        self.event_file("in")
    }

    /// Returns the event log: the VMM appends a line per event.
    pub fn events(&self) -> PathBuf {
        self.event_file("out")
    }

    pub(crate) fn events_summary(&self) -> PathBuf {
        self.event_file("sum")
    }

    /// Returns the path for a socket by which the VMM is controlled.
    pub fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Returns the directory of the console.
    pub(crate) fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    /// Returns the named pipe that the monitor copies the console from.
    pub fn console_pipe(&self) -> PathBuf {
        self.console().join("pipe")
    }

    /// Returns the file with the result of the health checks.
    pub(crate) fn health(&self) -> PathBuf {
        self.path.join("health.json")
    }

    /// Returns the directory with the memory and the devices of a suspended machine.
    pub(crate) fn saved(&self) -> PathBuf {
        self.path.join(SAVED)
    }

    /// Returns the file with what the VMM printed.
    pub fn vmm_log(&self) -> PathBuf {
        self.path.join("vmm.log")
    }

    /// Reads the end of what the VMM printed; empty if there is nothing.
    pub fn read_vmm_log(&self) -> String {
        let bytes = fs::read_tail(&self.vmm_log(), MAX_LOG).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the path for a link to the kernel.
    pub fn kernel(&self) -> PathBuf {
        self.path.join("kernel")
    }

    /// Returns the path for a link to the root archive.
    pub fn initrd(&self) -> PathBuf {
        self.path.join("initrd")
    }
}
