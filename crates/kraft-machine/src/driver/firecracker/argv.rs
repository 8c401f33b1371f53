//! A machine's specification → Firecracker's command line. Pure.
//!
//! What it says about the machine is only its id: the rest is configured by its [API](super::boot).
//! Every file is relative to the machine's directory. The filters for system calls are Firecracker's
//! own, which are on unless it is configured otherwise.

use std::ffi::OsString;

use super::jail;
use crate::driver::Launch;
use crate::id::Id;

/// The option by which a process is recognised.
const ID: &str = "--id";

/// Returns Firecracker's command line, its program first.
pub(super) fn argv(launch: &Launch<'_>) -> Vec<OsString> {
    let mut line: Vec<OsString> = launch.program.iter().map(OsString::from).collect();
    let id = launch.id.to_string();
    if jail::is_jailer(launch.program) {
        // Its log is configured once its file is in the jail.
        for word in [ID, &id, "--chroot-base-dir", jail::BASE, "--"] {
            line.push(word.into());
        }
        for word in ["--api-sock", "control.sock", "--level", "Warning"] {
            line.push(word.into());
        }
        return line;
    }
    for word in [
        ID,
        &id,
        "--api-sock",
        "control.sock",
        // Without a file, the log is mixed with the console.
        "--log-path",
        "vmm.log",
        // At `Info` it contains the requests, and these the environment of the guest. The level is
        // raised when they have been sent.
        "--level",
        "Warning",
    ] {
        line.push(word.into());
    }
    line
}

/// Returns whether the arguments of a process are those of Firecracker for this machine.
pub(super) fn is_vmm(argv: &[Vec<u8>], id: Id) -> bool {
    let id = id.to_string();
    argv.windows(2)
        .any(|window| matches!(window, [option, value] if option == ID.as_bytes() && value == id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_by_the_id_of_its_machine() {
        let id = Id::new();
        let argv = |id: Id| {
            [
                "/opt/firecracker",
                "--id",
                &id.to_string(),
                "--api-sock",
                "x",
            ]
            .map(|word| word.as_bytes().to_vec())
        };
        assert!(is_vmm(&argv(id), id));
        assert!(!is_vmm(&argv(Id::new()), id));
        assert!(!is_vmm(&[], id));
    }
}
