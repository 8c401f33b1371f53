//! What this host can do: its processor, its KVM, its VMMs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_core::platform::Platform;
use kraft_sys::fs;

use crate::driver::{Installed, ProgramError};
use crate::machines::Settings;

/// Finds the VMM of a platform for guests of an architecture, and checks its version.
///
/// Returns `None` if there is no driver for the platform.
pub fn vmm(
    settings: &Settings,
    platform: Platform,
    arch: Arch,
) -> Option<Result<Installed, ProgramError>> {
    let driver = settings.drivers.get(platform).ok()?;
    Some(driver.find(arch, settings.drivers.configured(platform)))
}

/// Determines what this host can run on a platform. Whether guests really run under KVM is tried
/// once per boot and remembered in the runtime directory; that takes a few seconds at most.
///
/// ```no_run
/// use kraft_core::host::Kvm;
/// use kraft_core::platform::Platform;
/// use kraft_machine::{DEFAULT_CONSOLE_LIMIT, Settings, driver::Drivers, host};
///
/// let settings = Settings {
///     runtime_dir: "/tmp/kraft".into(),
///     monitor: Vec::new(),
///     drivers: Drivers::default(),
///     console_limit: DEFAULT_CONSOLE_LIMIT,
/// };
/// let host = host::probe(&settings, Platform::Qemu);
/// println!("{}", host.kvm == Kvm::Works);
/// ```
pub fn probe(settings: &Settings, platform: Platform) -> Host {
    let kvm = match Arch::host() {
        Some(arch) => kvm(settings, platform, arch),
        None => Kvm::Unusable {
            reason: "this host's processor is unknown to kraft".to_owned(),
            cure: None,
        },
    };
    facts(settings, kvm)
}

/// Returns what is known about this host without a probe of KVM.
pub fn facts(settings: &Settings, kvm: Kvm) -> Host {
    Host {
        arch: Arch::host(),
        kvm,
        vmms: settings.drivers.support(),
    }
}

/// Determines whether guests run under KVM.
fn kvm(settings: &Settings, platform: Platform, arch: Arch) -> Kvm {
    let device = hypervisor();
    match settings.drivers.get(platform) {
        Ok(driver) => {
            let configured = settings.drivers.configured(platform);
            // A VMM that runs guests under KVM only says itself whether it can.
            match device {
                Err(unusable) if !driver.capabilities().limits.needs_kvm => unusable,
                _ => driver.probe(arch, configured, &settings.runtime_dir),
            }
        }
        Err(error) => Kvm::Unusable {
            reason: format!("it cannot be tried: {error}"),
            cure: None,
        },
    }
}

/// Checks that this host has a hypervisor that this user may use.
#[cfg(target_os = "linux")]
fn hypervisor() -> Result<(), Kvm> {
    open_kvm(Path::new("/dev/kvm"))
}

/// Checks that this host has a hypervisor.
#[cfg(not(target_os = "linux"))]
fn hypervisor() -> Result<(), Kvm> {
    if kraft_sys::device::has_hypervisor() {
        Ok(())
    } else {
        Err(Kvm::Unusable {
            reason: "this host has no Hypervisor framework".to_owned(),
            cure: None,
        })
    }
}

/// Checks that the device exists, is the KVM device and can be opened.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
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
            format!("KVM has version {version} of its interface, and not 12"),
            "Use a Linux kernel of this century.",
        )),
        Ok(_) | Err(_) => Err(unusable(
            format!("{} is not the KVM device", path.display()),
            "Remove it and load the module `kvm_intel` or `kvm_amd`.",
        )),
    }
}

/// Returns what a user can do who may not open a device.
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
    use crate::driver::Drivers;

    #[test]
    fn the_hint_for_a_device_that_may_not_be_opened_depends_on_its_group_and_mode() {
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
    fn a_missing_or_wrong_device_is_reported() {
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
            drivers: Drivers::default(),
            console_limit: crate::DEFAULT_CONSOLE_LIMIT,
        };
        let first = probe(&settings, Platform::Qemu);
        assert!(!matches!(first.kvm, Kvm::Disabled), "{first:?}");
        assert_eq!(probe(&settings, Platform::Qemu), first);
        // If the device itself is unusable, no guest was tried.
        let tried = std::fs::read_to_string(settings.runtime_dir.join("probe.json"));
        if let Ok(text) = tried {
            let remembered: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                remembered["answer"],
                serde_json::to_value(&first.kvm).unwrap()
            );
        }
    }
}
