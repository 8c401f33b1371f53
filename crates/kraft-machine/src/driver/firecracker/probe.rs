//! Whether guests run on Firecracker under KVM: a trial guest is booted, and the answer is remembered
//! until the host is rebooted.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::host::Kvm;
use kraft_sys::fs;
use kraft_sys::tool::{self, Tool, ToolError};
use serde_json::json;

use super::program;
use crate::driver::trial;

/// How long the guest may take. Where KVM works it needs a hundredth of that.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An ELF file that writes a letter to the serial port after vector instructions, and resets itself.
const GUEST: &[u8] = include_bytes!("probe/x86_64.elf");

/// What the guest writes.
const SUCCESS: &[u8] = b"K";

/// Returns the answer that was found since the host was booted, or finds it now.
pub(super) fn cached(program: Vec<String>, arch: Arch, runtime_dir: &Path) -> Kvm {
    if arch != Arch::X86_64 {
        return trial::cannot_try("there is no trial guest for this architecture");
    }
    let first = program.first().cloned().unwrap_or_default();
    if tool::locate(first.as_ref()).is_none() {
        return Kvm::Unusable {
            reason: format!("cannot find the program `{first}`"),
            cure: Some(format!(
                "{}, or name it: `kraft config set firecracker PATH`",
                program::ORIGIN.hint()
            )),
        };
    }
    let trial = trial::Trial {
        program,
        origin: program::ORIGIN,
        file: "probe-fc.json",
        timeout: TIMEOUT,
    };
    trial.cached(runtime_dir, |program| try_guest(program, runtime_dir))
}

fn try_guest(program: &[String], runtime_dir: &Path) -> Kvm {
    if let Err(error) = program::find(Some(&program.join(" "))) {
        return Kvm::Unusable {
            reason: kraft_core::error::chain(&error),
            cure: Some(program::ORIGIN.hint()),
        };
    }
    let program = program::firecracker(program);
    let Some((program, first_args)) = program.split_first() else {
        return trial::cannot_try("no Firecracker is configured");
    };
    // Two files that nothing else uses: one trial runs at a time.
    let (kernel, config) = (
        runtime_dir.join("probe-fc.kernel"),
        runtime_dir.join("probe-fc.config"),
    );
    let machine = json!({
        "boot-source": {"kernel_image_path": kernel, "boot_args": "probe"},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 16},
        "drives": [],
    });
    let written = fs::replace_file(&kernel, GUEST)
        .and_then(|()| fs::replace_file(&config, machine.to_string().as_bytes()));
    if let Err(error) = written {
        return trial::cannot_try(&error.to_string());
    }
    let outcome = Tool::new(program)
        .args(first_args)
        .args([
            "--no-api",
            "--id",
            "probe",
            "--level",
            "Error",
            "--config-file",
        ])
        .args([&config])
        .limit(TIMEOUT)
        .output();
    for file in [&kernel, &config] {
        let _ = fs::remove_file(file);
    }
    match outcome {
        Ok(output) => evaluate(&output.stdout, &output.stderr, Some(output.status)),
        Err(ToolError::TimedOut { said, .. }) => evaluate(&said.0, &said.1, None),
        Err(error) => trial::cannot_try(&error.to_string()),
    }
}

/// Evaluates what the guest wrote, and what Firecracker says if it failed.
fn evaluate(stdout: &[u8], stderr: &[u8], status: Option<ExitStatus>) -> Kvm {
    let wrote = |line: &[u8]| line.trim_ascii() == SUCCESS;
    if stdout.split(|&byte| byte == b'\n').any(wrote) {
        return Kvm::Works;
    }
    let text = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let says_why = |line: &&str| line.contains("KVM") || line.contains("Error");
    let how = match (status, text.lines().map(str::trim).find(says_why)) {
        (_, Some(line)) => line.chars().take(200).collect(),
        (Some(status), None) => {
            format!("Firecracker exited before the trial guest was done ({status})")
        }
        (None, None) => "a trial guest hung".to_owned(),
    };
    Kvm::Unusable {
        reason: format!("guests do not run on Firecracker: {how}"),
        cure: Some(trial::cure()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_the_letter_of_the_guest_is_success() {
        let exited = |code: i32| Some(ExitStatus::from_raw(code << 8));
        assert_eq!(evaluate(b"K\n", b"", exited(0)), Kvm::Works);
        let reason = |out: &[u8], err: &[u8], status| match evaluate(out, err, status) {
            Kvm::Unusable { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(
            [
                reason(b"", b"", None),
                reason(b"KVM\n", b"", exited(0)),
                reason(b"", b"", exited(1)),
                reason(b"2026 [probe:main] Error creating KVM object: x\n", b"", exited(1)),
            ]
            .join("\n"),
            @"
        guests do not run on Firecracker: a trial guest hung
        guests do not run on Firecracker: KVM
        guests do not run on Firecracker: Firecracker exited before the trial guest was done (exit status: 1)
        guests do not run on Firecracker: 2026 [probe:main] Error creating KVM object: x
        "
        );
    }

    /// Skipped where there is no assembler for the processor.
    #[test]
    fn the_trial_guest_is_what_its_source_says() {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver/firecracker/probe");
        let run = |program: &str, words: &[&str], file: &Path| {
            let tool = Tool::new(program).args(words).args([file]);
            tool.current_dir(dir.path()).run().is_ok()
        };
        let words = [
            "-nostdlib",
            "-static",
            "-no-pie",
            "-o",
            "x86_64.elf",
            "-s",
            "-Wl,--build-id=none,-Ttext=0x101000,-N,-z,noseparate-code",
        ];
        if cfg!(target_arch = "x86_64") && run("cc", &words, &source.join("x86_64.S")) {
            let assembled = std::fs::read(dir.path().join("x86_64.elf")).unwrap();
            assert!(assembled == GUEST, "assemble it again");
        }
    }
}
