//! What is kept of a container: a directory per container below `--root`.
//!
//! ```text
//! ROOT/ID/          the same directory as other runtimes use, which have other files in it
//! ├── runu.json     the container; this file says that it is one of this runtime
//! ├── phase         `running` or `paused`, once it was started
//! ├── failure       why the supervisor could not prepare the container
//! ├── control       the socket of the supervisor
//! ├── initrd        the root archive with the files of the engine
//! └── machine/      the files of the VMM
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::machine::MachineSpec;
use kraft_machine::Id;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::Identity;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::config::Hooks;
use crate::decide::CopiedFile;
use crate::failure::Failure;

/// The version of the OCI runtime specification that is implemented.
pub(crate) const OCI_VERSION: &str = "1.2.0";

/// The largest record that is read, in bytes.
const LARGEST: u64 = 32 << 20;

/// What the name of a directory begins with that is being removed.
const GONE: &str = ".runu-gone-";

/// A container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    /// The version of this record.
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) created: Timestamp,
    /// The supervisor; `None` while it is being created.
    pub(crate) supervisor: Option<Identity>,
    pub(crate) machine: Id,
    pub(crate) spec: MachineSpec,
    pub(crate) files: Vec<CopiedFile>,
    /// Directories that the guest gets.
    #[serde(default)]
    pub(crate) directories: Vec<String>,
    pub(crate) network: Network,
    pub(crate) hostname: String,
    pub(crate) terminal: bool,
    pub(crate) cgroup: Cgroup,
    pub(crate) hooks: Hooks,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where the engine reads failures.
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_json: bool,
    /// The program of QEMU and of Firecracker.
    pub(crate) programs: Vec<(kraft_core::platform::Platform, String)>,
}

/// The network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Network {
    /// A namespace of its own.
    New,
    /// An existing namespace.
    Existing(PathBuf),
    /// That of the host, in which a machine has no network.
    Host,
}

/// The status of a container (OCI runtime specification, State).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The state that hooks and users get (OCI runtime specification, State).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OciState<'a> {
    pub(crate) oci_version: &'static str,
    pub(crate) id: &'a str,
    pub(crate) status: Status,
    pub(crate) pid: u32,
    pub(crate) bundle: &'a Path,
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl Container {
    /// Returns the state that hooks and users get.
    pub(crate) fn oci_state(&self, status: Status) -> OciState<'_> {
        let pid = self.supervisor.as_ref().map_or(0, |it| it.pid);
        OciState {
            oci_version: OCI_VERSION,
            id: &self.id,
            status,
            pid: if status == Status::Stopped { 0 } else { pid },
            bundle: &self.bundle,
            annotations: &self.annotations,
        }
    }
}

/// The directory of a container.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// Returns the directory of a container.
    pub(crate) fn new(root: &Path, id: &str) -> Result<Self, Failure> {
        check_id(id)?;
        Ok(Self(root.join(id)))
    }

    pub(crate) fn of(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn record(&self) -> PathBuf {
        self.0.join("runu.json")
    }

    fn phase(&self) -> PathBuf {
        self.0.join("phase")
    }

    fn failure(&self) -> PathBuf {
        self.0.join("failure")
    }

    /// Returns the path of the socket of the supervisor, which is too long for the system.
    pub(crate) const CONTROL: &str = "control";

    pub(crate) fn initrd(&self) -> PathBuf {
        self.0.join("initrd")
    }

    pub(crate) fn machine(&self) -> PathBuf {
        self.0.join("machine")
    }

    /// Returns whether the container is one of this runtime.
    pub(crate) fn is_ours(&self) -> bool {
        self.record().is_file()
    }

    /// Creates the directory of a new container, and locks it.
    pub(crate) fn create(&self) -> Result<Lock, Failure> {
        if let Some(root) = self.0.parent() {
            fs::create_dir_all(root, 0o700)?;
        }
        fs::create_dir(&self.0, 0o700).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => Failure(format!(
                "container with id `{}` already exists",
                self.name()
            )),
            _ => e.into(),
        })?;
        self.lock()
    }

    fn name(&self) -> String {
        let name = self.0.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Waits for the lock of the container.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        Lock::exclusive(&self.0).map_err(|e| Failure::of("cannot lock the container", &e))
    }

    /// Reads the container.
    pub(crate) fn load(&self) -> Result<Container, Failure> {
        let bytes = fs::read_file(&self.record(), LARGEST).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Failure(format!("container `{}` does not exist", self.name()))
            }
            _ => e.into(),
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Failure::of(&format!("the record of `{}` is damaged", self.name()), &e))
    }

    pub(crate) fn store(&self, container: &Container) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(container)
            .map_err(|e| Failure::of("cannot write the record of the container", &e))?;
        Ok(fs::replace_file(&self.record(), &bytes)?)
    }

    pub(crate) fn set_phase(&self, phase: Status) -> Result<(), fs::Error> {
        fs::replace_file(&self.phase(), phase.name().as_bytes())
    }

    pub(crate) fn set_failure(&self, failure: &Failure) {
        // The process that reads it reports another failure otherwise.
        let _ = fs::replace_file(&self.failure(), failure.0.as_bytes());
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        let bytes = fs::read_file(&self.failure(), 1 << 20).ok()?;
        Some(Failure(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the status of the container.
    pub(crate) fn status(&self, container: &Container) -> Status {
        let Some(supervisor) = &container.supervisor else {
            return Status::Creating;
        };
        if !supervisor.is_alive() {
            return Status::Stopped;
        }
        match fs::read_file(&self.phase(), 64).as_deref() {
            Ok(b"running") => Status::Running,
            Ok(b"paused") => Status::Paused,
            _ => Status::Created,
        }
    }

    /// Removes the directory. If that is interrupted, the next removal of any container completes it.
    pub(crate) fn remove(&self) -> Result<(), fs::Error> {
        let Some(root) = self.0.parent() else {
            return Ok(());
        };
        // No id begins with a dot.
        let gone = root.join(format!("{GONE}{}", self.name()));
        fs::remove_tree(&gone)?;
        match fs::rename(&self.0, &gone) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        for name in fs::names(root)? {
            if name.starts_with(GONE) {
                fs::remove_tree(&root.join(name))?;
            }
        }
        Ok(())
    }
}

/// Checks an id: it becomes a name of a directory. The rules are those of runc.
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(fine) {
        let shown: String = id.chars().take(80).flat_map(char::escape_debug).collect();
        return Err(Failure(format!(
            "`{shown}` is not a valid container id: expected letters, digits, `_`, `+`, `-` and `.`"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_name_of_a_directory() {
        for good in ["a", "0123abcdef", "my_container-1.2+x"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a b",
            "-\n",
            "ä",
            &"x".repeat(256),
        ] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_runtime_s_container_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path(), "x").unwrap();
        let lock = state.create().unwrap();
        fs::replace_file(&state.path().join("state.json"), b"{}").unwrap();
        assert!(!state.is_ours());
        drop(lock);
        let again = state.create().unwrap_err().to_string();
        assert_eq!(again, "container with id `x` already exists");
    }
}
