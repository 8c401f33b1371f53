//! How the administrator of a host configures this runtime: `/etc/kraft/runu.json`, since engines pass
//! no arguments of their own.

use std::path::Path;

use kraft_core::platform::Platform;
use kraft_core::quantity::MIB;
use kraft_machine::driver::Drivers;
use kraft_sys::fs;
use serde::Deserialize;

use crate::failure::Failure;

/// The file.
pub(crate) const FILE: &str = "/etc/kraft/runu.json";

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The settings of this runtime.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The runtime that ordinary containers are handed to: a name or a path. The default is the first of
    /// runc, crun and youki that is installed.
    pub(crate) delegate: Option<String>,
    /// The program of QEMU, and arguments that come first.
    pub(crate) qemu: Option<String>,
    /// The program of Firecracker.
    pub(crate) firecracker: Option<String>,
    /// Whether guests may run under KVM.
    pub(crate) kvm: bool,
    /// The memory that a VMM may use beside that of its guest, in MiB.
    pub(crate) overhead: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delegate: None,
            qemu: None,
            firecracker: None,
            kvm: true,
            overhead: 64,
        }
    }
}

impl Settings {
    /// Reads the settings; the defaults if there is no file.
    pub(crate) fn load() -> Result<Self, Failure> {
        Self::read(Path::new(FILE))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        match fs::read_file(path, LARGEST) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Failure::of(&format!("`{}` is not valid", path.display()), &e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns the memory that a VMM may use beside that of its guest, in bytes.
    pub(crate) fn overhead(&self) -> u64 {
        self.overhead.saturating_mul(MIB)
    }

    /// Returns the drivers with the configured programs.
    pub(crate) fn drivers(&self) -> Drivers {
        let programs = [
            (Platform::Qemu, &self.qemu),
            (Platform::Firecracker, &self.firecracker),
        ];
        let mut drivers = Drivers::default();
        for (platform, program) in programs {
            if let Some(program) = program {
                drivers = drivers.with_program(platform, program);
            }
        }
        drivers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_some_settings_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runu.json");
        assert_eq!(Settings::read(&path).unwrap().overhead(), 64 * MIB);
        fs::replace_file(&path, br#"{"delegate":"crun","kvm":false}"#).unwrap();
        let settings = Settings::read(&path).unwrap();
        assert_eq!(settings.delegate.as_deref(), Some("crun"));
        assert!(!settings.kvm);
        fs::replace_file(&path, br#"{"typo":1}"#).unwrap();
        let error = Settings::read(&path).unwrap_err().to_string();
        assert!(error.contains("unknown field `typo`"), "{error}");
    }
}
