//! What this computer can do: its processor, its KVM, its VMMs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_sys::fs;
use kraft_sys::tool::{self, Tool, ToolError};

use crate::driver::qemu::{self, OLDEST, Version};
use crate::machines::Settings;
use crate::probe;

/// How long QEMU may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// An installed QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// Its program, found.
    pub program: PathBuf,
    /// Its version.
    pub version: Version,
    /// The line it introduces itself with.
    pub text: String,
}

/// There is no QEMU that could be used.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// It is not installed, or not where the configuration says.
    #[error("cannot find the program `{program}`")]
    NotFound {
        /// Its name or path.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// It does not run.
    #[error("`{program}` does not tell its version")]
    Mute {
        /// Its path.
        program: String,
        /// Why not, if it could not be run.
        source: ToolError,
    },
    /// It runs and says something else.
    #[error("`{program}` does not look like QEMU: it says `{text}`")]
    Strange {
        /// Its path.
        program: String,
        /// What it says.
        text: String,
    },
    /// It is too old.
    #[error("QEMU {version} is too old: {OLDEST} or newer is needed")]
    TooOld {
        /// Its path.
        program: String,
        /// Its version.
        version: Version,
    },
}

/// Finds the QEMU for an architecture and asks for its version.
pub fn qemu(settings: &Settings, arch: Arch) -> Result<Qemu, QemuError> {
    let words = qemu::program(arch, settings.qemu.as_deref());
    let name = words.first().cloned().unwrap_or_default();
    let path = tool::locate(name.as_ref()).ok_or_else(|| QemuError::NotFound {
        program: name,
        package: qemu::package(arch),
    })?;
    let program = path.display().to_string();
    let output = Tool::new(&path)
        .args(words.iter().skip(1))
        .args(["-version"])
        .limit(PATIENCE)
        .run()
        .map_err(|source| QemuError::Mute {
            program: program.clone(),
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.lines().next().unwrap_or_default().to_owned();
    match Version::parse(&text) {
        None => Err(QemuError::Strange { program, text }),
        Some(version) if version < OLDEST => Err(QemuError::TooOld { program, version }),
        Some(version) => Ok(Qemu {
            program: path,
            version,
            text,
        }),
    }
}

/// Finds out what this computer can run, and with what. Whether guests really run under KVM is
/// tried once per boot and remembered in the runtime directory; that takes a few seconds at most.
pub fn probe(settings: &Settings) -> Host {
    let arch = this_arch();
    Host {
        arch,
        kvm: match arch {
            Some(arch) => kvm(settings, arch),
            None => Kvm::Unusable {
                reason: "this computer's processor is unknown to kraft".to_owned(),
                cure: None,
            },
        },
    }
}

/// Returns the architecture this program was built for.
const fn this_arch() -> Option<Arch> {
    if cfg!(target_arch = "x86_64") {
        Some(Arch::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Arch::Arm64)
    } else if cfg!(target_arch = "arm") {
        Some(Arch::Arm)
    } else {
        None
    }
}

/// Finds out whether guests run under KVM.
fn kvm(settings: &Settings, arch: Arch) -> Kvm {
    match open_kvm(Path::new("/dev/kvm")) {
        Err(unusable) => unusable,
        Ok(()) => probe::cached(settings, arch),
    }
}

/// Makes sure that the device is there, is what it should be and opens.
fn open_kvm(path: &Path) -> Result<(), Kvm> {
    let unusable = |reason: String, cure: &str| Kvm::Unusable {
        reason,
        cure: Some(cure.to_owned()),
    };
    let opened = std::fs::File::options().read(true).write(true).open(path);
    let file = opened.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => unusable(
            format!("{} does not exist", path.display()),
            "Switch virtualization on in the firmware's setup, or for a virtual machine in its \
             host (nested virtualization), and load the module `kvm_intel` or `kvm_amd`.",
        ),
        io::ErrorKind::PermissionDenied => unusable(
            format!("{} may not be opened by this user", path.display()),
            &std::fs::metadata(path)
                .map_or_else(|e| e.to_string(), |meta| open_to_user(path, &meta)),
        ),
        _ => unusable(
            format!("{} does not open: {e}", path.display()),
            "Look for messages of kvm in `dmesg`.",
        ),
    })?;
    let is_device = file.metadata().is_ok_and(|meta| meta.rdev() != 0);
    match kraft_sys::device::kvm_version(&file) {
        Ok(12) if is_device => Ok(()),
        Ok(version) if is_device => Err(unusable(
            format!("KVM speaks version {version} of its interface, and not 12"),
            "Use a Linux kernel of this century.",
        )),
        Ok(_) | Err(_) => Err(unusable(
            format!("{} is not the KVM device", path.display()),
            "Remove it and load the module `kvm_intel` or `kvm_amd`.",
        )),
    }
}

