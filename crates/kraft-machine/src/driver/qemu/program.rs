//! QEMU's program: which one, its version, and what it can do.

use std::ffi::OsStr;

use kraft_core::arch::Arch;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::MachineSpec;
use kraft_sys::tool;

use crate::driver::program::{self, Known, Version};
use crate::driver::{Installed, Limitation, Origin, ProgramError};

/// The oldest version that understands our command line.
const OLDEST: Version = Version(4, 2, 0);

/// The first version whose translator has RDSEED, which Unikraft's random numbers need.
const RDSEED: Version = Version(8, 0, 0);

/// The file name of QEMU's small x86 firmware in its own directories.
pub(super) const FAST_FIRMWARE: &str = "qboot.rom";

/// Returns QEMU's program for an architecture and its first arguments; `configured` overrides it
/// and may hold arguments after blanks.
pub(super) fn program(arch: Arch, configured: Option<&str>) -> Vec<String> {
    program::words(configured, program_name(arch))
}

/// Returns the usual name of QEMU's program for an architecture.
const fn program_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
        Arch::Arm => "qemu-system-arm",
    }
}

/// Returns where the program comes from.
pub(super) const fn origin(arch: Arch) -> Origin {
    Origin::Package(match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Arm64 | Arch::Arm => "qemu-system-arm",
    })
}

/// Finds the QEMU for an architecture and checks its version.
pub(super) fn find(arch: Arch, configured: Option<&str>) -> Result<Installed, ProgramError> {
    let known = Known {
        vmm: "QEMU",
        origin: origin(arch),
        option: "-version",
        parse: version,
        oldest: OLDEST,
        why: "older ones do not know the options that kraft uses",
    };
    let (program, version) = known.find(&program(arch, configured))?;
    Ok(Installed {
        program,
        version: version.to_string(),
        limitation: limitation(version, arch),
    })
}

fn limitation(version: Version, arch: Arch) -> Option<Limitation> {
    (version < RDSEED && arch == Arch::X86_64).then_some(Limitation {
        what: "without KVM it lacks RDSEED, which Unikraft needs",
        hint: "install QEMU 8 or newer (Debian 12: from bookworm-backports)",
    })
}

/// Finds the version in what `qemu-system-… -version` prints:
/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn version(text: &str) -> Option<Version> {
    let (_, number) = text.lines().next()?.split_once(" version ")?;
    Version::at_start(number)
}

/// Returns whether QEMU may be confined: not if its configured arguments do that themselves, or
/// configure a network device that another program sets up.
pub(super) fn can_be_sandboxed(program: &[String]) -> bool {
    let starts_programs = |word: &String| {
        let value = |kind: &str| {
            word.strip_prefix(kind)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        };
        word.trim_start_matches('-') == "sandbox"
            || value("tap")
            || value("bridge")
            || word.contains("exec:")
    };
    !program.iter().skip(1).any(starts_programs)
}

/// Returns whether QEMU's log says that it cannot be confined: it was built without that, or the
/// kernel has no filters for system calls.
pub(super) fn refused_sandbox(log: &str) -> bool {
    log.contains("sandbox") || log.contains("seccomp")
}

/// Returns whether QEMU's small, fast x86 firmware is installed beside the program and can boot
/// this kind of kernel.
///
/// qboot does not route the legacy interrupt controller to the processor. Linux and the built-in
/// runtime do that themselves; Unikraft relies on the firmware for it and would sleep for ever.
pub(super) fn has_fast_firmware(spec: &MachineSpec, program: &[String]) -> bool {
    let boots = match spec.boot {
        BootProtocol::LinuxBzImage => true,
        BootProtocol::Pvh => matches!(spec.guest, Guest::Runtime | Guest::Other),
        BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::Linux64 => false,
    };
    let installed = || {
        let program = tool::locate(OsStr::new(program.first()?))?;
        let prefix = program.parent()?.parent()?;
        Some(prefix.join("share/qemu").join(FAST_FIRMWARE).is_file())
    };
    boots && installed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_parsed() {
        for (text, expected) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright",
                Some(Version(10, 0, 2)),
            ),
            ("QEMU emulator version 4.2.0", Some(Version(4, 2, 0))),
            ("QEMU emulator version 9.1", Some(Version(9, 1, 0))),
            (
                "QEMU emulator version 8.2.94 (v9.0.0-rc4)",
                Some(Version(8, 2, 94)),
            ),
            ("QEMU emulator version x", None),
            ("", None),
            ("GNU bash, version 5.2", Some(Version(5, 2, 0))),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
        assert!(Version(4, 10, 0) > OLDEST && Version(4, 1, 9) < OLDEST);
    }

    #[test]
    fn a_configured_program_may_have_arguments() {
        assert_eq!(program(Arch::Arm64, None), ["qemu-system-aarch64"]);
        assert_eq!(program(Arch::Arm64, Some("  ")), ["qemu-system-aarch64"]);
        assert_eq!(
            program(Arch::X86_64, Some("/opt/qemu -L /opt/share")),
            ["/opt/qemu", "-L", "/opt/share"]
        );
    }

    #[test]
    fn arguments_that_start_programs_disable_the_sandbox() {
        let may = |line: &str| can_be_sandboxed(&program(Arch::X86_64, Some(line)));
        for line in [
            "",
            "qemu",
            "/opt/sandbox/qemu -L /tap",
            "qemu -netdev user,id=a",
        ] {
            assert!(may(line), "{line}");
        }
        for line in [
            "qemu -sandbox off",
            "qemu --sandbox on",
            "qemu -netdev tap,id=a,script=/etc/up",
            "qemu -nic bridge,br=br0",
            "qemu -nic tap",
            "qemu -incoming exec:cat",
        ] {
            assert!(!may(line), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_qemu_is_reported() {
        let error = |program: &str| find(Arch::X86_64, Some(program)).unwrap_err();
        assert!(matches!(
            error("/no/such/qemu"),
            ProgramError::NotFound { .. }
        ));
        assert!(matches!(error("false"), ProgramError::NoVersion { .. }));
        let other = error("echo hello").to_string();
        assert!(
            other.ends_with("does not look like QEMU: it prints `hello -version`"),
            "{other}"
        );
        let old = error("echo QEMU emulator version 4.1.9").to_string();
        assert_eq!(
            old,
            "QEMU 4.1.9 is too old: 4.2.0 or newer is needed (older ones do not know the options that kraft uses)"
        );
    }

    #[test]
    fn only_an_old_qemu_for_x86_has_a_limitation() {
        for (version, arch, limited) in [
            (Version(7, 2, 0), Arch::X86_64, true),
            (Version(7, 2, 0), Arch::Arm64, false),
            (Version(8, 0, 0), Arch::X86_64, false),
        ] {
            assert_eq!(limitation(version, arch).is_some(), limited, "{version}");
        }
    }
}
