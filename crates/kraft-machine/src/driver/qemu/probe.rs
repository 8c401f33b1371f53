//! Whether guests really run under KVM: a trial guest is booted, and the answer is remembered until
//! the host is rebooted.
//!
//! That `/dev/kvm` opens is not enough: on a nested host whose own host supports virtualization
//! incompletely, QEMU aborts over a register it may not set, or guests hang at their first
//! interrupt or vector instruction. So a guest of a few hundred bytes is booted with the arguments
//! that a machine gets. It does what a unikernel does first and prints a letter per step; after a
//! few seconds it is killed.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::host::Kvm;
use kraft_core::machine::Acceleration;
use kraft_sys::fs;
use kraft_sys::tool::{Tool, ToolError};

use super::hypervisor;
use super::program;
use crate::driver::trial::{self, Trial, cannot_try};

/// How long the guest may take. Where KVM works it needs a hundredth of that.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Returns the answer that was found since the host was booted, or finds it now.
pub(super) fn cached(qemu: Vec<String>, arch: Arch, runtime_dir: &Path) -> Kvm {
    let trial = Trial {
        program: qemu,
        origin: program::origin(arch),
        file: "probe.json",
        timeout: TIMEOUT,
    };
    trial.cached(runtime_dir, |qemu| {
        try_guest(qemu, arch, Acceleration::Kvm, runtime_dir)
    })
}

/// A trial guest.
struct Guest {
    image: &'static [u8],
    /// What it prints if every step succeeds.
    success: &'static str,
    /// The arguments for its output.
    channels: &'static [&'static str],
    /// Board and processor under KVM and under TCG.
    kvm: (&'static str, &'static str),
    tcg: (&'static str, &'static str),
    /// The step that each letter stands for.
    steps: &'static [(char, &'static str)],
}

const X86_64: Guest = Guest {
    image: include_bytes!("probe/x86_64.bin"),
    success: "PLSTAK",
    channels: &[
        "-chardev",
        "stdio,id=letters",
        "-device",
        "isa-debugcon,iobase=0xe9,chardev=letters",
        "-device",
        "isa-debug-exit,iobase=0x501,iosize=4",
    ],
    kvm: (hypervisor::X86_BOARD, hypervisor::X86_CPU),
    tcg: ("pc,accel=tcg", "max"),
    steps: &[
        ('P', "protected mode"),
        ('L', "long mode"),
        ('S', "vector instructions and 64-bit registers"),
        ('T', "the interrupts of the old timer"),
        ('A', "the interrupts of the processor's own timer"),
    ],
};

const ARM64: Guest = Guest {
    image: include_bytes!("probe/arm64.bin"),
    success: "EFTK",
    channels: &["-chardev", "stdio,id=letters", "-serial", "chardev:letters"],
    kvm: (hypervisor::ARM_BOARD, hypervisor::ARM_CPU),
    tcg: ("virt,accel=tcg", "max"),
    steps: &[
        ('E', "its first instruction"),
        ('F', "vector instructions"),
        ('T', "the timer"),
    ],
};

/// Boots a trial guest and evaluates what it prints.
fn try_guest(qemu: &[String], arch: Arch, acceleration: Acceleration, dir: &Path) -> Kvm {
    let guest = match arch {
        Arch::X86_64 => &X86_64,
        Arch::Arm64 => &ARM64,
        Arch::Arm => return cannot_try("there is no trial guest for this architecture"),
    };
    let image = dir.join("probe.kernel");
    if let Err(e) = fs::replace_file(&image, guest.image) {
        return cannot_try(&e.to_string());
    }
    let Some((program, first_args)) = qemu.split_first() else {
        return cannot_try("no QEMU is configured");
    };
    let outcome = Tool::new(program)
        .args(first_args)
        .args(guest_args(guest, acceleration, image.clone()))
        .limit(TIMEOUT)
        .output();
    let _ = fs::remove_file(&image);
    match outcome {
        Ok(output) => evaluate(guest, &output.stdout, &output.stderr, Some(output.status)),
        Err(ToolError::TimedOut { said, .. }) => evaluate(guest, &said.0, &said.1, None),
        Err(e) => cannot_try(&e.to_string()),
    }
}

fn guest_args(guest: &Guest, acceleration: Acceleration, image: PathBuf) -> Vec<OsString> {
    let (board, cpu) = match acceleration {
        Acceleration::Kvm => guest.kvm,
        Acceleration::Tcg => guest.tcg,
    };
    let mut args: Vec<OsString> = [
        "-no-user-config",
        "-nodefaults",
        "-no-reboot",
        "-display",
        "none",
        "-m",
        "size=64M",
        "-machine",
        board,
        "-cpu",
        cpu,
    ]
    .iter()
    .map(OsString::from)
    .collect();
    args.extend(guest.channels.iter().map(OsString::from));
    args.push("-kernel".into());
    args.push(image.into());
    args
}