/// Returns what lets a user open a device that he may not open.
fn open_to_user(path: &Path, device: &std::fs::Metadata) -> String {
    let groups = fs::read_file(Path::new("/etc/group"), 1 << 20).unwrap_or_default();
    let group = group_name(&String::from_utf8_lossy(&groups), device.gid());
    access_cure(path, device.mode(), device.gid(), group.as_deref())
}

fn access_cure(path: &Path, mode: u32, gid: u32, group: Option<&str>) -> String {
    let path = path.display();
    let shared = mode & 0o060 == 0o060 && gid != 0;
    match group {
        Some(group) if shared => format!(
            "Add yourself to the group `{group}` (`sudo usermod -aG {group} $USER`) and log in \
             again."
        ),
        _ => format!(
            "Its mode is {:04o} and its group is {}: open it to the group `kvm` (`sudo chgrp kvm \
             {path} && sudo chmod 660 {path}`), add yourself to that group (`sudo usermod -aG kvm \
             $USER`) and log in again.",
            mode & 0o7777,
            group.map_or_else(|| gid.to_string(), |group| format!("`{group}`")),
        ),
    }
}

/// Finds the name of a group in the text of `/etc/group`.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_for_a_device_that_may_not_be_opened_depends_on_its_group_and_mode() {
        let groups = "root:x:0:\nkvm:x:104:me\nbroken\nvirt:x:36:\n";
        let cure = |mode, gid| {
            let group = group_name(groups, gid);
            access_cure(Path::new("/dev/kvm"), mode, gid, group.as_deref())
        };
        insta::assert_snapshot!(
            [
                cure(0o20660, 104),
                cure(0o20666, 36),
                cure(0o20600, 0),
                cure(0o20660, 0),
                cure(0o20640, 104),
                cure(0o20660, 77),
            ]
            .join("\n"),
            @"
        Add yourself to the group `kvm` (`sudo usermod -aG kvm $USER`) and log in again.
        Add yourself to the group `virt` (`sudo usermod -aG virt $USER`) and log in again.
        Its mode is 0600 and its group is `root`: open it to the group `kvm` (`sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm`), add yourself to that group (`sudo usermod -aG kvm $USER`) and log in again.
        Its mode is 0660 and its group is `root`: open it to the group `kvm` (`sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm`), add yourself to that group (`sudo usermod -aG kvm $USER`) and log in again.
        Its mode is 0640 and its group is `kvm`: open it to the group `kvm` (`sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm`), add yourself to that group (`sudo usermod -aG kvm $USER`) and log in again.
        Its mode is 0660 and its group is 77: open it to the group `kvm` (`sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm`), add yourself to that group (`sudo usermod -aG kvm $USER`) and log in again.
        "
        );
    }

    fn reason(path: &Path) -> String {
        match open_kvm(path) {
            Err(Kvm::Unusable { reason, cure }) => {
                assert!(cure.is_some());
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_device_that_is_missing_or_another_one_is_told() {
        assert_eq!(
            reason(Path::new("/dev/no-kvm")),
            "/dev/no-kvm does not exist"
        );
        assert_eq!(
            reason(Path::new("/dev/null")),
            "/dev/null is not the KVM device"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(reason(file.path()).ends_with("is not the KVM device"));
    }

    #[test]
    fn the_answer_about_kvm_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            runtime_dir: dir.path().join("runtime"),
            monitor: Vec::new(),
            qemu: None,
            console_limit: crate::DEFAULT_CONSOLE_LIMIT,
        };
        let first = probe(&settings);
        assert!(!matches!(first.kvm, Kvm::Disabled), "{first:?}");
        assert_eq!(probe(&settings), first);
        // Where the device itself is unusable nothing had to be tried.
        let tried = std::fs::read_to_string(settings.runtime_dir.join("probe.json"));
        if let Ok(text) = tried {
            let remembered: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                remembered["answer"],
                serde_json::to_value(&first.kvm).unwrap()
            );
        }
    }

    #[test]
    fn a_program_that_is_not_qemu_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let settings = |qemu: &str| Settings {
            runtime_dir: dir.path().to_owned(),
            monitor: Vec::new(),
            qemu: Some(qemu.to_owned()),
            console_limit: crate::DEFAULT_CONSOLE_LIMIT,
        };
        let error = |program: &str| qemu(&settings(program), Arch::X86_64).unwrap_err();
        assert!(matches!(error("/no/such/qemu"), QemuError::NotFound { .. }));
        assert!(matches!(error("false"), QemuError::Mute { .. }));
        let strange = error("echo hello").to_string();
        assert!(
            strange.ends_with("does not look like QEMU: it says `hello -version`"),
            "{strange}"
        );
        let old = error("echo QEMU emulator version 4.1.9").to_string();
        assert_eq!(old, "QEMU 4.1.9 is too old: 4.2.0 or newer is needed");
    }
}
