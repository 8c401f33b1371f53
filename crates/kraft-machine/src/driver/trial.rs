//! Whether guests really run under KVM: the answer of a trial guest, remembered until the host is
//! rebooted. What the guest is and how it is booted is up to the driver.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kraft_core::host::Kvm;
use kraft_sys::clock;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::tool;
use serde::{Deserialize, Serialize};

use crate::driver::Origin;

/// How long it is remembered that a guest took longer than it may: the host may have been busy.
const TIMEOUT_REMEMBERED: Duration = Duration::from_hours(1);

/// A trial of a VMM.
#[derive(Debug)]
pub(super) struct Trial {
    /// Its program and first arguments.
    pub(super) program: Vec<String>,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// The name of the file with the answer in the runtime directory.
    pub(super) file: &'static str,
    /// How long the guest may take.
    pub(super) timeout: Duration,
}

/// A remembered answer with everything it depends on. The names on disk are those of the first
/// versions, which knew QEMU only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    version: u32,
    /// The boot of the host.
    boot: String,
    /// The VMM's program and first arguments.
    #[serde(rename = "qemu")]
    program: Vec<String>,
    /// Distinguishes one build of the program from another.
    #[serde(rename = "qemu_file")]
    file: (u64, u64, i64, u64),
    answer: Kvm,
    /// When the answer expires, in seconds since 1970; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl Trial {
    /// Returns the answer that was found since the host was booted, or finds it now.
    pub(super) fn cached(
        self,
        runtime_dir: &Path,
        try_guest: impl FnOnce(&[String]) -> Kvm,
    ) -> Kvm {
        let first = self.program.first().map(String::as_str).unwrap_or_default();
        let Some(found) = tool::locate(first.as_ref()) else {
            return Kvm::Unusable {
                reason: format!("it cannot be tried without `{first}`"),
                cure: Some(format!("Install it: {}.", self.origin.hint())),
            };
        };
        let Some(key) = key(self.program, &found) else {
            return cannot_try("the VMM's program cannot be read");
        };
        let path = runtime_dir.join(self.file);
        if let Some(answer) = load(&path, &key) {
            tracing::debug!(?answer, "remembered answer about KVM");
            return answer;
        }
        // One at a time: the others find the answer when they get the lock.
        let locked =
            fs::create_dir_all(runtime_dir, 0o700).and_then(|()| Lock::exclusive(runtime_dir));
        let _lock = match locked {
            Ok(lock) => lock,
            Err(e) => return cannot_try(&e.to_string()),
        };
        if let Some(answer) = load(&path, &key) {
            return answer;
        }
        let began = Instant::now();
        let answer = try_guest(&key.program);
        let timed_out = answer != Kvm::Works && began.elapsed() >= self.timeout;
        let expires = timed_out.then(|| (clock::now() + TIMEOUT_REMEMBERED).as_secs());
        tracing::debug!(program = ?key.program, ?answer, "tried a guest under KVM");
        let remembered = Remembered {
            answer,
            expires,
            ..key
        };
        if let Ok(json) = serde_json::to_vec_pretty(&remembered) {
            // If it cannot be stored, it is tried again next time.
            let _ = fs::replace_file(&path, &json);
        }
        remembered.answer
    }
}

/// Returns the answer where no guest can be tried.
pub(super) fn cannot_try(why: &str) -> Kvm {
    Kvm::Unusable {
        reason: format!("it cannot be tried: {why}"),
        cure: None,
    }
}

/// Returns what an answer depends on, with a placeholder for the answer.
fn key(program: Vec<String>, found: &Path) -> Option<Remembered> {
    let file = std::fs::metadata(found).ok()?;
    Some(Remembered {
        version: 1,
        boot: clock::boot_id(),
        program,
        file: (file.dev(), file.ino(), file.mtime(), file.size()),
        answer: Kvm::Disabled,
        expires: None,
    })
}

/// Loads a remembered answer, if it was found under the same conditions.
fn load(path: &Path, key: &Remembered) -> Option<Kvm> {
    let bytes = fs::read_file(path, 1 << 20).ok()?;
    let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
    let expected = Remembered {
        answer: remembered.answer.clone(),
        expires: remembered.expires,
        ..key.clone()
    };
    let valid = remembered
        .expires
        .is_none_or(|expires| clock::now().as_secs() < expires);
    (valid && remembered == expected).then_some(remembered.answer)
}

/// Returns what the user can do where guests do not run.
pub(super) fn cure() -> String {
    if is_virtual() {
        "This host is itself a virtual machine: have nested virtualization switched on in its \
         host, or use a host that is not virtual."
    } else {
        "Look for messages of kvm in `dmesg`, and switch virtualization on in the firmware's setup."
    }
    .to_owned()
}

/// Returns whether this host is a virtual machine, as far as it shows that.
fn is_virtual() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let x86 = flags
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| {
            line.split_ascii_whitespace()
                .any(|flag| flag == "hypervisor")
        });
    x86 || Path::new("/sys/hypervisor/type").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_until_a_condition_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe.json");
        let key = super::key(vec!["vmm".to_owned()], Path::new("/bin/sh")).unwrap();
        assert_eq!(load(&path, &key), None);
        let works = Remembered {
            answer: Kvm::Works,
            ..key.clone()
        };
        fs::replace_file(&path, &serde_json::to_vec(&works).unwrap()).unwrap();
        assert_eq!(load(&path, &key), Some(Kvm::Works));
        let after_a_boot = Remembered {
            boot: "another".to_owned(),
            ..key.clone()
        };
        let other_program = super::key(vec!["vmm".to_owned()], Path::new("/bin/ls")).unwrap();
        for (seconds, answer) in [(60, Some(Kvm::Works)), (0, None)] {
            let expiring = Remembered {
                expires: Some(clock::now().as_secs() + seconds),
                ..works.clone()
            };
            fs::replace_file(&path, &serde_json::to_vec(&expiring).unwrap()).unwrap();
            assert_eq!(load(&path, &key), answer);
        }
        fs::replace_file(&path, &serde_json::to_vec(&works).unwrap()).unwrap();
        for other in [after_a_boot, other_program] {
            assert_eq!(load(&path, &other), None);
        }
        fs::replace_file(&path, b"{").unwrap();
        assert_eq!(load(&path, &key), None);
    }
}