/// Evaluates the guest's letters and, if a step failed, QEMU's own output.
fn evaluate(guest: &Guest, letters: &[u8], stderr: &[u8], status: Option<ExitStatus>) -> Kvm {
    let letters: String = letters
        .iter()
        .map(|&byte| char::from(byte))
        .filter(char::is_ascii_uppercase)
        .collect();
    if letters == guest.success {
        return Kvm::Works;
    }
    let stderr = String::from_utf8_lossy(stderr);
    let message = stderr
        .lines()
        .map(str::trim)
        .find(|line| line.contains("error") || line.contains("failed"))
        .or_else(|| stderr.lines().map(str::trim).rfind(|line| !line.is_empty()));
    // `qemu-system-x86_64: error: failed to set …`: the rest is what matters.
    let message = message.map(|line| line.split_once(": error: ").map_or(line, |(_, rest)| rest));
    let reached = guest
        .steps
        .iter()
        .rfind(|(letter, _)| letters.contains(*letter))
        .map(|(_, step)| *step);
    let how = match (status.map(|s| (s.code(), s.signal())), reached) {
        (Some((_, Some(signal))), _) => format!("QEMU aborted with signal {signal}"),
        (Some((Some(code), _)), None) => format!("QEMU gave up with exit code {code}"),
        (Some(_), Some(step)) => format!("a trial guest failed after {step}"),
        (None, Some(step)) => format!("a trial guest hung after {step}"),
        (None | Some((None, None)), None) => "a trial guest hung at once".to_owned(),
    };
    Kvm::Unusable {
        reason: match message {
            Some(message) => format!("guests do not run: {how}: {message}"),
            None => format!("guests do not run: {how}"),
        },
        cure: Some(trial::cure()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guests prove nothing unless they succeed where everything works.
    #[test]
    fn the_trial_guests_succeed_under_tcg() {
        let dir = tempfile::tempdir().unwrap();
        for arch in [Arch::X86_64, Arch::Arm64] {
            let qemu = program::program(arch, None);
            let answer = try_guest(&qemu, arch, Acceleration::Tcg, dir.path());
            assert_eq!(answer, Kvm::Works, "{arch}");
        }
    }

    /// Skipped where there is no assembler for the processor.
    #[test]
    fn the_trial_guests_are_what_their_sources_say() {
        let dir = tempfile::tempdir().unwrap();
        let source = |name: &str| {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver/qemu/probe");
            dir.join(name)
        };
        let run = |program: &str, words: &[&str], files: &[PathBuf]| {
            Tool::new(program)
                .args(words)
                .args(files)
                .current_dir(dir.path())
                .run()
                .is_ok()
        };
        let x86 = ["-nostdlib", "-static", "-no-pie", "-o", "x86_64.bin"];
        let flat = ["-Wl,--build-id=none,-Ttext=0x100000,--oformat=binary"];
        let x86 = [&x86[..], &flat[..]].concat();
        if cfg!(target_arch = "x86_64") && run("cc", &x86, &[source("x86_64.S")]) {
            let assembled = std::fs::read(dir.path().join("x86_64.bin")).unwrap();
            assert_eq!(assembled, X86_64.image);
        }
        let (gcc, objcopy) = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy");
        let text = ["-O", "binary", "-j", ".text", "arm64.o", "arm64.bin"];
        if run(gcc, &["-c", "-o", "arm64.o"], &[source("arm64.S")]) && run(objcopy, &text, &[]) {
            let assembled = std::fs::read(dir.path().join("arm64.bin")).unwrap();
            assert_eq!(assembled, ARM64.image);
        }
    }

    #[test]
    fn a_failure_is_reported_with_the_step_and_the_message_of_qemu() {
        let status = |raw| Some(ExitStatus::from_raw(raw));
        let cases = [
            (&b"PLSTAK"[..], "", status(0)),
            (
                b"",
                "qemu: warning: x\nqemu: error: failed to set MSR 0x10a\nAssertion",
                status(6),
            ),
            (b"", "", status(1 << 8)),
            (b"PL", "KVM internal error. Suberror: 1\nextra data", None),
            (b"PLS", "", None),
            (b"PLSX", "", status(1 << 8)),
            (b"", "", None),
        ];
        let reported: Vec<String> = cases
            .iter()
            .map(|(letters, said, status)| {
                match evaluate(&X86_64, letters, said.as_bytes(), *status) {
                    Kvm::Unusable { reason, .. } => reason,
                    other => format!("{other:?}"),
                }
            })
            .collect();
        insta::assert_snapshot!(reported.join("\n"), @"
        Works
        guests do not run: QEMU aborted with signal 6: failed to set MSR 0x10a
        guests do not run: QEMU gave up with exit code 1
        guests do not run: a trial guest hung after long mode: KVM internal error. Suberror: 1
        guests do not run: a trial guest hung after vector instructions and 64-bit registers
        guests do not run: a trial guest failed after vector instructions and 64-bit registers
        guests do not run: a trial guest hung at once
        ");
    }

    #[test]
    fn a_qemu_that_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("qemu");
        fs::replace_file(&script, b"#!/bin/sh\nprintf PL\nexec sleep 600\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let words = [script.display().to_string()];
        let answer = try_guest(&words, Arch::X86_64, Acceleration::Kvm, dir.path());
        let Kvm::Unusable { reason, .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(
            reason,
            "guests do not run: a trial guest hung after long mode"
        );
    }
}
